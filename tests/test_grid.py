"""Grids: cells, children and blocks, areas on the sphere, places across the date line."""

import numpy as np
import pytest
import xarray as xr
from dask.base import is_dask_collection
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitds.grid import (
    KM_PER_DEGREE,
    TIE,
    Grid,
    block_mean,
    refine_centres,
    row_placement,
    unwrap_longitude,
)


def grid_of(rows, columns, *, north=90.0, south=-90.0, west=0.0, east=360.0):
    """Cells that fill a box, given by its edges."""
    height, width = (north - south) / rows, (east - west) / columns
    latitude = north - height * (np.arange(rows) + 0.5)
    return Grid(latitude, west + width * (np.arange(columns) + 0.5))


def dataset_of(grid, *, seed=0, dtype: type = np.float64, times=3):
    shape = (times, *grid.shape)
    values = np.random.default_rng(seed).normal(280, 20, size=shape).astype(dtype)
    return xr.Dataset(
        {"t2m": (("time", "latitude", "longitude"), values, {"units": "K"})},
        coords={
            "time": np.arange(times),
            "latitude": ("latitude", grid.latitude_deg, {"units": "degrees_north"}),
            "longitude": ("longitude", grid.longitude_deg, {"units": "degrees_east"}),
        },
        attrs={"title": "noise"},
    )


@st.composite
def grids(draw):
    """Any box of uneven cells, some global, some reaching over the date line."""
    rows, columns = draw(st.integers(2, 9)), draw(st.integers(2, 11))
    height = draw(st.floats(0.01, 180 / rows))
    # global, or clearly not: what is nearly closed is closed, and its children may not be
    width = draw(st.one_of(st.just(360 / columns), st.floats(0.01, 270 / columns)))
    south = draw(st.floats(-90, 90 - rows * height))
    west = draw(st.floats(-180, 359))
    return grid_of(
        rows,
        columns,
        north=south + rows * height,
        south=south,
        west=west,
        east=west + columns * width,
    )


@settings(max_examples=40, deadline=None)
@given(grid=grids(), factor=st.integers(1, 5))
def test_refine_then_coarsen_is_the_same_grid(grid, factor):
    fine = grid.refine(factor)
    assert fine.shape == (grid.shape[0] * factor, grid.shape[1] * factor)
    back = fine.coarsen(factor)
    np.testing.assert_allclose(back.latitude_deg, grid.latitude_deg, rtol=0, atol=1e-10)
    np.testing.assert_allclose(back.longitude_deg, grid.longitude_deg, rtol=0, atol=1e-10)
    assert grid.matches(back)
    assert grid.factor_to(fine) == factor
    assert fine.periodic == grid.periodic
    np.testing.assert_allclose(fine.spacing_deg, np.divide(grid.spacing_deg, factor), rtol=1e-9)


@settings(max_examples=40, deadline=None)
@given(grid=grids(), factor=st.integers(1, 5))
def test_children_fill_their_parent(grid, factor):
    fine = grid.refine(factor)
    for axis in ("latitude_bounds_deg", "longitude_bounds_deg"):
        outer, inner = getattr(grid, axis), getattr(fine, axis)
        inner = inner.reshape(-1, factor, 2)
        np.testing.assert_allclose(inner[:, 0, 0], outer[:, 0], rtol=0, atol=1e-10)
        np.testing.assert_allclose(inner[:, -1, 1], outer[:, 1], rtol=0, atol=1e-10)
        np.testing.assert_allclose(inner[:, :-1, 1], inner[:, 1:, 0], rtol=0, atol=1e-10)
        np.testing.assert_allclose(outer[:-1, 1], outer[1:, 0], rtol=0, atol=1e-10)


@settings(max_examples=40, deadline=None)
@given(grid=grids(), factor=st.integers(1, 5))
def test_area_has_mean_one_and_is_the_sum_of_the_childrens(grid, factor):
    assert grid.area.shape == grid.shape
    assert (grid.area > 0).all()
    np.testing.assert_allclose(grid.area.mean(), 1, rtol=1e-12)
    rows, columns = grid.shape
    children = grid.refine(factor).area.reshape(rows, factor, columns, factor)
    np.testing.assert_allclose(children.mean(axis=(1, 3)), grid.area, rtol=1e-6)


