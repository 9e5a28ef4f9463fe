"""Ways of sharing together: weights over some processes, samples over others."""

import pytest
import torch
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from orbitds.config import ParallelConfig
from orbitds.train.launch import launched
from orbitds.train.mesh import make_mesh
from orbitds.train.parallel import share_samples
from tests.distributed.processes import run
from tests.distributed.sharing import FACTOR, gradients_of, model_of, sample_of, worst

COMBINED = [
    ({"shard": 2, "tensor": 2}, {"compression": 2.0}),
    ({"shard": 2, "sequence": 2}, {}),
    ({"sequence": 2, "channel": 2}, {"compression": 3.0}),
    ({"sequence": 2, "tensor": 2}, {"heads": 4}),
    ({"replicate": 2, "sequence": 2, "sequence_by": "ring"}, {"kind": "vit"}),
]


def _own(sample, rank, world):
    """The samples of a process, of a batch shared by so many."""
    return {
        name: value.tensor_split(world)[rank] if isinstance(value, torch.Tensor) else value
        for name, value in sample.items()
    }


def _combined(_rank):
    with launched("cpu") as (launch, device):
        for sizes, settings in COMBINED:
            config = ParallelConfig(**sizes)
            mesh, model = make_mesh(config, launch, device), model_of(**settings)
            share_samples(model, mesh, config)
            assert mesh.weights is not None
            for block in model.trunk.blocks:
                fully_shard(block, mesh=mesh.weights)
            fully_shard(model, mesh=mesh.weights)
            register_fsdp_forward_method(model, "predict")
            sample, rows, columns = sample_of(batch=2), 7 * FACTOR, 11 * FACTOR
            own = _own(sample, mesh.data_rank, mesh.data_world)
            # FSDP takes the mean over the processes whose gradients are to be added
            mean = torch.distributed.get_world_size(mesh.addends)

            def loss_of(model, given, same, mean, rows=rows, columns=columns):
                fine = model.predict(**given).fine
                scale = same * 2 * 2 * rows * columns
                loss = (fine - 0.3).square().sum() / scale
                (loss * mean).backward()
                return fine.detach()

            whole = model_of(**settings)
            wanted = loss_of(whole, sample, 1, 1)
            got = loss_of(model, own, mesh.same, mean)
            assert (
                worst(got, _own({"fine": wanted}, mesh.data_rank, mesh.data_world)["fine"]) < 1e-11
            )
            grads = gradients_of(model)
            for name, expected in gradients_of(whole).items():
                scale = expected.abs().max() + (1e-3 if "query_key_value.bias" in name else 1e-9)
                error = float((grads[name] - expected).abs().max() / scale)
                assert error < 1e-10, (name, error, sizes)


@pytest.mark.slow
@pytest.mark.distributed
def test_four_processes_give_the_gradients_of_one():
    run(_combined, 4)
