"""Cutting the training region to a caller's grid."""

import numpy as np
import pytest

from orbitds.grid import Grid
from orbitds.region import MONTHS, Region, check_shapes

# 6 x 10 coarse cells of 3 x 3 fine ones over the globe
FACTOR, ROWS, COLUMNS = 3, 6, 10
HEIGHT, WIDTH = 180 / ROWS, 360 / COLUMNS


@pytest.fixture(scope="module")
def region():
    """Each value of a field tells its place."""
    fine_shape, coarse_shape = (ROWS * FACTOR, COLUMNS * FACTOR), (ROWS, COLUMNS)
    fine, coarse = (
        np.arange(12 * 2 * shape[0] * shape[1], dtype=np.float32).reshape(12, 2, *shape)
        for shape in (fine_shape, coarse_shape)
    )
    statics = np.arange(fine_shape[0] * fine_shape[1], dtype=np.float32).reshape(1, *fine_shape)
    return Region(grid_of(0, 0, ROWS, COLUMNS).refine(FACTOR), statics, fine, coarse)


def grid_of(row, column, rows, columns, *, turn=0):
    """The coarse grid of some cells; rows and columns may be parts of cells off."""
    latitude = 90 - HEIGHT * (row + 0.5 + np.arange(rows))
    return Grid(latitude, WIDTH * (column + 0.5 + np.arange(columns)) + turn)


@pytest.mark.parametrize("turn", [-360, 0, 360])
@pytest.mark.parametrize(
    ("row", "column", "rows", "columns"),
    [(0, 0, 6, 10), (1, 2, 4, 5), (4, 7, 2, 3), (2, 8, 3, 5), (0, 9, 2, 10), (0, -2, 6, 3)],
    ids=["all", "inside", "corner", "across 360", "all from the last", "across 0"],
)
def test_a_cut_has_the_cells_of_the_grid(region, row, column, rows, columns, turn):
    fine = grid_of(row, column, rows, columns, turn=turn).refine(FACTOR)
    cut = region.cut(fine, FACTOR)
    for field, whole, factor in (
        (cut.statics, region.statics, FACTOR),
        (cut.fine_climatology, region.fine_climatology, FACTOR),
        (cut.coarse_climatology, region.coarse_climatology, 1),
    ):
        wanted_rows = range(row * factor, (row + rows) * factor)
        wanted_columns = np.arange(column * factor, (column + columns) * factor)
        expected = whole[..., wanted_rows, :].take(wanted_columns, axis=-1, mode="wrap")
        np.testing.assert_array_equal(field, expected)
    assert cut.grid.matches(fine)
    assert cut.offset == (row, column % 10)


@pytest.mark.parametrize(
    ("row", "column"), [(0.5, 0), (0, 0.5), (0.1, 0), (0, 0.1)], ids=["r/2", "c/2", "r", "c"]
)
def test_cells_between_the_cells_are_not_found(region, row, column):
    assert region.cut(grid_of(row, column, 3, 4).refine(FACTOR), FACTOR) is None


@pytest.mark.parametrize(("row", "column"), [(1 / 3, 0), (0, 2 / 3)])
def test_coarse_cells_across_those_of_training_have_no_climatology(region, row, column):
    fine = grid_of(row, column, 3, 4).refine(FACTOR)
    assert region.cut(fine, FACTOR) is None
    # static fields alone know no coarse cells
    cut = Region(region.grid, region.statics).cut(fine, FACTOR)
    first = round(row * FACTOR), round(column * FACTOR)
    expected = region.statics[:, first[0] : first[0] + 9, first[1] : first[1] + 12]
    np.testing.assert_array_equal(cut.statics, expected)
    assert cut.fine_climatology is cut.coarse_climatology is None


def test_a_grid_that_reaches_outside_a_region_is_not_found(region):
    inside = region.cut(grid_of(1, 2, 3, 4).refine(FACTOR), FACTOR)
    for row, column, rows, columns in [(0, 2, 3, 4), (1, 1, 3, 4), (1, 2, 4, 4), (1, 2, 3, 5)]:
        assert inside.cut(grid_of(row, column, rows, columns).refine(FACTOR), FACTOR) is None
    again = inside.cut(grid_of(2, 3, 2, 2).refine(FACTOR), FACTOR)
    np.testing.assert_array_equal(
        again.coarse_climatology, region.coarse_climatology[..., 2:4, 3:5]
    )


@pytest.mark.parametrize("factor", [1, 2, 5])
def test_cells_of_another_size_are_not_found(region, factor):
    assert region.cut(grid_of(1, 2, 3, 4).refine(factor), factor) is None


def test_arrays_describe_a_region(region):
    back = Region.of(region.arrays())
    for name in ("statics", "fine_climatology", "coarse_climatology"):
        np.testing.assert_array_equal(getattr(back, name), getattr(region, name))
    np.testing.assert_array_equal(back.grid.longitude_deg, region.grid.longitude_deg)
    bare = Region.of(Region(region.grid, region.statics).arrays())
    assert bare.fine_climatology is bare.coarse_climatology is None


# --- what is stored ---

SIZES = {"statics": 1, "outputs": 2, "factor": FACTOR}


def shapes_of(region):
    return {name: array.shape for name, array in region.arrays().items()}


def test_a_regions_own_arrays_fit(region):
    check_shapes(shapes_of(region), **SIZES)
    back = Region.of(region.arrays())
    assert back.grid.matches(region.grid)
    np.testing.assert_array_equal(back.fine_climatology, region.fine_climatology)
    plain = {name: shape for name, shape in shapes_of(region).items() if "climatology" not in name}
    check_shapes(plain, **SIZES)


@pytest.mark.parametrize(
    ("change", "sizes"),
    [
        ({}, {"statics": 2}),
        ({}, {"outputs": 1}),
        ({}, {"factor": 2}),
        ({}, {"factor": 4}),
        ({"latitude_deg": ()}, {}),
        ({"latitude_deg": (18, 1)}, {}),
        ({"longitude_deg": (31,)}, {}),
        ({"statics": (1, 18)}, {}),
        ({"fine_climatology": (MONTHS - 1, 2, 18, 30)}, {}),
        ({"coarse_climatology": (MONTHS, 2, 6, 11)}, {}),
        ({"code": (1,)}, {}),
    ],
)
def test_shapes_that_do_not_fit_are_refused(region, change, sizes):
    with pytest.raises(ValueError, match=r"arrays .*, where \d static fields and \d outputs"):
        check_shapes(shapes_of(region) | change, **SIZES | sizes)


@pytest.mark.parametrize("name", ["latitude_deg", "statics", "coarse_climatology"])
def test_an_absent_array_is_refused(region, name):
    shapes = shapes_of(region)
    del shapes[name]
    with pytest.raises(ValueError, match="arrays "):
        check_shapes(shapes, **SIZES)


def test_axes_the_wrong_way_round_are_refused(region):
    arrays = region.arrays() | {"latitude_deg": region.grid.latitude_deg[::-1]}
    with pytest.raises(ValueError, match="uniform latitude axis"):
        Region.of(arrays)