def test_area_is_that_of_zones_on_the_sphere():
    # By Archimedes a zone's area goes with its height: half of the sphere is within 30 degrees.
    area = grid_of(6, 5).area[:, 0]
    np.testing.assert_allclose(area[2:4].sum() / area.sum(), 0.5, rtol=1e-14)
    heights = -np.diff(np.sin(np.deg2rad([90, 60, 30, 0, -30, -60, -90])))
    np.testing.assert_allclose(area, heights * 6 / 2, rtol=1e-13)


def test_pole_rows_have_only_the_half_that_is_on_the_globe():
    grid = Grid(np.linspace(90, -90, 13), np.arange(0.0, 360, 15))
    area = grid.area[:, 0]
    outer, inner = np.sin(np.deg2rad([82.5, 67.5]))
    np.testing.assert_allclose(area[0] / area[1], (1 - outer) / (outer - inner), rtol=1e-12)
    np.testing.assert_allclose(area, area[::-1], rtol=1e-12)


def test_bounds_of_a_row_run_south_and_of_a_column_east():
    grid = grid_of(2, 3, north=50, south=40, west=350, east=380)
    np.testing.assert_allclose(grid.latitude_bounds_deg, [[50, 45], [45, 40]])
    np.testing.assert_allclose(grid.longitude_bounds_deg, [[350, 360], [360, 370], [370, 380]])


def test_spacing_is_that_of_a_great_circle():
    grid = grid_of(9, 24, north=45, south=0, west=0, east=36)
    assert grid.spacing_deg == pytest.approx((5, 1.5), rel=1e-14)
    # 40,030 km around the Earth
    assert grid.spacing_km == pytest.approx(2 * np.pi * 6371 * 5 / 360, rel=1e-12)
    assert pytest.approx(111.195, abs=1e-3) == KM_PER_DEGREE


@pytest.mark.parametrize(
    ("grid", "periodic"),
    [
        (grid_of(4, 7), True),
        (grid_of(4, 7, west=-180, east=180), True),
        (grid_of(4, 7, east=360 * 6 / 7), False),
        (grid_of(4, 7, east=90), False),
        # a column too many: the first meridian twice
        (Grid(np.array([1.0, 0.0]), np.linspace(0, 360, 13)), False),
        (Grid(np.array([1.0, 0.0]), np.arange(0, 360, 0.1, dtype=np.float32)), True),
        # 359.5 degrees: half a column is missing, or a whole one
        (grid_of(4, 359, west=0.5), False),
        (grid_of(4, 719, east=359.5), False),
        # 0.02 and 0.06 of a column are missing or too much
        (grid_of(4, 360, east=359.98), True),
        (grid_of(4, 360, east=359.94), False),
        (grid_of(4, 360, east=360.06), False),
    ],
)
def test_columns_that_close_the_circle_are_periodic(grid, periodic):
    assert grid.periodic is periodic


def test_grid_of_a_dataset_takes_float32_axes_and_arrays():
    exact = grid_of(719, 1440)
    ds = xr.Dataset(
        coords={
            "latitude": exact.latitude_deg.astype(np.float32),
            "longitude": exact.longitude_deg.astype(np.float32),
        }
    )
    grid = Grid.of(ds)
    assert grid.latitude_deg.dtype == np.float64
    assert grid.matches(exact)
    assert Grid.of(dataset_of(exact.coarsen(1), times=1)["t2m"]).matches(exact)


