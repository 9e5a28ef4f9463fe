"""Two products cut to what they share: cells by number, so that a shift by one cannot hide."""

import numpy as np
import pytest
import xarray as xr

from orbitds.catalog import RegionEntry
from orbitds.data.align import (
    common_times,
    in_order_of_time,
    in_region,
    start_with,
    whole_blocks,
    whole_cells,
)
from orbitds.grid import Grid


def cells(rows, columns, *, north, west, spacing, times=2):
    """Each cell holds its own centre, latitude in one variable and longitude in the other.

    Longitudes in the field are in [0, 360), whatever the coordinate's turn.
    """
    latitude = north - (np.arange(rows) + 0.5) * spacing
    longitude = west + (np.arange(columns) + 0.5) * spacing
    fields = np.broadcast_arrays(latitude[:, None], longitude[None, :] % 360)
    time = xr.date_range("2001-01-01", periods=times, freq="MS")
    return xr.Dataset(
        {
            name: (("time", "latitude", "longitude"), np.stack([field] * times))
            for name, field in zip(("latitude_of", "longitude_of"), fields, strict=True)
        },
        coords={"time": time, "latitude": latitude, "longitude": longitude},
        attrs={"missing": "mask"},
    )


def check(coarse, fine, factor):
    """Each block of fine cells lies where its coarse cell lies, in values and in coordinates."""
    grid = Grid.of(coarse)
    assert grid.factor_to(Grid.of(fine)) == factor
    for name in ("latitude_of", "longitude_of"):
        blocks = fine[name].values.reshape(2, grid.shape[0], factor, grid.shape[1], factor)
        away = blocks - coarse[name].values[:, :, None, :, None]
        spacing = grid.spacing_deg[0]
        away = (away + 180) % 360 - 180  # a coarse cell may have its fine cells beyond Greenwich
        assert np.abs(away).max() < spacing / 2
        np.testing.assert_allclose(away.mean(axis=(2, 4)), 0, atol=1e-9)
    np.testing.assert_allclose(fine["longitude_of"][0, 0], fine["longitude"] % 360, atol=1e-9)
    np.testing.assert_allclose(
        fine["longitude"].values.reshape(-1, factor).mean(axis=1), coarse["longitude"], atol=1e-9
    )
    for ds in (coarse, fine):
        assert ds.attrs["missing"] == "mask"
        assert (np.diff(ds["longitude"]) > 0).all()


# --- whole coarse cells -------------------------------------------------------------------------


def test_two_regions_are_cut_to_the_cells_of_both():
    # the sizes of Bavaria: the fine grid begins and ends within coarse cells
    coarse = cells(6, 10, north=50.5, west=9.0, spacing=0.5)
    fine = cells(33, 48, north=50.6, west=9.0, spacing=0.1)
    cut = whole_cells(coarse, fine)
    assert [tuple(ds.sizes.values())[1:] for ds in cut] == [(6, 9), (30, 45)]
    check(*cut, 5)


def test_a_fine_grid_that_begins_within_a_coarse_cell():
    # the sizes of Java: half a coarse cell is left over on each side
    coarse = cells(38, 113, north=-5.0, west=105.0, spacing=0.1)
    fine = cells(75, 224, north=-5.05, west=105.05, spacing=0.05)
    cut = whole_cells(coarse, fine)
    assert [tuple(ds.sizes.values())[1:] for ds in cut] == [(37, 111), (74, 222)]
    check(*cut, 2)


@pytest.mark.parametrize("turn", [-360, 0, 360])
@pytest.mark.parametrize("west", [0.0, -20.0, 170.0])
def test_grids_on_different_turns(turn, west):
    coarse = cells(4, 6, north=40, west=west, spacing=10)
    fine = cells(8, 9, north=40, west=west + turn, spacing=5)
    cut = whole_cells(coarse, fine)
    assert [tuple(ds.sizes.values())[1:] for ds in cut] == [(4, 4), (8, 8)]
    np.testing.assert_array_equal(cut[0]["longitude"], coarse["longitude"][:4])
    check(*cut, 2)


@pytest.mark.parametrize("coarse_west", [-180.0, -40.0, 0.0, 20.0])
@pytest.mark.parametrize("fine_west", [-180.0, 0.0, -20.0])
def test_globes_that_start_on_different_sides_of_greenwich(coarse_west, fine_west):
    coarse = cells(4, 9, north=80, west=coarse_west, spacing=40)
    fine = cells(8, 18, north=80, west=fine_west, spacing=20)
    cut = whole_cells(coarse, fine)
    assert [tuple(ds.sizes.values())[1:] for ds in cut] == [(4, 9), (8, 18)]
    check(*cut, 2)


