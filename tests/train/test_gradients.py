"""Gradients of copies: added up over processes, in parcels, beside the backward pass."""

import pytest
import torch
import torch.distributed as dist
from torch import nn

from orbitds.config import ParallelConfig
from orbitds.model.compiling import compiled
from orbitds.train import gradients
from orbitds.train.launch import launched
from orbitds.train.mesh import make_mesh
from tests.distributed.processes import run
from tests.distributed.sharing import model_of, sample_of, step_of, worst
from tests.distributed.wire import Wire


class _Model(nn.Module):
    """Blocks between two layers of their own; one head is not used."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Linear(7, 5)
        self.blocks = nn.ModuleList([nn.Linear(5, 5) for _ in range(3)])
        self.last = nn.Linear(5, 3)
        self.unused = nn.Linear(5, 3)
        self.blocks[1].idle = nn.Parameter(torch.ones(3))  # of a block, and without a gradient
        self.first.bias.requires_grad = False

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = x + nn.functional.gelu(block(x))
        return self.last(x)


def _parts(rank):
    generator = torch.Generator().manual_seed(rank)
    return [torch.randn(rank + 2, 7, generator=generator) for _ in range(3)]


def _sums(rank, groups, skewed, dtype=None):
    with launched("cpu") as (launch, device):
        mesh = make_mesh(ParallelConfig(replicate=launch.world), launch, device)
        model = _Model()
        assert mesh.addends is not None
        blocks = [[model.blocks[place] for place in group] for group in groups]
        total = gradients.GradientSum(model.parameters(), blocks, mesh.addends, dtype=dtype)
        told = []
        with Wire() as wire:
            for _ in range(2):  # steps
                for number, part in enumerate(_parts(rank)):
                    total.is_last = number == 2
                    if skewed and number == 0:  # a layout that is not that of a parcel
                        model.last.weight.grad = torch.zeros(5, 3).t()
                    model(part).square().sum().backward()
                total.finish()
                told.append(
                    [None if w.grad is None else w.grad.tolist() for w in model.parameters()]
                )
                model.zero_grad()
        return told, wire.calls


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("groups", "calls"),
    [([], 1), ([[0, 1, 2]], 1), ([[0], [1], [2]], 3), ([[2]], 2)],
)
@pytest.mark.parametrize("skewed", [False, True])
def test_each_process_has_the_sum(groups, calls, skewed):
    model = _Model()
    for rank in range(2):
        for part in _parts(rank):
            model(part).square().sum().backward()
    for steps, said in run(_sums, 2, groups, skewed):
        # a group that lacks a gradient waits for the end
        assert [operation for operation, _ in said] == ["all_reduce"] * 2 * calls
        for found in steps:
            for weight, gradient in zip(model.parameters(), found, strict=True):
                if weight.grad is None:
                    assert gradient is None
                else:
                    torch.testing.assert_close(torch.tensor(gradient), weight.grad)


@pytest.mark.distributed
@pytest.mark.parametrize(("groups", "calls"), [([[0, 1, 2]], 2), ([[0], [1], [2]], 3)])
def test_sums_of_blocks_in_bfloat16_are_rounded_and_others_are_not(groups, calls):
    model = _Model()
    apart = []
    for rank in range(2):
        for part in _parts(rank):
            model(part).square().sum().backward()
        apart.append([None if w.grad is None else w.grad for w in model.parameters()])
        model.zero_grad()
    names = [name for name, _ in model.named_parameters()]
    skewed = False
    for steps, said in run(_sums, 2, groups, skewed, torch.bfloat16):
        # one of them for weights outside of blocks
        assert [operation for operation, _ in said] == ["all_reduce"] * 2 * calls
        for found in steps:
            for name, ours, theirs, got in zip(names, *apart, found, strict=True):
                if ours is None:
                    assert got is None
                elif name.startswith("blocks"):
                    wanted = (ours.bfloat16() + theirs.bfloat16()).float()
                    torch.testing.assert_close(torch.tensor(got), wanted, rtol=0, atol=0)
                else:
                    torch.testing.assert_close(torch.tensor(got), ours + theirs)


def _sums_of_a_model(rank, kind):
    """Compare sums beside the backward pass with those of gradients that each process made."""
    with launched(kind) as (launch, device):
        mesh = make_mesh(ParallelConfig(replicate=launch.world), launch, device)
        assert mesh.addends is not None
        model = model_of(torch.float32, width=384).to(device)
        for block in model.trunk.blocks:
            block.forward = compiled(block.forward)
        blocks = [[block] for block in model.trunk.blocks]
        ways = {
            dtype: gradients.GradientSum(model.parameters(), blocks, mesh.addends, dtype=dtype)
            for dtype in (None, torch.bfloat16)
        }
        told = sample_of(torch.float32, rows=24, columns=37)
        told = {n: v.to(device) if isinstance(v, torch.Tensor) else v for n, v in told.items()}
        for step in range(6):
            sample = told | {"coarse": told["coarse"] * (1 + rank + step / 3)}
            step_of(model, sample)
            own = {name: weight.grad for name, weight in model.named_parameters()}
            for dtype, total in ways.items():
                model.zero_grad()
                total.is_last = True
                step_of(model, sample)
                total.finish()
                for name, weight in model.named_parameters():
                    assert (weight.grad is None) == (own[name] is None)
                    if weight.grad is None:
                        continue
                    rounded = dtype is not None and name.startswith("trunk.blocks")
                    wanted = own[name].to(dtype) if rounded else own[name].clone()
                    dist.all_reduce(wanted, group=mesh.addends)
                    # kernels add up in another order each time
                    tolerance = 2.0**-7 if rounded else 1e-4
                    assert worst(weight.grad, wanted.float()) < tolerance, (step, name)
            model.zero_grad()


@pytest.mark.gpu
@pytest.mark.distributed
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_sums_beside_the_backward_pass_on_gpus_are_those_after_it():
    run(_sums_of_a_model, 2, "cuda")


def test_room_in_a_parcel_is_a_multiple_of_16_bytes():
    assert [gradients.room(numbers) for numbers in (1, 4, 5)] == [4, 4, 8]