@pytest.mark.parametrize(
    ("latitude", "longitude", "message"),
    [
        ([10, 9, 7.9], [0, 1, 2], r"uniform latitude.*between 1 and 1\.1 degrees.*Regrid"),
        ([10, 9, 8], [0, 1, 3], r"uniform longitude.*between 1 and 2 degrees.*Regrid"),
        ([8, 9, 10], [0, 1, 2], "uniform latitude.*between -1 and -1"),
        ([10, 9, 8], [359, 0, 1], "uniform longitude.*between -359 and 1"),
        ([10, 10, 10], [0, 1, 2], "uniform latitude.*between -0 and -0"),
        ([10, np.nan, 8], [0, 1, 2], "uniform latitude.*Regrid"),
        ([10], [0, 1, 2], "at least two cells along latitude, got 1.*Select a larger region"),
        ([10, 9], [0], "at least two cells along longitude, got 1.*Select a larger region"),
        # Gaussian latitudes are nearly, not quite, uniform
        (np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(32)[0][::-1])), [0, 1], "uniform"),
    ],
)
def test_axis_that_is_not_uniform_is_refused(latitude, longitude, message):
    ds = xr.Dataset(coords={"latitude": latitude, "longitude": longitude})
    with pytest.raises(ValueError, match=message):
        Grid.of(ds)


def test_refine_refuses_cells_beyond_a_pole():
    poles = Grid(np.linspace(90, -90, 181), np.arange(360.0))
    with pytest.raises(ValueError, match="reach beyond 90 degrees. Drop the pole rows") as error:
        poles.refine(4)
    assert "centres from 90 to -90 every 1 degrees" in str(error.value)
    with pytest.raises(ValueError, match="beyond 90 degrees"):
        Grid(poles.latitude_deg[100:], poles.longitude_deg).refine(2)
    assert Grid(poles.latitude_deg[1:-1], poles.longitude_deg).refine(4).shape == (716, 1440)


def test_coarsen_refuses_what_does_not_divide():
    with pytest.raises(ValueError, match=r"multiples of 4, got \(6, 8\)\. .*cut the region"):
        grid_of(6, 8).coarsen(4)
    with pytest.raises(ValueError, match=r"multiples of 3, got \(6, 8\)"):
        grid_of(6, 8).coarsen(3)


@pytest.mark.parametrize("turn", [-360, 0, 360, 720])
def test_whole_turns_of_longitude_make_no_difference(turn):
    grid = grid_of(4, 6, north=60, south=20, west=340, east=400)
    turned = Grid(grid.latitude_deg, grid.longitude_deg + turn)
    assert grid.matches(turned)
    assert turned.matches(grid)
    assert grid.factor_to(turned.refine(3)) == 3


def test_each_column_may_be_a_turn_away():
    grid = grid_of(4, 6, west=-180, east=180)
    assert grid.matches(Grid(grid.latitude_deg, grid.longitude_deg % 360))


@pytest.mark.parametrize(
    "other",
    [
        grid_of(4, 7, north=40, south=0, west=10, east=70),
        grid_of(5, 6, north=40, south=0, west=10, east=70),
        grid_of(4, 6, north=41, south=1, west=10, east=70),
        grid_of(4, 6, north=40, south=0, west=12, east=72),
        grid_of(4, 6, north=40, south=0, west=10, east=71),
    ],
)
def test_other_cells_do_not_match(other):
    grid = grid_of(4, 6, north=40, south=0, west=10, east=70)
    assert not grid.matches(other)
    with pytest.raises(ValueError, match=r"divide the coarse cells evenly.*Regrid") as error:
        grid.factor_to(other.refine(2))
    # both grids are described
    assert str(grid) in str(error.value)
    assert str(other.refine(2)) in str(error.value)


def test_factor_to_refuses_coarser_and_sideways_refinement():
    grid = grid_of(4, 6)
    assert grid.factor_to(grid) == 1
    with pytest.raises(ValueError, match="divide the coarse cells evenly"):
        grid.refine(2).factor_to(grid)
    with pytest.raises(ValueError, match="divide the coarse cells evenly"):
        grid.factor_to(grid_of(8, 18))


def test_grid_is_described_in_words():
    text = str(grid_of(4, 6, north=40, south=20, west=10, east=25))
    assert (
        text == "4 x 6 cells of 5 x 2.5 degrees (latitude 37.5 to 22.5, longitude 11.25 to 23.75)"
    )


def located(grid, other):
    """Rows and columns of the other's cells, which are there."""
    place = grid.locate(other)
    assert place is not None
    return place


