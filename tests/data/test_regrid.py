"""Conservative regridding against plain integrals: poles, date line, gaps, conservation."""

import numpy as np
import pytest
import xarray as xr

from orbitds.data.regrid import Regridder, cell_grid, overlap, regrid
from orbitds.grid import Grid, block_mean


def cells(south, north, west, east, rows, columns):
    """The grid of that many cells between four edges."""
    height, width = (north - south) / rows, (east - west) / columns
    return Grid(north - (np.arange(rows) + 0.5) * height, west + (np.arange(columns) + 0.5) * width)


def points(rows, columns):
    """A global grid of points that include both poles and Greenwich, as ERA5 has them."""
    return Grid(np.linspace(90, -90, rows), np.arange(columns) * 360 / columns)


def dataset(grid, values, **attrs):
    """Winds on a grid."""
    return xr.Dataset(
        {"eastward_wind": (("time", "latitude", "longitude"), values, {"units": "m s-1"})},
        coords={
            "time": xr.date_range("2001-01-01", periods=len(values)),
            "latitude": ("latitude", grid.latitude_deg, {"standard_name": "latitude"}),
            "longitude": ("longitude", grid.longitude_deg, {"standard_name": "longitude"}),
        },
        attrs=attrs,
    )


def mean(field, grid):
    """The mean over the globe, each row between its own two circles of latitude."""
    edges = np.sin(np.deg2rad(np.clip(grid.latitude_bounds_deg, -90, 90)))
    return np.average(field, weights=np.repeat(np.abs(np.diff(edges)), field.shape[1], axis=1))


def random(grid, steps=2, seed=0):
    return np.random.default_rng(seed).normal(280, 20, (steps, *grid.shape))


def test_overlap_is_the_length_that_two_intervals_share():
    shared = overlap(np.array([0.0, 1, 3, 6]), np.array([-1.0, 0.5, 2, 2.5, 9])).toarray()
    expected = [[0.5, 0, 0], [0.5, 1, 0], [0, 0.5, 0], [0, 0.5, 3]]
    np.testing.assert_array_equal(shared, expected)
    assert overlap(np.array([0.0, 1]), np.array([5.0, 6])).nnz == 0


@pytest.mark.parametrize("rows", [5, 19, 73])
@pytest.mark.parametrize("target", [(7, 11), (72, 140), (18, 36)])
def test_the_global_mean_stays_and_a_constant_too(rows, target):
    source, wanted = points(rows, 144), cells(-90, 90, 0, 360, *target)
    mean_of = Regridder.between(source, wanted)
    for field, result in zip(values := random(source), mean_of(values), strict=True):
        assert abs(mean(result, wanted) / mean(field, source) - 1) < 1e-12
    np.testing.assert_allclose(mean_of(np.full(source.shape, 271.3)), 271.3, rtol=1e-13)


def test_the_cell_at_the_pole_is_the_share_of_its_circles():
    source, wanted = points(5, 8), cells(-90, 90, 0, 360, 4, 8)
    values = np.zeros((1, *source.shape))
    values[0, 0] = 1  # the cap from 67.5 degrees to the pole; the wanted row starts at 45
    cap, row = 1 - np.sin(np.deg2rad(67.5)), 1 - np.sin(np.deg2rad(45))
    result = Regridder.between(source, wanted)(values)[0]
    np.testing.assert_allclose(result[0], cap / row, rtol=1e-13)
    np.testing.assert_array_equal(result[1:], 0)


@pytest.mark.parametrize("west", [-180, -17, 0, 170, 355])
def test_columns_go_round_the_globe(west):
    source = points(7, 12)
    values = np.broadcast_to(np.sin(np.deg2rad(source.longitude_deg)), (1, *source.shape))
    wanted = cells(-90, 90, west, west + 60, 6, 4)  # 15 degrees wide, the source 30
    result = Regridder.between(source, wanted)(values)[0, 0]
    for edge, got in zip(west + np.arange(4) * 15, result, strict=True):
        # a hundred thin strips; each lies in one source cell
        strips = np.sin(np.deg2rad(30 * np.round((edge + np.arange(0.05, 15, 0.1)) / 30)))
        assert got == pytest.approx(strips.mean(), abs=0.02)


def test_whole_factors_are_block_means():
    source = cells(30, 60, 350, 380, 12, 20)
    ds = dataset(source, random(source).astype(np.float32))
    target = source.coarsen(4)
    expected = block_mean(ds, 4)
    np.testing.assert_array_equal(regrid(ds, target)["eastward_wind"], expected["eastward_wind"])
    by_area = Regridder.between(source, target)(ds["eastward_wind"].values)
    np.testing.assert_allclose(by_area, expected["eastward_wind"], rtol=1e-6)


