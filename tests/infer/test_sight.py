"""What a model sees: its windows, once for each that is drawn; gaps filled within the window."""

import numpy as np
import pytest
import torch

from orbitds.data.gaps import fill_gaps
from orbitds.infer.courier import Courier
from orbitds.infer.intake import Arrived
from orbitds.infer.part import Frame, Part
from orbitds.infer.sight import Sight
from orbitds.infer.windows import Windows
from orbitds.normalize import Normalizer, Statistics
from orbitds.tiles import TileGrid
from tests.infer.test_windows import GLOBE, Nothing, Witness

NAMES = ("eastward_wind", "northward_wind")
TILES = TileGrid(6, 10, 2, 3, 1, periodic=True)


@pytest.fixture
def fields():
    return np.random.default_rng(0).normal(size=(4, 2, 6, 10)).astype(np.float32)


def sight(fields, drawn=1):
    normalizer = Normalizer(NAMES, dict.fromkeys(NAMES, Statistics(mean=1.0, std=2.0)))
    windows = Windows(Witness(), GLOBE, Frame(TILES, Part.whole((6, 10))), Nothing())
    gaps = np.isnan(fields)
    now = Arrived(fields, torch.tensor(fields), gaps if gaps.any() else None)
    return Sight(now, windows, normalizer, drawn=drawn, courier=Courier(torch.device("cpu")))


@pytest.mark.parametrize("is_gappy", [False, True])
@pytest.mark.parametrize("drawn", [1, 3])
def test_each_sample_sees_the_window_of_its_time(fields, drawn, is_gappy):
    if is_gappy:
        fields[:, 0, 2:4, :4] = np.nan
        fields[2, 1] = np.nan
    seen = sight(fields, drawn)
    samples = np.arange(4 * drawn)
    for index, tile in enumerate(TILES.tiles):
        window = fill_gaps(TILES.cut(torch.tensor(fields), tile).numpy())
        wanted = np.nan_to_num((window - 1) / 2).repeat(drawn, axis=0)
        last = 4 * drawn
        for some in (slice(0, 1), slice(1, 3), slice(2 * drawn - 1, last), slice(0, last)):
            got = seen(index, some).numpy()
            np.testing.assert_allclose(got, wanted[samples[some]], rtol=1e-6, atol=1e-6)


def test_what_lies_outside_a_window_does_not_fill_it(fields):
    fields[:, 0, :, :5] = np.nan
    before = sight(fields)(0, slice(0, 4))
    fields[:, 0, :, 6] += 100  # nearer to some gaps than what is in the window of the first tile
    assert torch.equal(sight(fields)(0, slice(0, 4)), before)