@settings(max_examples=40, deadline=None)
@given(
    grid=grids(),
    data=st.data(),
    turn=st.sampled_from([-360, 0, 360]),
)
def test_locate_finds_the_cells_of_any_cut(grid, data, turn):
    rows, columns = grid.shape
    top = data.draw(st.integers(0, rows - 2))
    height = data.draw(st.integers(2, rows - top))
    # a cut of a global grid may run across the seam of its columns
    left = data.draw(st.integers(0, columns - 1 if grid.periodic else columns - 2))
    width = data.draw(st.integers(2, columns if grid.periodic else columns - left))
    wanted = np.arange(top, top + height), np.arange(left, left + width)
    longitude = grid.longitude_deg[0] + wanted[1] * grid.spacing_deg[1]
    cut = Grid(grid.latitude_deg[wanted[0]], longitude + turn)
    found = located(grid, cut)
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1] % columns)


def test_locate_across_greenwich_and_the_date_line():
    globe = grid_of(6, 12)
    west = Grid(globe.latitude_deg, np.arange(-165.0, 180, 30))
    rows, columns = located(globe, west)
    np.testing.assert_array_equal(rows, np.arange(6))
    np.testing.assert_array_equal(columns, (np.arange(12) + 6) % 12)
    pacific = Grid(globe.latitude_deg[2:4], np.array([-195.0, -165, -135]))
    np.testing.assert_array_equal(located(globe, pacific)[1], [5, 6, 7])


def test_locate_forgives_float32_just_west_of_the_first_column():
    globe = Grid(np.array([1.0, 0.0]), 0.1 + np.arange(3600) / 10)
    cut = Grid(globe.latitude_deg, globe.longitude_deg[:5] - 3e-5)
    np.testing.assert_array_equal(located(globe, cut)[1], np.arange(5))


@pytest.mark.parametrize(
    "other",
    [
        grid_of(2, 3, north=45, south=25, west=10, east=40),  # half a row off
        grid_of(2, 3, north=50, south=30, west=13, east=43),  # a third of a column off
        grid_of(4, 6, north=50, south=30, west=10, east=40),  # finer
        grid_of(2, 3, north=60, south=40, west=10, east=40),  # a row beyond the north
        grid_of(2, 3, north=0, south=-20, west=10, east=40),  # beyond the south
        grid_of(2, 3, north=50, south=30, west=50, east=80),  # a column beyond the east
        grid_of(2, 3, north=50, south=30, west=-10, east=20),  # a column beyond the west
    ],
)
def test_locate_finds_nothing_where_cells_differ(other):
    region = grid_of(6, 7, north=50, south=-10, west=0, east=70)
    assert region.locate(grid_of(2, 3, north=50, south=30, west=10, east=40)) is not None
    assert region.locate(other) is None


def test_children_northeast_start_at_their_parent():
    """ORBIT-2 at 0.25 degrees: from -90 to 89.75, and to 89.9375 on the fine grid."""
    grid = Grid(89.75 - 0.25 * np.arange(720), 0.25 * np.arange(1440))
    fine = grid.refine(4, "northeast")
    np.testing.assert_allclose(fine.latitude_deg[[0, -2, -1]], [89.9375, -89.9375, -90])
    np.testing.assert_allclose(fine.longitude_deg[[0, 1, -1]], [0, 0.0625, 359.9375])
    np.testing.assert_allclose(fine.latitude_deg[3::4], grid.latitude_deg)
    np.testing.assert_allclose(fine.longitude_deg[::4], grid.longitude_deg)
    with pytest.raises(ValueError, match=r"beyond 90 degrees\. Drop the row of the north pole"):
        Grid(90 - 0.25 * np.arange(720), 0.25 * np.arange(1440)).refine(4, "northeast")
    with pytest.raises(ValueError, match=r"beyond 90 degrees\. Drop the pole rows"):
        grid.refine(4)


