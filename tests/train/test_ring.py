"""Keys that travel round: results and gradients are those of one call of attention."""

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from orbitds.train.collect import known
from orbitds.train.launch import launched
from orbitds.train.ring import attend_in_ring
from tests.distributed.processes import run


def _ring(rank):
    with launched("cpu"):
        name = known(dist.group.WORLD)
        generator = torch.Generator().manual_seed(45)
        for sizes in ([3, 3, 1], [2, 0, 0], [0, 1, 4]):
            whole = torch.randn(3, 2, 3, sum(sizes), 5, generator=generator, dtype=torch.float64)
            whole[0] *= 30  # scores so far apart that exponentials would overflow
            whole.requires_grad_()
            wanted = F.scaled_dot_product_attention(*whole)
            weight = torch.randn(wanted.shape, generator=generator, dtype=torch.float64)
            (expected,) = torch.autograd.grad((wanted * weight).sum(), whole)
            own = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
            mine = whole.detach()[..., own, :].clone().requires_grad_()
            out = attend_in_ring(*mine, sizes, name)
            torch.testing.assert_close(out, wanted[..., own, :], rtol=0, atol=1e-12)
            # each process says its part of the sum; the gradient of the own keys is that of all
            (grad,) = torch.autograd.grad((out * weight[..., own, :]).sum(), mine)
            torch.testing.assert_close(grad, expected[..., own, :], rtol=1e-11, atol=1e-12)
        # in half precision results are rounded once, as those of one call
        whole = torch.randn(3, 1, 2, 6, 8, generator=generator).to(torch.bfloat16)
        own = slice(2 * rank, 2 * rank + 2)
        mine = whole[..., own, :].clone().requires_grad_()
        out = attend_in_ring(*mine, [2, 2, 2], name)
        wanted = F.scaled_dot_product_attention(*whole.float())[..., own, :]
        assert out.dtype == torch.bfloat16
        torch.testing.assert_close(out.float(), wanted, rtol=2**-8, atol=1e-6)
        out.sum().backward()
        assert mine.grad is not None
        assert mine.grad.dtype == torch.bfloat16


@pytest.mark.distributed
def test_three_processes():
    run(_ring, 3)
