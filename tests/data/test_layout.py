"""Whatever the caller's layout, the model sees one field, and the answer comes back as it was."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitds.data.axes import DIMENSIONS
from orbitds.data.door import enter
from orbitds.grid import Grid

WIND = "eastward_wind"
NAMES = {
    "plain": {},
    "short": {"latitude": "lat", "longitude": "lon"},
    # NEMO's names, told by their CF attributes
    "odd": {"latitude": "nav_lat", "longitude": "nav_lon", "time": "time_counter"},
    "new": {"time": "valid_time"},
}
CF = {
    "latitude": {"standard_name": "latitude", "units": "degrees_north"},
    "longitude": {"standard_name": "longitude", "units": "degrees_east"},
    "time": {"standard_name": "time"},
}


def canonical(latitude, longitude, times=2):
    """A field with one value a cell, rows from north to south, columns from west to east."""
    shape = (times, len(latitude), len(longitude))
    values = np.random.default_rng(5).normal(0, 10, shape).astype(np.float32)
    coords = {
        "time": np.datetime64("2001-01-01", "ns") + 31 * np.arange(times).astype("m8[D]"),
        "latitude": np.asarray(latitude, dtype=float),
        "longitude": np.asarray(longitude, dtype=float),
    }
    ds = xr.Dataset({WIND: (DIMENSIONS, values, {"units": "m s-1"})}, coords=coords)
    for axis, attributes in CF.items():
        ds[axis].attrs.update(attributes)
    return ds.assign_coords(height=2.0, season=("time", np.arange(times)))


def as_laid_out(
    ds, *, names="plain", order=DIMENSIONS, north_up=True, turned=False, roll=0, within=None
):
    """The same field as a caller might have it.

    ``turned`` runs from east to west; ``within`` names the range of longitudes, 0 or -180 onward.
    """
    ds = ds.isel(
        latitude=slice(None, None, 1 if north_up else -1),
        longitude=np.roll(np.arange(ds.sizes["longitude"]), roll)[:: -1 if turned else 1],
    )
    if within is not None:
        longitude = (ds["longitude"].values - within) % 360 + within
        ds = ds.assign_coords(longitude=("longitude", longitude, ds["longitude"].attrs))
    if "time" not in order:
        ds = ds.isel(time=0)
    if names == "short":
        ds = ds.copy()
        for axis in ("latitude", "longitude"):
            ds[axis].attrs.clear()
    return ds.transpose(*order).rename(
        {ours: theirs for ours, theirs in NAMES[names].items() if ours in ds.dims}
    )


@st.composite
def fields(draw):
    """A canonical field, global or not, of unequal sizes."""
    rows, columns = draw(st.integers(2, 5)), draw(st.integers(3, 7))
    if draw(st.booleans()):
        first = draw(st.sampled_from([0.0, 0.3, 0.5])) * 360 / columns
        latitude = 90 - (np.arange(rows) + 0.5) * 180 / rows
        return canonical(latitude, first + np.arange(columns) * 360 / columns)
    # across Greenwich, the date line, 360, across none of them, and a turn away
    west = draw(st.sampled_from([-22.5, -170.0, 155.0, 345.0, 20.0, -190.0, 700.0]))
    north = draw(st.sampled_from([85.0, 50.0, -10.0]))
    return canonical(north - 10 * np.arange(rows), west + 7.5 * np.arange(columns))


@st.composite
def layouts(draw):
    """A canonical field, and the same as a caller has it."""
    ds = draw(fields())
    order = draw(st.permutations(DIMENSIONS))
    if draw(st.booleans()):
        order = [dim for dim in order if dim != "time"]
    is_global = Grid.of(ds).periodic
    return ds, as_laid_out(
        ds,
        names=draw(st.sampled_from(sorted(NAMES))),
        order=order,
        north_up=draw(st.booleans()),
        turned=draw(st.booleans()),
        roll=draw(st.integers(0, ds.sizes["longitude"] - 1)) if is_global else 0,
        within=draw(st.sampled_from([None, 0, -180])),
    )


def refined(coarse, factor, placement="around"):
    """A canonical fine dataset: block means as the coarse one, each cell knows where it lies."""
    grid = Grid.of(coarse).refine(factor, placement)
    fine = np.repeat(np.repeat(coarse[WIND].values, factor, axis=1), factor, axis=2)
    rows, columns = np.indices(fine.shape[1:]) % factor
    inner = (rows * factor + columns) - (factor**2 - 1) / 2  # adds up to zero in each block
    latitude, longitude = np.meshgrid(grid.latitude_deg, grid.longitude_deg, indexing="ij")
    horizontal = DIMENSIONS[1:]
    return xr.Dataset(
        {
            WIND: (DIMENSIONS, fine + inner),
            "north": (DIMENSIONS, np.broadcast_to(latitude, fine.shape)),
            "east": (DIMENSIONS, np.broadcast_to(longitude, fine.shape)),
        },
        coords={
            "time": coarse["time"],
            "latitude": (horizontal[0], grid.latitude_deg, {"bounds": "latitude_bnds"}),
            "longitude": (horizontal[1], grid.longitude_deg, {"bounds": "longitude_bnds"}),
            "latitude_bnds": ((horizontal[0], "bnds"), grid.latitude_bounds_deg),
            "longitude_bnds": ((horizontal[1], "bnds"), grid.longitude_bounds_deg),
        },
    )


def turn(degrees):
    """Difference of longitudes, whole turns aside."""
    return (np.asarray(degrees) + 180) % 360 - 180


def check_restored(ds, factor):
    """Every fine cell lies under its parent, where its coordinates and its bounds say."""
    entered = enter(ds, [WIND])
    fine = entered.layout.restore(refined(entered.ds, factor), factor)
    names = {axis: entered.layout.names[axis] for axis in DIMENSIONS[1:]}

    assert fine[WIND].dims == ds[WIND].dims
    assert set(fine.coords) == set(ds.coords) | {f"{name}_bnds" for name in names.values()}
    for name in set(ds.coords) - set(names.values()):
        xr.testing.assert_identical(fine[name].variable, ds[name].variable)

    blocks = fine[WIND].coarsen(dict.fromkeys(names.values(), factor)).mean()
    np.testing.assert_allclose(blocks.values, ds[WIND].values, rtol=1e-6, atol=1e-5)
    axes = {axis: fine[name] for axis, name in names.items()}
    north, east = fine["north"] - axes["latitude"], turn(fine["east"] - axes["longitude"])
    np.testing.assert_allclose(north, 0, atol=1e-9)
    np.testing.assert_allclose(east, 0, atol=1e-9)

    for axis, name in names.items():
        parents = np.repeat(ds[name].values, factor)
        offsets = turn(axes[axis].values - parents).reshape(-1, factor)
        np.testing.assert_allclose(offsets.mean(axis=1), 0, atol=1e-9)
        bounds = fine[axes[axis].attrs["bounds"]]
        assert bounds.dims == (name, "bnds")
        np.testing.assert_allclose(turn(bounds[1:, 0].values - bounds[:-1, 1].values), 0, atol=1e-9)
        np.testing.assert_allclose(bounds.mean("bnds"), axes[axis], atol=1e-9)
        size = abs(float(turn(ds[name][1] - ds[name][0]))) / factor
        np.testing.assert_allclose(np.abs(np.diff(bounds, axis=1)), size, atol=1e-9)
    assert np.abs(fine[axes["latitude"].attrs["bounds"]]).max() <= 90


@settings(deadline=None, max_examples=40)
@given(layouts())
def test_the_model_sees_the_same_field_whatever_the_layout(case):
    expected, ds = case
    seen = enter(ds, [WIND]).ds
    assert seen[WIND].dims == DIMENSIONS
    steps = seen.sizes["time"]
    np.testing.assert_array_equal(seen[WIND], expected[WIND][:steps])
    np.testing.assert_array_equal(seen["time"], expected["time"][:steps])
    np.testing.assert_allclose(seen["latitude"], expected["latitude"], atol=1e-9)
    longitude = seen["longitude"].values
    np.testing.assert_allclose(turn(longitude - expected["longitude"].values), 0, atol=1e-9)
    assert (np.diff(longitude) > 0).all()
    assert -180 <= longitude[0] < 360


@settings(deadline=None, max_examples=40)
@given(layouts(), st.integers(2, 4))
def test_children_lie_under_their_parents_whatever_the_layout(case, factor):
    check_restored(case[1], factor)


@pytest.mark.parametrize("north_up", [True, False])
@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.parametrize(("north", "step"), [(40.0, 10.0), (70.0, 20.0)])
def test_children_northeast_of_their_parents_whatever_the_layout(north, step, north_up, turned):
    ds = canonical(north - step * np.arange(4), 5 + 10.0 * np.arange(5))
    laid_out = as_laid_out(ds, north_up=north_up, turned=turned, within=-180)
    entered = enter(laid_out, [WIND])
    fine = entered.layout.restore(refined(entered.ds, 3, "northeast"), 3, "northeast")
    names = entered.layout.names
    latitude, longitude = fine[names["latitude"]], fine[names["longitude"]]
    np.testing.assert_allclose(fine["north"] - latitude, 0, atol=1e-9)
    np.testing.assert_allclose(turn(fine["east"] - longitude), 0, atol=1e-9)
    for axis, size in ((latitude, step), (longitude, 10.0)):
        parents = np.repeat(laid_out[axis.name].values, 3)
        offsets = np.sort(turn(axis.values - parents).reshape(-1, 3))
        np.testing.assert_allclose(offsets, [[0, size / 3, 2 * size / 3]] * len(offsets), atol=1e-9)


@pytest.mark.parametrize("rows", [2, 3])
@pytest.mark.parametrize("columns", [2, 5])
def test_few_rows_from_south_to_north_and_columns_from_east_to_west(rows, columns):
    ds = canonical(40 - 10.0 * np.arange(rows), 5 + 10.0 * np.arange(columns))
    check_restored(as_laid_out(ds, north_up=False, turned=True), 3)


@pytest.mark.parametrize(("west", "turned"), [(179.0, False), (152.0, True)])
def test_a_first_cell_across_the_date_line_keeps_its_bounds(west, turned):
    # its children lie on both sides of the jump from 180 to -180
    ds = as_laid_out(canonical([10.0, 0.0], west + 10.0 * np.arange(4)), within=-180, turned=turned)
    assert abs(float(ds["longitude"][1] - ds["longitude"][0])) > 180
    check_restored(ds, 2)


@pytest.mark.parametrize("within", [0, -180])
def test_fine_longitudes_keep_to_the_range_that_jumps(within):
    ds = canonical([10.0, 0.0], np.arange(6) * 60 + 30.0)
    laid_out = as_laid_out(ds, roll=2 if within == 0 else 5, within=within)
    assert (np.diff(laid_out["longitude"]) < 0).any()
    entered = enter(laid_out, [WIND])
    fine = entered.layout.restore(refined(entered.ds, 3), 3)["longitude"]
    assert within <= float(fine.min())
    assert float(fine.max()) < within + 360


def test_rounding_does_not_move_the_first_column():
    longitude = np.arange(8) * 45.0
    seen = [
        enter(canonical([45.0, -45.0], longitude + shift), [WIND]).ds
        for shift in (0.0, -1e-12, 1e-12)
    ]
    for other in seen[1:]:
        np.testing.assert_array_equal(seen[0][WIND], other[WIND])
        np.testing.assert_allclose(seen[0]["longitude"], other["longitude"], atol=1e-9)


def test_time_bounds_come_back_and_horizontal_ones_are_made_anew():
    ds = canonical([10.0, 0.0, -10.0], [0.0, 10.0, 20.0, 30.0]).rename(time="valid_time")
    edges = ds["valid_time"].values[:, None] + np.array([0, 31], dtype="m8[D]")
    ds["valid_time_bounds"] = (("valid_time", "nv"), edges)
    ds["lat_edges"] = (("latitude", "nv"), np.zeros((3, 2)))
    ds["valid_time"].attrs["bounds"] = "valid_time_bounds"
    ds["latitude"].attrs["bounds"] = "lat_edges"
    entered = enter(ds, [WIND])
    assert not any("bounds" in entered.ds[axis].attrs for axis in DIMENSIONS)
    fine = entered.layout.restore(refined(entered.ds, 2), 2)
    np.testing.assert_array_equal(fine["valid_time_bounds"], edges)
    assert fine["valid_time"].attrs["bounds"] == "valid_time_bounds"
    assert fine["latitude"].attrs["bounds"] == "latitude_bnds"
    assert "lat_edges" not in fine.variables


def test_time_does_not_promise_bounds_that_are_not_there():
    ds = canonical([10.0, 0.0], [0.0, 10.0, 20.0])
    ds["time"].attrs["bounds"] = "time_bnds"
    entered = enter(ds, [WIND])
    fine = entered.layout.restore(refined(entered.ds, 2), 2)
    assert fine["time"].attrs == CF["time"]


def test_a_second_time_coordinate_comes_back():
    ds = canonical([10.0, 0.0], [0.0, 10.0, 20.0]).rename(time="valid_time")
    ds = ds.assign_coords(time=np.datetime64("2000-12-31", "ns"))  # of the forecast's start
    entered = enter(ds, [WIND])
    np.testing.assert_array_equal(entered.ds["time"], ds["valid_time"])
    fine = entered.layout.restore(refined(entered.ds, 2), 2)
    assert fine[WIND].dims == ("valid_time", "latitude", "longitude")
    assert fine["time"].values == ds["time"].values


@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        (DIMENSIONS, ("time", "member", "latitude", "longitude")),
        (("longitude", "latitude", "time"), ("longitude", "latitude", "time", "member")),
        (("longitude", "latitude"), ("member", "longitude", "latitude")),
    ],
)
def test_members_come_after_time(order, wanted):
    ds = canonical([10.0, 0.0, -10.0], [0.0, 10.0, 20.0, 30.0])
    if "time" not in order:
        ds = ds.isel(time=0)
    entered = enter(ds.transpose(*order), [WIND])
    fine = refined(entered.ds, 2)
    spread = fine[WIND].rename("spread")
    fine = fine.expand_dims(member=3, axis=1).assign(spread=spread)
    again = entered.layout.restore(fine, 2)
    assert again[WIND].dims == wanted
    assert again["spread"].dims == order
    plain = entered.layout.restore(refined(entered.ds, 2), 2)
    xr.testing.assert_equal(again[WIND].isel(member=1), plain[WIND])


def test_a_coordinate_of_the_name_of_members_is_refused():
    ds = canonical([10.0, 0.0], [0.0, 10.0, 20.0]).assign_coords(member=3)
    entered = enter(ds, [WIND])
    fine = refined(entered.ds, 2)
    assert entered.layout.restore(fine, 2)["member"] == 3
    message = r"'member' for the dimension of members.*Rename it: ds\.rename\(\{'member': 'input_"
    with pytest.raises(ValueError, match=message):
        entered.layout.restore(fine.expand_dims(member=3, axis=1), 2)


def test_neighbours_share_their_edges_to_the_last_bit():
    longitude = np.linspace(-180, 180, 37)[:-1] + 5
    latitude = np.linspace(90, -90, 20)[:-1] - 90 / 19
    ds = canonical(latitude.astype(np.float32), longitude)
    entered = enter(as_laid_out(ds, within=-180), [WIND])
    fine = entered.layout.restore(refined(entered.ds, 7), 7)
    for axis, first, last in (("latitude", 90, -90), ("longitude", 0, 360)):
        edges = fine[f"{axis}_bnds"].values
        if axis == "longitude":
            edges = np.unwrap(edges.reshape(-1), period=360).reshape(-1, 2)
        np.testing.assert_array_equal(edges[1:, 0], edges[:-1, 1])
        np.testing.assert_allclose([edges[-1, 1] - edges[0, 0]], [last - first], atol=1e-4)


def test_cell_methods_have_the_names_of_the_answer():
    ds = canonical([10.0, 0.0], [0.0, 10.0, 20.0])
    ds[WIND].attrs["cell_methods"] = "time: mean (interval: 1 hour) latitude: longitude: mean"
    theirs = ds.rename(time="valid_time", latitude="lat")
    entered = enter(theirs, [WIND])
    fine = refined(entered.ds, 2)
    fine[WIND].attrs["cell_methods"] = ds[WIND].attrs["cell_methods"]
    again = entered.layout.restore(fine, 2)[WIND].attrs["cell_methods"]
    assert again == "valid_time: mean (interval: 1 hour) lat: longitude: mean"
    assert fine[WIND].attrs["cell_methods"] == ds[WIND].attrs["cell_methods"]


def test_what_an_axis_says_of_itself_comes_back_where_it_holds():
    ds = canonical([10.0, 0.0], [0.0, 10.0, 20.0])
    ds["latitude"].attrs |= {
        "long_name": "centre of the row",
        "comment": "mine",
        "valid_max": 10.0,
        "actual_range": [0.0, 10.0],
        "units": "degrees",
    }
    entered = enter(ds, [WIND])
    fine = refined(entered.ds, 2)
    fine["latitude"].attrs |= {"long_name": "latitude", "units": "degrees_north"}
    again = entered.layout.restore(fine, 2)["latitude"].attrs
    assert again == {
        "standard_name": "latitude",
        "long_name": "centre of the row",
        "units": "degrees_north",
        "bounds": "latitude_bnds",
        "comment": "mine",
    }
