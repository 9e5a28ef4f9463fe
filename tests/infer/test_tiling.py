"""How a field is cut: as asked, by size, or as the model's one window wants it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orbitds.grid import Grid
from orbitds.infer.tiling import OVERLAP_CELLS, check_tiles, cut_for, plan
from orbitds.model.interface import DownscalingModel, Prediction
from orbitds.schema import Frozen
from orbitds.tiles import TileGrid


class Plain(DownscalingModel):
    """A model of no substance that reaches two cells."""

    def __init__(self, window=None, halo_cells=(0, 0), patch=2):
        super().__init__(Frozen(), inputs=["a"], outputs=["a"], factor=2)
        self.window, self.halo_cells, self.patch = window, halo_cells, patch
        self.layer = nn.Linear(1, 1)

    @property
    def reach_cells(self):
        return 2

    def predict(self, coarse, **told):
        return Prediction(coarse, coarse)


def globe(rows, columns):
    step = 180 / rows
    return Grid(90 - step * (np.arange(rows) + 0.5), 360 / columns * np.arange(columns))


def test_the_whole_field_unless_asked():
    tiles = cut_for(Plain(), globe(12, 24), None)
    assert (tiles.rows, tiles.columns, tiles.periodic, tiles.align_cells) == (1, 1, True, 2)
    tiles = cut_for(Plain(), globe(12, 24), (2, 3))
    assert (tiles.rows, tiles.columns) == (2, 3)
    assert (tiles.halo, tiles.margin_cells) == ((2 + OVERLAP_CELLS,) * 2, 2)


@pytest.mark.parametrize("asked", [None, (2, 3)])
def test_a_model_of_one_window_decides_itself(asked):
    tiles = cut_for(Plain((8, 12), (1, 2)), globe(12, 24), asked)
    assert (tiles.rows, tiles.columns, tiles.window) == (2, 3, (8, 12))
    assert (tiles.halo, tiles.margin_cells, tiles.align_cells) == ((1, 2), 2, 1)


def test_other_tiles_than_those_of_the_window_are_refused():
    with pytest.raises(ValueError, match=r"Wanted 2 x 3 tiles.*8 x 12 cells.*got 1 x 3\. Leave"):
        cut_for(Plain((8, 12), (1, 2)), globe(12, 24), (1, 3))


def test_a_field_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"windows of 8 x 12 .* 6 x 8.*got 14 x 24 cells\. Select"):
        cut_for(Plain((8, 12), (1, 2)), globe(14, 24), None)


def test_wrong_tiles_are_refused():
    assert check_tiles((2, 4)) == (2, 4)
    with pytest.raises(ValueError, match=r"Wanted tiles as .*got \(0, 1\)\. Try"):
        check_tiles((0, 1))


# --- plans ---


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 60), width=st.integers(1, 60), halo=st.integers(0, 3), data=st.data())
def test_planned_windows_fit(height, width, halo, data):
    smallest = TileGrid(height, width, height, width, halo).window
    largest = data.draw(st.integers(smallest[0] * smallest[1], height * width))
    rows, columns = plan(height, width, largest, halo)
    window = TileGrid(height, width, rows, columns, halo).window
    assert window[0] * window[1] <= largest


@pytest.mark.parametrize(
    ("height", "width", "largest", "halo", "expected"),
    [
        (64, 128, 64 * 128, 4, (1, 1)),
        (64, 128, 64 * 128 - 1, 4, (1, 2)),
        (64, 128, 64 * 72, 4, (1, 2)),
        (64, 128, 64 * 72 - 1, 4, (2, 2)),
        (128, 64, 72 * 64, 4, (2, 1)),
        (37, 90, 500, 2, (2, 8)),
        # a window of a single cell with its halo
        (9, 6, 9, 1, (9, 6)),
        (1, 5, 1, 0, (1, 5)),
    ],
)
def test_plan_halves_the_longer_edge(height, width, largest, halo, expected):
    assert plan(height, width, largest, halo) == expected


@pytest.mark.parametrize(
    ("height", "width", "largest", "halo", "told"),
    [(9, 6, 8, 1, "8 coarse cells, got 3 x 3"), (2, 7, 9, 2, "9 coarse cells, got 2 x 5")],
)
def test_a_plan_without_a_window_that_fits_is_refused(height, width, largest, halo, told):
    with pytest.raises(ValueError, match=rf"at most {told} .*halo of {halo} .*smaller halo"):
        plan(height, width, largest, halo)
