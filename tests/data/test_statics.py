"""Statics of any grid: what is kept, what the poles and the date line do, what is said."""

import numpy as np
import pytest
import xarray as xr

from orbitds.catalog import open_dataset
from orbitds.data.statics import LATITUDE, SOURCE, resample, statics_for
from orbitds.grid import Grid
from orbitds.variables import variable


def globe(rows, columns, west=0.0):
    """A global grid of cells; the first one begins at `west`."""
    latitude = 90 - (np.arange(rows) + 0.5) * 180 / rows
    return Grid(latitude, west + (np.arange(columns) + 0.5) * 360 / columns)


@pytest.fixture(scope="module")
def shipped():
    return open_dataset(SOURCE).load()


@pytest.mark.parametrize(
    "grid",
    [
        globe(18, 36),
        globe(7, 11, west=-33.3),
        globe(180, 360, west=179.95),
        globe(1800, 3600, west=0.05),
        globe(721, 1440, west=-0.125),
        # points that include both poles: the outer cells are cut there
        Grid(np.linspace(90, -90, 121), np.arange(240) * 1.5),
    ],
    ids=["tens", "odd", "date line", "half a cell", "odd rows", "pole rows"],
)
def test_coarser_grids_keep_the_global_mean(shipped, grid):
    for name in ("orography", "land_sea_mask"):
        values, origin = shipped[name].values, Grid.of(shipped)
        got = resample(values, origin, grid)
        expected = np.average(values.astype(np.float64), weights=origin.area)
        assert np.average(got, weights=grid.area) == pytest.approx(expected, rel=1e-6)


def test_a_region_has_the_mean_of_what_it_covers_by_hand():
    origin = globe(6, 4)
    values = np.arange(24.0).reshape(6, 4)
    grid = Grid(np.array([52.5, 7.5]), np.array([120.0, 240.0]))
    sine = np.sin(np.deg2rad([75, 60, 30, 0, -15]))
    rows = np.zeros((2, 6))  # 75 to 30 north lies in two rows of 30 degrees, 30 to -15 too
    rows[0, :2] = (sine[:2] - sine[1:3]) / (sine[0] - sine[2])
    rows[1, 2:4] = (sine[2:4] - sine[3:5]) / (sine[2] - sine[4])
    columns = np.array([[30, 90, 0, 0], [0, 0, 90, 30]]) / 120  # 60 to 180 and to 300 east
    np.testing.assert_allclose(resample(values, origin, grid), rows @ values @ columns.T)


def test_cells_over_two_source_rows_weigh_by_area():
    origin = globe(3, 4)
    values = np.array([[3.0] * 4, [5.0] * 4, [11.0] * 4])
    grid = Grid(np.array([60.0, 0.0, -60.0]) - 10, np.array([90.0, 270.0]))
    sine = np.sin(np.deg2rad([80, 30, 20, -30, -40]))
    whole = sine[0] - sine[2]
    expected = 3 * (sine[0] - sine[1]) / whole + 5 * (sine[1] - sine[2]) / whole
    assert resample(values, origin, grid)[0, 0] == pytest.approx(expected, rel=1e-12)
    # the southernmost row would reach to 100 degrees south: it ends at the pole
    assert resample(values, origin, grid)[2, 1] == pytest.approx(11)