def test_rows_that_end_at_the_poles_keep_their_children_around_them():
    grid = grid_of(32, 64)
    fine = grid.refine(4, "northeast")
    np.testing.assert_allclose(fine.latitude_deg, grid.refine(4).latitude_deg)
    np.testing.assert_allclose(fine.longitude_deg[::4], grid.longitude_deg)
    assert row_placement(grid.latitude_deg[::-1], "northeast") == "around"
    assert row_placement(grid.latitude_deg[1:], "northeast") == "northeast"
    assert row_placement(grid.latitude_deg[1:], "around") == "around"


def test_refine_centres_against_the_definition():
    np.testing.assert_allclose(
        refine_centres(np.array([3.0, 1.0, -1.0], dtype=np.float32), 4),
        [3.75, 3.25, 2.75, 2.25, 1.75, 1.25, 0.75, 0.25, -0.25, -0.75, -1.25, -1.75],
    )
    np.testing.assert_allclose(
        refine_centres(np.array([3.0, 1.0]), 4, "northeast"), [4.5, 4, 3.5, 3, 2.5, 2, 1.5, 1]
    )
    np.testing.assert_allclose(refine_centres(np.array([1, 3]), 2, "northeast"), [1, 2, 3, 4])


@pytest.mark.parametrize(
    ("longitude", "smooth"),
    [
        ([358, 359, 0, 1], [358, 359, 360, 361]),
        ([178, 179, -180, -179], [178, 179, 180, 181]),
        ([0, 90, 180, 270], [0, 90, 180, 270]),
        ([10, 130, 250, 10], [10, 130, 250, 370]),
        ([2, 1, 359, 358], [2, 1, -1, -2]),
    ],
)
def test_unwrap_removes_jumps_of_a_turn(longitude, smooth):
    unwrapped = unwrap_longitude(np.array(longitude, dtype=np.float32))
    assert unwrapped.dtype == np.float64
    np.testing.assert_array_equal(unwrapped, smooth)


# --- block means ---


def block_mean_by_loops(values, latitude_edges_deg, factor):
    """Area-weighted mean of each block, cell by cell."""
    area = -np.diff(np.sin(np.deg2rad(latitude_edges_deg)))
    rows, columns = values.shape[0] // factor, values.shape[1] // factor
    means = np.empty((rows, columns))
    for i in range(rows):
        for j in range(columns):
            cells = [
                (area[r], values[r, c])
                for r in range(i * factor, (i + 1) * factor)
                for c in range(j * factor, (j + 1) * factor)
            ]
            means[i, j] = sum(a * x for a, x in cells) / sum(a for a, _ in cells)
    return means


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("chunks", [None, {"time": 1, "latitude": 4, "longitude": 5}])
def test_block_mean_against_loops(factor, chunks):
    grid = grid_of(12, 18, north=90, south=30)
    ds = dataset_of(grid)
    mean = block_mean(ds if chunks is None else ds.chunk(chunks), factor)
    edges = np.linspace(90, 30, 13)
    for time in range(3):
        expected = block_mean_by_loops(ds["t2m"].values[time], edges, factor)
        np.testing.assert_allclose(mean["t2m"].values[time], expected, rtol=1e-13)
    assert grid.coarsen(factor).matches(Grid.of(mean))


def test_block_mean_keeps_the_global_mean_and_constants():
    grid = grid_of(12, 20)
    ds = dataset_of(grid)
    mean = block_mean(ds, 4)
    np.testing.assert_allclose(
        (mean["t2m"].values * Grid.of(mean).area).mean(axis=(1, 2)),
        (ds["t2m"].values * grid.area).mean(axis=(1, 2)),
        rtol=1e-13,
    )
    np.testing.assert_allclose(block_mean(ds * 0 + 273.15, 4)["t2m"], 273.15, rtol=1e-14)


def test_block_with_a_missing_cell_is_missing_and_no_other():
    ds = dataset_of(grid_of(6, 9))
    whole = block_mean(ds, 3)["t2m"].values
    ds["t2m"].values[1, 4, 8] = np.nan
    mean = block_mean(ds, 3)["t2m"].values
    assert np.isnan(mean[1, 1, 2])
    assert np.isnan(mean).sum() == 1
    np.testing.assert_array_equal(np.nan_to_num(mean, nan=whole[1, 1, 2]), whole)


