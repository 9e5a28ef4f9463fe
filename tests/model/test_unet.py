"""U-Net: reach as measured, phases, circles that are no whole number of its lowest cells."""

import pytest
import torch

from orbitds.config import ModelConfig
from orbitds.model.build import build
from tests.model.reaching import measured

WIND, TEMPERATURE = "eastward_wind", "2m_temperature"


def unet(*, factor=3, depth=2, **settings):
    torch.manual_seed(81)
    config = ModelConfig(kind="unet", width=4, depth=depth, **settings)
    model = build(config, inputs=(WIND, TEMPERATURE), outputs=(WIND,), factor=factor).double()
    torch.nn.init.normal_(model.tail.weight)
    return model.eval()


def run(model, coarse, **told):
    batch, _, height, width = coarse.shape
    place = {
        "latitude_deg": torch.zeros(batch, height).double(),
        "longitude_deg": torch.zeros(batch, width).double(),
        "spacing_km": torch.ones(batch, 2).double(),
    }
    with torch.no_grad():
        prediction = model.predict(coarse, **place, **told)
    return prediction.fine - prediction.base


@pytest.mark.parametrize("base", ["bicubic", "delta"])
@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
def test_the_reach_is_the_receptive_field(factor, depth, base):
    model = unet(factor=factor, depth=depth, base=base)
    assert measured(model) == model.reach_cells
    assert model.patch * factor % 2**depth == 0


def test_a_circle_of_any_width_has_no_seam():
    """Unrolled: as the same circle twice round, whose middle no border reaches."""
    model = unet(factor=3, depth=2)
    circle = torch.randn(1, 2, 6, 7).double()  # 21 fine columns: five lowest cells and a quarter
    turns = 9
    got = run(model, circle, periodic=True)
    # whole cells of the lowest level before it: four circles of 21 columns
    unrolled = run(model, circle.repeat(1, 1, 1, turns))[..., 4 * 21 : 5 * 21]
    torch.testing.assert_close(got, unrolled, rtol=0, atol=1e-12)


def test_a_circle_of_whole_cells_is_the_unrolled_one():
    model = unet(factor=4, depth=2)
    circle = torch.randn(1, 2, 5, 6).double()
    got = run(model, circle, periodic=True)
    unrolled = run(model, circle.repeat(1, 1, 1, 9))[..., 4 * 24 : 5 * 24]
    torch.testing.assert_close(got, unrolled, rtol=0, atol=1e-12)


@pytest.mark.parametrize("phase", [(0, 0), (1, 2), (3, 1), (2, 3)])
def test_the_lowest_cells_begin_at_the_phase(phase):
    """A change within one of them shows in others only by convolutions: here there are none."""
    model = unet(factor=1, depth=2)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.shape[-2:] == (3, 3):  # the middle of each kernel alone
                middle = weight[..., 1:2, 1:2].clone().abs()
                weight.zero_()
                weight[..., 1:2, 1:2] = middle
            elif not name.endswith("bias"):
                weight.abs_()
    coarse = torch.rand(1, 2, 12, 12).double()
    other = coarse.clone()
    other[..., 6, 7] += 1e3
    change = (run(model, other, phase=phase) - run(model, coarse, phase=phase))[0, 0].abs() > 1e-9
    rows, columns = (
        {i for i in range(12) if (i + start) // 4 == (place + start) // 4}
        for start, place in zip(phase, (6, 7), strict=True)
    )
    assert {int(i) for i in change.any(1).nonzero()} == rows
    assert {int(i) for i in change.any(0).nonzero()} == columns