@pytest.mark.parametrize("west", [-30.0, 0.0, 150.0, 330.0])
def test_a_region_of_a_fine_globe_and_of_a_coarse_one(west):
    region = {"north": 40, "west": west}
    cut = whole_cells(
        cells(4, 5, **region, spacing=20), cells(18, 36, north=90, west=0, spacing=10)
    )
    assert [tuple(ds.sizes.values())[1:] for ds in cut] == [(4, 5), (8, 10)]
    check(*cut, 2)
    coarse = cells(9, 18, north=90, west=10, spacing=20)
    cut = whole_cells(coarse, cells(8, 10, north=50, west=west + 10, spacing=10))
    columns = 4 if west else 5  # the coarse cells begin at 10, 30, 50
    assert [tuple(ds.sizes.values())[1:] for ds in cut] == [(4, columns), (8, 2 * columns)]
    check(*cut, 2)


def test_what_fits_is_not_touched():
    coarse = cells(4, 6, north=40, west=10, spacing=10)
    fine = cells(12, 18, north=40, west=10, spacing=10 / 3)
    for before, after in zip((coarse, fine), whole_cells(coarse, fine), strict=True):
        xr.testing.assert_identical(before, after)


def test_coordinates_in_single_precision_meet():
    coarse = cells(38, 113, north=-5.0, west=105.0, spacing=0.1)
    single = {axis: coarse[axis].astype(np.float32) for axis in ("latitude", "longitude")}
    fine = cells(75, 224, north=-5.05, west=105.05, spacing=0.05)
    cut = whole_cells(coarse.assign_coords(single), fine)
    assert [tuple(ds.sizes.values())[1:] for ds in cut] == [(37, 111), (74, 222)]


def test_it_stays_lazy():
    coarse = cells(4, 9, north=80, west=-180, spacing=40).chunk(time=1)
    fine = cells(8, 18, north=80, west=0, spacing=20).chunk(time=1)
    for ds in whole_cells(coarse, fine):
        assert all(field.chunks is not None for field in ds.data_vars.values())


@pytest.mark.parametrize(
    "change",
    [
        {"spacing": 4.0, "rows": 10},
        {"north": 41.7},
        {"west": 11.7},
        {"spacing": 20.0, "rows": 4},
    ],
    ids=["no whole ratio", "shifted rows", "shifted columns", "coarser"],
)
def test_cells_that_do_not_nest_are_refused(change):
    coarse = cells(4, 6, north=40, west=10, spacing=10)
    own = {"rows": 8, "columns": 12, "north": 40, "west": 10, "spacing": 5} | change
    with pytest.raises(ValueError, match=r"divide the coarse cells evenly.*orbitds prepare"):
        whole_cells(coarse, cells(own.pop("rows"), own.pop("columns"), **own))


@pytest.mark.parametrize("away", [{"north": 0}, {"west": 200}])
def test_regions_apart_are_refused(away):
    coarse = cells(4, 6, north=40, west=10, spacing=10)
    fine = cells(8, 12, **({"north": 40, "west": 10, "spacing": 5} | away))
    with pytest.raises(ValueError, match=r"at least 2 x 2 whole coarse cells, got .*one region"):
        whole_cells(coarse, fine)


# --- a part of the globe ------------------------------------------------------------------------


def regions(north, south, west, east):
    return RegionEntry(north=north, south=south, west=west, east=east)


@pytest.mark.parametrize(
    ("edges", "shape", "first"),
    [
        ((60, -20, 0, 80), (4, 4), (50, 10)),
        ((61, -33, -1, 95), (4, 4), (50, 10)),  # cells that are cut stay out
        ((60, -20, -40, 60), (4, 5), (50, -30)),
        ((60, -20, 160, -160), (4, 2), (50, 170)),
        ((60, -20, 320, 400 - 360), (4, 4), (50, 330)),
        ((90, -90, -180, 180), (8, 18), (70, 10)),
    ],
)
def test_a_region_holds_the_cells_that_lie_wholly_inside(edges, shape, first):
    coarse = cells(8, 18, north=80, west=0, spacing=20)
    fine = cells(16, 36, north=80, west=0, spacing=10)
    cut = in_region(coarse, fine, regions(*edges))
    assert tuple(cut[0].sizes.values())[1:] == shape
    assert cut[0]["latitude"].values[0] == first[0]
    assert cut[0]["longitude"].values[0] % 360 == first[1] % 360
    check(*cut, 2)