def test_block_mean_is_lazy():
    ds = dataset_of(grid_of(6, 9))

    def never(block):
        raise AssertionError("computed too early")

    lazy = ds.assign(t2m=ds["t2m"].chunk({"time": 1}).copy())
    lazy["t2m"].data = lazy["t2m"].data.map_blocks(never, dtype=np.float64, meta=np.empty(0))
    mean = block_mean(lazy, 3)
    assert is_dask_collection(mean["t2m"].data)
    assert mean["t2m"].shape == (3, 2, 3)
    with pytest.raises(AssertionError, match="too early"):
        mean.compute()


def test_block_mean_keeps_order_attributes_times_and_precision():
    ds = dataset_of(grid_of(6, 9), dtype=np.float32)
    ds["height"] = ("time", np.arange(3.0))
    mean = block_mean(ds.transpose("longitude", "time", "latitude"), 3)
    assert mean["t2m"].dims == ("longitude", "time", "latitude")
    assert mean["t2m"].dtype == np.float32
    assert mean["t2m"].attrs == {"units": "K"}
    assert mean.attrs == {"title": "noise"}
    assert mean["latitude"].attrs == {"units": "degrees_north"}
    np.testing.assert_array_equal(mean["time"], ds["time"])
    assert list(mean.data_vars) == ["t2m"], "what has no grid has no block mean"
    # summed in float64, rounded once
    exact = block_mean(ds.astype(np.float64), 3)["t2m"].values.astype(np.float32)
    np.testing.assert_array_equal(mean.transpose(*ds["t2m"].dims)["t2m"], exact)


def test_block_mean_of_integers_is_a_fraction():
    mask = np.array([[0, 1, 1, 1], [1, 1, 0, 0]], dtype=np.int8)
    coords = {"latitude": [0.5, -0.5], "longitude": np.arange(4.0)}
    ds = xr.Dataset({"land_sea_mask": (("latitude", "longitude"), mask)}, coords=coords)
    np.testing.assert_allclose(block_mean(ds, 2)["land_sea_mask"], [[0.75, 0.5]])


@pytest.mark.parametrize("chunks", [None, {"latitude": 3, "longitude": 5}])
def test_block_mean_over_valid_cells_against_loops(chunks):
    ds = dataset_of(grid_of(6, 9), times=2)
    rng = np.random.default_rng(4)
    values = rng.normal(280, 20, (2, 6, 9))
    values[rng.random(values.shape) < 0.6] = np.nan
    values[:, :3, :3] = np.nan
    values[:, :3, 3:6] = 7.0
    ds = xr.Dataset({"t2m": (("time", "latitude", "longitude"), values)}, coords=ds.coords)
    area = Grid.of(ds).area
    wanted = ds if chunks is None else ds.chunk(chunks)
    means = {least: block_mean(wanted, 3, least_valid=least)["t2m"] for least in (0.0, 0.5, 1.0)}
    shares = []
    for time, row, column in np.ndindex(2, 2, 3):
        block = np.s_[3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
        valid = ~np.isnan(values[time][block])
        share = area[block][valid].sum() / area[block].sum()
        shares.append(share)
        for least, mean in means.items():
            got = mean.values[time, row, column]
            if share == 0 or share < least - TIE:
                assert np.isnan(got)
            else:
                expected = (values[time][block] * area[block])[valid].sum()
                assert got == pytest.approx(expected / area[block][valid].sum(), rel=1e-12)
    assert min(shares) == 0
    assert max(shares) == pytest.approx(1)
    assert any(0 < share < 0.5 for share in shares), "else the threshold is not tried"
    assert any(0.5 < share < 0.99 for share in shares)


def test_block_mean_of_whole_blocks_is_the_same_bit_for_bit():
    ds = dataset_of(grid_of(12, 24)).astype(np.float32)
    whole, partial = block_mean(ds, 4), block_mean(ds, 4, least_valid=0.5)
    xr.testing.assert_identical(whole, partial)


def test_block_mean_refuses_what_does_not_divide():
    with pytest.raises(ValueError, match="multiples of 4"):
        block_mean(dataset_of(grid_of(6, 8)), 4)
