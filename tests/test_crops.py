"""Crops: windows anywhere in a field, of which each cell is in some core."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitds.crops import Crops, tiles_about


@st.composite
def crops(draw):
    step = draw(st.integers(1, 3))
    halo = draw(st.integers(0, 3))
    least = -(-(2 * halo + step) // step)
    size = st.integers(least, least + 5).map(lambda count: count * step)
    height, width = draw(st.integers(7, 23)), draw(st.integers(7, 23))
    return Crops(
        height,
        width,
        (draw(size), draw(size)),
        halo,
        periodic=draw(st.booleans()),
        step_cells=step,
    )


@settings(deadline=None, max_examples=60)
@given(crops=crops())
def test_each_cell_is_in_some_core_and_no_window_leaves_the_field(crops):
    counted = np.zeros((crops.height, crops.width), int)
    for tile in crops.tiles:
        assert (len(tile.rows), len(tile.columns)) == crops.window
        assert tile.rows.start >= 0
        assert tile.rows.stop <= crops.height
        if not crops.periodic:
            assert tile.columns.start >= 0
            assert tile.columns.stop <= crops.width
        columns = np.array(tile.core_columns) % crops.width
        counted[np.ix_(tile.core_rows, columns)] += 1
    assert counted.min() > 0


@settings(deadline=None, max_examples=60)
@given(crops=crops())
def test_what_is_no_core_is_a_halo_inside_the_field(crops):
    halo = crops.halo_cells
    for tile in crops.tiles:
        axes = (
            (tile.rows, tile.core_rows, crops.height, False),
            (tile.columns, tile.core_columns, crops.width, crops.periodic),
        )
        for window, core, length, wraps in axes:
            whole = len(window) == length
            at_start, at_end = (
                not wraps and end in (0, length) for end in (window[0], window.stop)
            )
            assert core.start - window.start == (0 if whole or at_start else halo)
            assert window.stop - core.stop == (0 if whole or at_end else halo)


@settings(deadline=None, max_examples=60)
@given(crops=crops())
def test_windows_begin_at_patches_but_the_last_ones_at_the_border(crops):
    step = crops.step_cells
    for tile in crops.tiles:
        assert tile.rows.start % step == 0 or tile.rows.stop == crops.height
        assert tile.columns.start % step == 0 or tile.columns.stop == crops.width


def test_the_middle_of_a_window_may_be_any_patch():
    crops = Crops(9, 20, (4, 6), 1, step_cells=2)
    starts = [tile.columns.start for tile in itertools.islice(crops.tiles, crops.places[1])]
    # slid inward at both borders; at the last one to an odd column
    assert starts == [0, 0, 2, 4, 6, 8, 10, 12, 14, 14]
    assert [tile.rows.start for tile in list(crops.tiles)[:: crops.places[1]]] == [0, 0, 2, 4, 5]
    circle = Crops(9, 20, (4, 6), 1, periodic=True, step_cells=2)
    starts = [tile.columns.start for tile in itertools.islice(circle.tiles, circle.places[1])]
    assert starts == [-2, 0, 2, 4, 6, 8, 10, 12, 14, 16]


def test_near_a_border_cells_count_at_least_half_as_often():
    crops = Crops(60, 64, (16, 16), 4, step_cells=2)
    counted = np.zeros((60, 64), int)
    for tile in crops.tiles:
        counted[np.ix_(tile.core_rows, tile.core_columns)] += 1
    middle = counted[30, 32]
    assert middle == 16
    assert counted.min() >= middle
    assert counted.max() <= 7 * middle


def test_a_small_field_is_taken_whole():
    crops = Crops(5, 7, (6, 8), 2, step_cells=2)
    (tile,) = crops.tiles
    assert (tile.rows, tile.columns) == (tile.core_rows, tile.core_columns) == (range(5), range(7))
    with pytest.raises(IndexError):
        crops.tiles[1]


def test_a_crop_without_a_place_inside_its_halo_is_refused():
    with pytest.raises(
        ValueError, match=r"at least 8 cells, a place inside a halo of 3 .*\(7, 12\)"
    ):
        Crops(20, 20, (7, 12), 3, step_cells=2)
    assert Crops(7, 20, (7, 12), 3, step_cells=2).window == (7, 12), "rows are whole"


def test_windows_of_tiles_are_about_as_large_as_crops():
    assert tiles_about((40, 60), (64, 64), 4) == (1, 1)
    assert tiles_about((40, 60), (40, 32), 4) == (1, 3), "24 cells and an overlap on both sides"
    assert tiles_about((40, 60), (20, 60), 4) == (4, 1)
    assert tiles_about((40, 60), (2, 2), 4) == (40, 60), "no tile is smaller than a cell"