def test_gaps_do_not_spread():
    source, wanted = cells(0, 8, 0, 12, 4, 6), cells(0, 8, 0, 12, 2, 3)
    values = np.full((1, 4, 6), 5.0)
    values[0, 0, 0] = np.nan  # a quarter of the first cell
    values[0, 2:, 4:] = np.nan  # all of the last
    values[0, 0, 3] = values[0, 0, 2] = np.nan  # about half; the northern row is a little smaller
    values[0, 0:2, 4] = values[0, 1, 5] = np.nan  # three quarters
    result = Regridder.between(source, wanted)(values)[0]
    np.testing.assert_allclose(result, [[5, 5, np.nan], [5, 5, np.nan]])


@pytest.mark.parametrize(
    ("least", "missing"),
    [(0.0, [0, 0, 0, 1]), (0.25, [0, 0, 0, 1]), (0.5, [0, 0, 1, 1]), (0.75, [0, 1, 1, 1]),
     (0.8, [1, 1, 1, 1]), (1.0, [1, 1, 1, 1])],
)  # fmt: skip
def test_a_cell_wants_its_least_share_of_values(least, missing):
    """Three, two, one and none of four cells are valid; by blocks as by shared area."""
    source, wanted = cells(-8, 8, 0, 24, 4, 8), cells(-8, 8, 0, 24, 2, 4)
    values = np.tile(np.arange(4.0).repeat(2), (1, 4, 1))
    for row in (0, 2):
        values[0, row, [0, 2, 4, 5, 6, 7]] = np.nan
        values[0, row + 1, [2, 4, 6, 7]] = np.nan
    expected = np.where(missing, np.nan, np.arange(4.0))
    shared = Regridder.between(source, wanted)(values, least_valid=least)
    ds = dataset(source, values, missing="mask")
    blocks = regrid(ds, wanted, least_valid=least)["eastward_wind"].values
    for result in (shared[0], blocks[0]):
        np.testing.assert_allclose(result, [expected, expected], rtol=1e-11)


def test_a_missing_value_that_is_not_declared_is_not_averaged_away():
    source, wanted = cells(0, 8, 0, 12, 4, 6), cells(0, 8, 0, 12, 3, 5)
    values = random(source, 2)
    values[1, 0, 2] = np.nan  # a quarter of one cell, three eighths of its neighbour
    ds = dataset(source, values)
    for declared, count in (("error", 2), ("mask", 0)):
        result = regrid(ds.assign_attrs(missing=declared), wanted)["eastward_wind"]
        assert int(np.isnan(result[1, 0, 1:3]).sum()) == int(np.isnan(result).sum()) == count


def test_a_cell_outside_the_data_is_missing():
    source = cells(0, 8, 0, 12, 4, 6)
    wanted = cells(0, 8, 6, 18, 2, 3)
    result = Regridder.between(source, wanted)(np.ones((1, 4, 6)))[0]
    np.testing.assert_array_equal(np.isnan(result), [[False, False, True]] * 2)  # the second: half


def test_lazy_data_stay_lazy_and_are_the_same():
    source, wanted = points(19, 36), cells(-90, 90, 0, 360, 12, 20)
    ds = dataset(source, random(source, 5).astype(np.float32), title="kept")
    lazy = regrid(ds.chunk(time=2, latitude=7, longitude=9), wanted)
    assert lazy["eastward_wind"].chunks is not None
    eager = regrid(ds, wanted)
    xr.testing.assert_identical(lazy.compute(), eager)
    assert eager["eastward_wind"].dtype == np.float32
    assert eager["eastward_wind"].attrs == {"units": "m s-1"}
    assert eager.attrs == {"title": "kept"}
    assert eager["latitude"].attrs == {"standard_name": "latitude"}
    assert Grid.of(eager).matches(wanted)
    for field, result in zip(ds["eastward_wind"], eager["eastward_wind"], strict=True):
        assert abs(mean(result, wanted) / mean(field, source) - 1) < 1e-6


def test_the_cells_of_era5_are_720_rows():
    grid = cell_grid(points(721, 1440), 0.25, multiple=4)
    assert grid.shape == (720, 1440)
    assert (grid.latitude_deg[0], grid.latitude_deg[-1]) == (89.875, -89.875)
    assert (grid.longitude_deg[0], grid.longitude_deg[-1]) == (0.125, 359.875)


def test_a_region_keeps_the_cells_inside_it():
    grid = cell_grid(cells(45.3, 51.1, 5.2, 15.7, 58, 105), 0.25, multiple=3)
    assert (grid.latitude_bounds_deg[0, 0], grid.latitude_bounds_deg[-1, 1]) == (51.0, 45.75)
    assert (grid.longitude_bounds_deg[0, 0], grid.longitude_bounds_deg[-1, 1]) == (5.25, 15.0)
    assert grid.shape[0] % 3 == grid.shape[1] % 3 == 0


@pytest.mark.parametrize(("width", "multiple"), [(0.7, 1), (1.0, 7)])
def test_cells_that_do_not_close_the_globe_are_refused(width, multiple):
    with pytest.raises(ValueError, match=r"groups of \d that fit.*got 73 x 144 cells.*another"):
        cell_grid(points(73, 144), width, multiple=multiple)