def test_regions_side_by_side_share_no_cell_and_leave_none_out():
    coarse = cells(3, 7, north=50, west=-124, spacing=8)
    fine = cells(12, 28, north=50, west=-124, spacing=2)
    west, east = (
        in_region(coarse, fine, regions(90, -90, *edges))[1] for edges in ((-180, -92), (-92, 0))
    )
    both = np.concatenate([west["longitude"], east["longitude"]])
    np.testing.assert_allclose(both, fine["longitude"])


def test_an_empty_region_is_refused():
    coarse = cells(8, 18, north=80, west=0, spacing=20)
    fine = cells(16, 36, north=80, west=0, spacing=10)
    with pytest.raises(ValueError, match=r"at least 2 x 2 whole coarse cells, got 1 x 2 of 8 x 18"):
        in_region(coarse, fine, regions(40, 10, 0, 59))


# --- blocks -------------------------------------------------------------------------------------


def test_blocks_are_cut_from_the_north_west():
    ds = cells(11, 17, north=50, west=-125, spacing=1)
    cut = whole_blocks(ds, 4)
    assert tuple(cut.sizes.values())[1:] == (8, 16)
    np.testing.assert_array_equal(cut["latitude"], ds["latitude"][:8])
    np.testing.assert_array_equal(cut["longitude"], ds["longitude"][:16])
    with pytest.raises(ValueError, match=r"at least 2 x 2 blocks of 6 x 6 cells, got 1 x 2"):
        whole_blocks(ds, 6)


# --- times --------------------------------------------------------------------------------------


def with_times(ds, times):
    return ds.isel(time=np.zeros(len(times), int)).assign_coords(time=times)


def test_common_times_are_kept_in_order():
    ds = cells(2, 2, north=50, west=0, spacing=1)
    coarse = with_times(ds, xr.date_range("2001-03-01", periods=9, freq="MS"))
    fine = with_times(ds, xr.date_range("2001-01-01", periods=5, freq="MS")[::-1])
    for cut in common_times(coarse, fine):
        months = cut["time"].dt.month.values
        np.testing.assert_array_equal(months, [3, 4, 5])


def test_mean_fields_in_any_order_are_sorted():
    ds = cells(2, 2, north=50, west=0, spacing=1)
    months = xr.date_range("2001-01-01", periods=4, freq="MS")
    mixed = with_times(ds, months[[2, 0, 3, 1]]).assign_coords(place=("time", [2, 0, 3, 1]))
    np.testing.assert_array_equal(in_order_of_time(mixed)["place"], [0, 1, 2, 3])
    assert in_order_of_time(ds) is ds


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_common_times_of_model_calendars(calendar):
    ds = cells(2, 2, north=50, west=0, spacing=1)
    days = xr.date_range("3000-02-25", periods=10, calendar=calendar, use_cftime=True)
    coarse, fine = common_times(with_times(ds, days[:7]), with_times(ds, days[4:]))
    assert list(coarse.indexes["time"]) == list(days[4:7]) == list(fine.indexes["time"])


@pytest.mark.parametrize(
    ("first", "kind"),
    [("2011-01-01", {}), ("2001-01-01", {"calendar": "noleap", "use_cftime": True})],
)
def test_no_common_time_is_refused(first, kind):
    ds = cells(2, 2, north=50, west=0, spacing=1)
    other = with_times(ds, xr.date_range(first, periods=3, freq="MS", **kind))
    calendar = kind.get("calendar", "proleptic_gregorian")
    message = rf"common times .*none: coarse 2001-01.*gregorian.*, fine {first}.*\(3, .*{calendar}"
    with pytest.raises(ValueError, match=message):
        common_times(ds, other)


# --- columns ------------------------------------------------------------------------------------


@pytest.mark.parametrize("west", [-180.0, -60.0, 0.0, 60.0])
def test_a_globe_starts_with_the_first_coarse_cell(west):
    coarse = Grid.of(cells(3, 3, north=90, west=west, spacing=120))
    fine = cells(6, 12, north=90, west=0, spacing=30)
    turned = start_with(fine, coarse)
    assert (turned["longitude"].values[0] - (west + 15)) % 360 == 0
    np.testing.assert_array_equal(turned["longitude_of"][0, 0], turned["longitude"] % 360)


def test_a_region_stays_where_it_starts():
    coarse = Grid.of(cells(3, 2, north=90, west=-60, spacing=60))
    fine = cells(6, 4, north=90, west=-60, spacing=30)
    assert start_with(fine, coarse) is fine
