"""A sample shared by processes on GPUs: NCCL, the flash kernel in the ring, compiled blocks."""

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from orbitds.config import ParallelConfig
from orbitds.model.compiling import compiled
from orbitds.train.collect import known
from orbitds.train.launch import launched
from orbitds.train.mesh import make_mesh
from orbitds.train.parallel import share_samples
from orbitds.train.ring import attend_in_ring
from tests.distributed.processes import run
from tests.distributed.sharing import compare, model_of, sample_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.distributed,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
WAYS = [{"sequence": 2}, {"sequence": 2, "sequence_by": "ring"}, {"channel": 2}, {"tensor": 2}]


def _on_device(sample, device):
    return {
        name: value.to(device) if isinstance(value, torch.Tensor) else value
        for name, value in sample.items()
    }


def _models(_rank):
    with launched("cuda") as (launch, device):
        for sizes in WAYS:
            config = ParallelConfig(**sizes)
            mesh = make_mesh(config, launch, device)
            group = mesh.addends if mesh.same > 1 else None
            for compile_blocks in (False, True):
                if compile_blocks and "channel" in sizes:
                    continue  # nothing of it is in the blocks
                model = model_of().to(device)
                share_samples(model, mesh, config)
                if compile_blocks:
                    for block in model.trunk.blocks:
                        block.forward = compiled(block.forward)
                sample = _on_device(sample_of(), device)
                compare(model, sample, tolerance=1e-9, same=mesh.same, group=group)


def test_models_equal_those_of_one_gpu():
    run(_models, 2)


def _ring(rank):
    with launched("cuda") as (_, device):
        name = known(dist.group.WORLD)
        generator = torch.Generator().manual_seed(46)
        sizes = [401, 300]
        whole = torch.randn(3, 2, 3, sum(sizes), 64, generator=generator)
        whole = whole.to(device, torch.bfloat16).requires_grad_()
        weight = torch.randn(whole.shape[1:], generator=generator).to(device)
        exact = F.scaled_dot_product_attention(*whole.float())
        (expected,) = torch.autograd.grad((exact * weight).sum(), whole)
        own = slice(0, 401) if rank == 0 else slice(401, 701)
        mine = whole.detach()[..., own, :].clone().requires_grad_()
        out = attend_in_ring(*mine, sizes, name)
        (grad,) = torch.autograd.grad((out.float() * weight[..., own, :]).sum(), mine)
        torch.testing.assert_close(out.float(), exact[..., own, :], rtol=2e-2, atol=2e-3)
        error = (grad.float() - expected[..., own, :].float()).norm()
        assert error < 1e-2 * expected[..., own, :].float().norm()


def test_ring_by_the_flash_kernel():
    run(_ring, 2)
