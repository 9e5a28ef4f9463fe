"""EDSR: size as published, reach as measured, steps of upsampling."""

import pytest
import torch

from orbitds.config import ModelConfig, model_preset
from orbitds.model.build import build
from tests.model.reaching import measured

WIND, TEMPERATURE = "eastward_wind", "2m_temperature"


@pytest.mark.parametrize("base", ["bicubic", "delta"])
@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 6])
def test_the_reach_is_the_receptive_field(factor, depth, base):
    config = ModelConfig(kind="edsr", width=2, depth=depth, base=base)
    model = build(config, inputs=(WIND, TEMPERATURE), outputs=(WIND,), factor=factor)
    assert measured(model) == model.reach_cells
    assert model.patch == 1


def test_the_preset_has_the_published_size():
    """Of the baseline for factor 4: 1.52 million weights with three channels in and out."""
    with torch.device("meta"):
        model = build(
            model_preset("edsr"),
            inputs=(WIND, TEMPERATURE, "northward_wind"),
            outputs=(WIND, TEMPERATURE, "northward_wind"),
            factor=4,
        )
    assert sum(weight.numel() for weight in model.parameters()) == 1_517_571


@pytest.mark.parametrize(
    ("factor", "steps"),
    [(1, ()), (2, (2,)), (3, (3,)), (4, (2, 2)), (5, (5,)), (12, (2, 2, 3)), (7, (7,))],
)
def test_upsampling_goes_by_primes(factor, steps):
    model = build(
        ModelConfig(kind="edsr", width=2, depth=1), inputs=(WIND,), outputs=(WIND,), factor=factor
    )
    assert model.steps == steps
