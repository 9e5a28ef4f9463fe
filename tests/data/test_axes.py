"""Axes: found by attributes and names, refused where two are alike or they are no degrees."""

import cftime
import numpy as np
import pytest
import xarray as xr

from orbitds.data.axes import find_axis, is_dates, require_axis


def dataset(latitude=None, longitude=None, names=("lat", "lon"), attributes=({}, {})):
    latitude = 45 - 10.0 * np.arange(4) if latitude is None else latitude
    longitude = 20 + 10.0 * np.arange(5) if longitude is None else longitude
    return xr.Dataset(
        {"uas": (names, np.zeros((len(latitude), len(longitude))))},
        coords={
            names[0]: (names[0], latitude, attributes[0]),
            names[1]: (names[1], longitude, attributes[1]),
        },
    )


@pytest.mark.parametrize(
    ("names", "attributes"),
    [
        (("lat", "lon"), ({}, {})),
        (("LAT", "Longitude"), ({}, {})),
        (("row", "column"), ({"standard_name": "latitude"}, {"standard_name": "longitude"})),
        (("row", "column"), ({"units": "degrees_north"}, {"units": "degrees_east"})),
        (("y", "x"), ({"axis": "Y"}, {"axis": "X"})),
        (("y", "x"), ({"axis": "Y", "units": "degrees"}, {"axis": "X", "units": "degrees"})),
    ],
)
def test_horizontal_axes_are_found(names, attributes):
    ds = dataset(names=names, attributes=attributes)
    found = tuple(require_axis(ds, axis) for axis in ("latitude", "longitude"))
    assert found == names


def test_attributes_come_before_names():
    ds = dataset(attributes=({"standard_name": "latitude"}, {}))
    ds = ds.assign_coords(latitude=("latitude", [1.0, 2.0]))
    assert find_axis(ds, "latitude") == "lat"


@pytest.mark.parametrize(
    "attributes",
    [
        {"axis": "Y", "standard_name": "projection_y_coordinate", "units": "m"},
        {"axis": "Y", "standard_name": "grid_latitude", "units": "degrees"},
        {"axis": "Y", "units": "km"},
    ],
)
def test_projections_and_rotated_poles_are_no_latitudes(attributes):
    ds = dataset(names=("y", "lon"), attributes=(attributes, {}))
    with pytest.raises(ValueError, match=r"Wanted a latitude axis.*got the coordinates \['y'"):
        require_axis(ds, "latitude")


def test_a_curvilinear_grid_under_another_name_is_told():
    ds = dataset(names=("y", "x")).drop_vars(["y", "x"])
    ds = ds.assign_coords(nav_lat=(("y", "x"), np.zeros((4, 5))))
    with pytest.raises(ValueError, match=r"'nav_lat' on \('y', 'x'\), a curvilinear grid"):
        require_axis(ds, "latitude")


@pytest.mark.parametrize(
    ("latitude", "attributes"),
    [
        ([0.1, 0.2, 0.3], {"units": "radians"}),
        ([6.1e6, 6.2e6, 6.3e6], {}),
        ([90.0, 91.0], {}),
    ],
)
def test_what_is_no_latitude_in_degrees_is_refused(latitude, attributes):
    ds = dataset(latitude, attributes=(attributes, {}))
    with pytest.raises(ValueError, match=r"Wanted latitude in degrees, got 'lat' from .*Convert"):
        require_axis(ds, "latitude")


def test_text_is_no_coordinate():
    with pytest.raises(ValueError, match=r"Wanted latitude in degrees, got 'lat' of type <U1"):
        require_axis(dataset(np.array(["a", "b"])), "latitude")


@pytest.mark.parametrize("first", [0, -180])
def test_a_column_that_stands_twice_is_refused(first):
    longitude = first + np.arange(0, 361, 10.0)
    with pytest.raises(
        ValueError, match=r"round the globe once.*37 columns of 10.*slice\(None, -1"
    ):
        require_axis(dataset(longitude=longitude), "longitude")
    assert require_axis(dataset(longitude=longitude[:-1]), "longitude") == "lon"


@pytest.mark.parametrize(
    "longitude", [[170, 175, 180, -175], [350, 355, 0, 5], [10.0, 5.0, 0.0, -5.0]]
)
def test_longitudes_may_jump_and_fall(longitude):
    assert require_axis(dataset(longitude=np.array(longitude)), "longitude") == "lon"


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day", "julian"])
def test_time_is_found_by_its_dates(calendar):
    time = xr.date_range("3000-01-30", periods=3, calendar=calendar, use_cftime=True)
    ds = dataset().expand_dims(stamp=time)
    assert find_axis(ds, "time") == "stamp"
    assert is_dates(ds["stamp"])


def test_numbers_and_text_are_no_dates():
    assert not is_dates(xr.DataArray(np.arange(3)))
    assert not is_dates(xr.DataArray(np.array(["2001", "2002"], dtype=object)))
    assert is_dates(xr.DataArray(np.array([cftime.DatetimeNoLeap(1, 1, 1)])))