def test_the_grid_of_the_source_gets_the_source_itself(shipped):
    part = shipped.isel(latitude=slice(300, 340), longitude=slice(60, 131))
    got = statics_for(Grid.of(part))
    for name in ("orography", "land_sea_mask"):
        np.testing.assert_allclose(got[name], part[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("rows", "columns"), [(19, 37), (1801, 3607), (361, 5000)])
def test_a_rolled_grid_gets_rolled_statics(rows, columns):
    whole, turned = globe(rows, columns), globe(rows, columns, west=360 * 5 / columns)
    straight, rolled = statics_for(whole), statics_for(turned)
    for name in straight.data_vars:
        expected = np.roll(straight[name].values, -5, axis=-1)
        np.testing.assert_allclose(rolled[name], expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("turn", [-360, 360])
def test_whole_turns_change_nothing(turn):
    grid = Grid(np.linspace(10, -10, 9), np.arange(170.0, 190, 2.5))
    other = Grid(grid.latitude_deg, grid.longitude_deg + turn)
    first, second = statics_for(grid), statics_for(other)
    for name in first.data_vars:
        np.testing.assert_allclose(first[name], second[name], rtol=1e-5, atol=1e-4)


def test_finer_grids_are_linear_between_the_centres(shipped):
    # Java, 0.05 degrees; and a globe's seam at Greenwich, in London
    for north, west in ((-6.0, 105.0), (52.0, -0.3)):
        grid = Grid(north - (np.arange(21) + 0.5) / 20, west + (np.arange(14) + 0.5) / 20)
        got = statics_for(grid)
        around = shipped.pad(longitude=5, mode="wrap")
        step = np.arange(-5, 3605) * 0.1 + 0.05
        around = around.assign_coords(longitude=step)
        expected = around.interp(latitude=grid.latitude_deg, longitude=grid.longitude_deg % 360)
        inside = np.abs((grid.longitude_deg + 180) % 360 - 180) > 0.06
        if west > 0:
            assert inside.all()
        for name in got.data_vars:
            np.testing.assert_allclose(
                got[name].values[:, inside], expected[name].values[:, inside], atol=2e-3
            )
            assert not np.isnan(got[name]).any()


def test_finer_cells_at_the_poles_go_on_and_the_seam_is_periodic():
    values = np.array([[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])
    grid = globe(12, 16)
    got = resample(values, globe(3, 4), grid)
    # centres of the first columns are 11.25 and 348.75, those of the source 45 and 315
    weight = (11.25 + 45) / 90
    np.testing.assert_allclose(got[0, 0], 4 * (1 - weight) + 1 * weight)
    np.testing.assert_allclose(got[0, -1], 1 * (1 - weight) + 4 * weight)
    np.testing.assert_array_equal(got[0], got[1])


def test_bounds_hold_and_nothing_is_missing():
    for grid in (globe(2160, 4320), globe(37, 71)):
        got = statics_for(grid, ("orography", "land_sea_mask", LATITUDE))
        assert got["land_sea_mask"].min() == 0
        assert got["land_sea_mask"].max() == 1
        assert got["orography"].min() == 0, "the sea floor is no orography"
        for name, field in got.data_vars.items():
            assert not field.isnull().any()
            assert field.dtype == np.float32
            assert field.attrs["units"] == variable(str(name)).units


def test_places_are_where_they_should_be():
    got = statics_for(globe(180, 360))
    # Tibet, the Pacific, Amazonia, the inner Antarctic
    place = {"latitude": [33.5, 0.5, -5.5, -85.5], "longitude": [88.5, 200.5, 297.5, 90.5]}
    at = got.sel({axis: xr.DataArray(values) for axis, values in place.items()})
    heights, land = at["orography"].values, at["land_sea_mask"].values
    assert heights[0] > 4500
    assert heights[1] == 0
    assert 0 < heights[2] < 200
    assert heights[3] > 2500
    np.testing.assert_array_equal(land, [1, 0, 1, 1])


def test_latitude_is_that_of_the_rows():
    grid = Grid(np.array([50.25, 49.75, 49.25]), np.array([9.25, 9.75]))
    got = statics_for(grid, [LATITUDE])
    np.testing.assert_array_equal(got[LATITUDE], [[50.25] * 2, [49.75] * 2, [49.25] * 2])
    assert got[LATITUDE].attrs["source"] == "the grid"


def test_it_is_said_where_they_are_from():
    got = statics_for(globe(18, 36))
    for field in got.data_vars.values():
        assert field.attrs["source"].startswith(f"{SOURCE} (Orography of ETOPO5")
        assert "area means of cells of 0.1 degrees" in field.attrs["source"]
        assert field.attrs["source"] in got.attrs["source"]
    fine = statics_for(Grid(np.array([1.0, 0.95]), np.array([9.0, 9.05])))
    assert "linear between cells" in fine.attrs["source"]


def test_none_are_none():
    got = statics_for(globe(4, 8), ())
    assert list(got.data_vars) == []
    assert got.sizes == {"latitude": 4, "longitude": 8}


def test_what_does_not_ship_is_refused():
    with pytest.raises(ValueError, match=r"one of \['orography'.*got 'landcover'.*Name a dataset"):
        statics_for(globe(4, 8), ["landcover"])
    with pytest.raises(ValueError, match=r"Did you mean 'orography'"):
        statics_for(globe(4, 8), ["orograhpy"])
