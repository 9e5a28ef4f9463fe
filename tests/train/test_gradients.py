"""Gradients of copies: added up over processes, in parcels, beside the backward pass."""

import pytest
import torch
from torch import nn

from orbitds.config import ParallelConfig
from orbitds.train import gradients
from orbitds.train.launch import launched
from orbitds.train.mesh import make_mesh
from tests.distributed.processes import run


def _model():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(7, 5), nn.GELU(), nn.Linear(5, 3), nn.GELU(), nn.Linear(3, 2))


def _parts(rank):
    generator = torch.Generator().manual_seed(rank)
    return [torch.randn(rank + 2, 7, generator=generator) for _ in range(3)]


def _sums(rank, parcel_bytes, copied_bytes):
    gradients.PARCEL_BYTES, gradients.COPIED_BYTES = parcel_bytes, copied_bytes
    with launched("cpu") as (launch, device):
        mesh = make_mesh(ParallelConfig(replicate=launch.world), launch, device)
        model = _model()
        model[0].bias.requires_grad = False
        assert mesh.addends is not None
        total = gradients.GradientSum(model.parameters(), mesh.addends)
        told = []
        for _ in range(2):  # steps
            for number, part in enumerate(_parts(rank)):
                total.is_last = number == 2
                model(part).square().sum().backward()
            total.finish()
            told.append([None if w.grad is None else w.grad.tolist() for w in model.parameters()])
            model.zero_grad()
        return told


@pytest.mark.distributed
@pytest.mark.parametrize("parcel_bytes", [1, 100, 2**20])
@pytest.mark.parametrize("copied_bytes", [1, 50, 2**20])
def test_each_process_has_the_sum(parcel_bytes, copied_bytes):
    model = _model()
    model[0].bias.requires_grad = False
    for rank in range(2):
        for part in _parts(rank):
            model(part).square().sum().backward()
    for steps in run(_sums, 2, parcel_bytes, copied_bytes):
        for found in steps:
            for weight, gradient in zip(model.parameters(), found, strict=True):
                if weight.grad is None:
                    assert gradient is None
                else:
                    torch.testing.assert_close(torch.tensor(gradient), weight.grad)
