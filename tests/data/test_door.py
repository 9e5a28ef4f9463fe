"""The door: what comes in under which names, units and calendars, and what is refused."""

import re

import dask.array
import numpy as np
import pytest
import xarray as xr

from orbitds.data.door import enter
from orbitds.data.values import check_values

WIND, RAIN, WARMTH = "eastward_wind", "total_precipitation_24hr", "2m_temperature"
SHAPE = (3, 4, 5)


def dataset(name="uas", units: object = "m s-1", *, values=None, time=None, dims=None):
    """A caller's dataset of 3 times, 4 rows and 5 columns under CMIP's names."""
    if values is None:
        values = np.random.default_rng(1).normal(0, 10, SHAPE).astype(np.float32)
    time = np.array(["2001-01-31", "2001-02-01", "2001-02-02"], "M8[ns]") if time is None else time
    attributes = {} if units is None else {"units": units}
    return xr.Dataset(
        {name: (dims or ("time", "lat", "lon"), values, attributes)},
        coords={"time": time, "lat": 45 - 10.0 * np.arange(4), "lon": 20 + 10.0 * np.arange(5)},
    )


def untouchable(shape=SHAPE):
    """A lazy field that must not be computed."""

    def read(block):
        raise AssertionError("the door computed a lazy field")

    zeros = dask.array.zeros(shape, chunks=(1, *shape[1:]), dtype=np.float32)
    return zeros.map_blocks(read, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32))


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "attributes"),
    [
        ({}, {}),
        ({"lat": "latitude", "lon": "longitude", "time": "valid_time"}, {}),
        ({"lat": "nav_lat", "lon": "nav_lon"}, {"standard_name": ("latitude", "longitude")}),
        ({"lat": "y", "lon": "x"}, {"units": ("degrees_north", "degrees_east")}),
    ],
)
def test_axes_are_found_by_attributes_and_by_name(names, attributes):
    ds = dataset().rename(names)
    for key, values in attributes.items():
        for ours, value in zip(("lat", "lon"), values, strict=True):
            ds[names[ours]].attrs[key] = value
    seen = enter(ds, [WIND]).ds
    assert seen[WIND].dims == ("time", "latitude", "longitude")
    np.testing.assert_array_equal(seen[WIND], dataset()["uas"])
    assert dict(seen.sizes) == {"time": 3, "latitude": 4, "longitude": 5}


def test_time_is_found_by_its_attribute():
    ds = dataset().rename(time="t")
    ds["t"].attrs["standard_name"] = "time"
    np.testing.assert_array_equal(enter(ds, [WIND]).ds["time"], dataset()["time"])


@pytest.mark.parametrize("name", ["eastward_wind", "u", "uwnd", "UWND", "uas"])
def test_variables_are_found_by_their_usual_names(name):
    np.testing.assert_array_equal(enter(dataset(name), [WIND]).ds[WIND], dataset(name)[name])


def test_variables_come_in_the_order_that_was_asked_for():
    ds = dataset().assign(tp=dataset("tp", "mm")["tp"])
    for names in ([WIND, RAIN], [RAIN, WIND]):
        assert list(enter(ds, [*names, names[0]]).ds.data_vars) == names


def test_auxiliary_times_do_not_compete_with_the_axis():
    ds = dataset().assign_coords(valid_time=("time", np.arange(3)), step=0)
    np.testing.assert_array_equal(enter(ds, [WIND]).ds["time"], ds["time"])


def test_the_callers_dataset_stays_as_it_is():
    ds = dataset("tas", "degC", values=np.full(SHAPE, 10.0)).isel(lat=slice(None, None, -1))
    ds["time"].attrs["bounds"] = "time_bnds"
    before = ds.copy(deep=True)
    enter(ds, [WARMTH])
    xr.testing.assert_identical(ds, before)


def test_global_attributes_come_along():
    attributes = enter(dataset().assign_attrs(title="winds"), [WIND], missing="mask").ds.attrs
    assert attributes == {"title": "winds", "missing": "mask"}


# --- time ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard"])
@pytest.mark.parametrize("year", [2000, 3000])
def test_calendars_pass_unchanged(calendar, year):
    time = xr.date_range(f"{year:04d}-01-30", periods=3, freq="D", calendar=calendar)
    seen = enter(dataset(time=time), [WIND]).ds
    assert seen.indexes["time"].equals(dataset(time=time).indexes["time"])
    assert (seen["time"].dt.year == year).all()
    # a month of 360_day ends on the 30th
    months = [1, 2, 2] if calendar == "360_day" else [1, 1, 2]
    assert seen["time"].dt.month.values.tolist() == months


def test_one_time_step_keeps_its_axis():
    ds = dataset().isel(time=[1])
    seen = enter(ds, [WIND]).ds
    assert seen[WIND].shape == (1, 4, 5)
    np.testing.assert_array_equal(seen["time"], ds["time"])


@pytest.mark.parametrize("name", ["time", "valid_time"])
def test_a_map_keeps_the_time_it_carries(name):
    ds = dataset().isel(time=1).rename(time=name)
    entered = enter(ds, [WIND])
    assert entered.ds[WIND].shape == (1, 4, 5)
    assert entered.ds["time"].values == np.datetime64("2001-02-01")
    assert "time" not in entered.layout.names


def test_a_map_without_time_is_one_step():
    ds = dataset().isel(time=0, drop=True)
    seen = enter(ds, [WIND]).ds
    np.testing.assert_array_equal(seen[WIND], ds["uas"].values[None])


def test_a_map_beside_fields_that_have_a_time_is_one_step():
    ds = dataset().isel(time=0, drop=True).assign(tp=dataset("tp", "mm")["tp"])
    entered = enter(ds, [WIND])
    assert entered.ds[WIND].shape == (1, 4, 5)
    assert entered.layout.order == ("latitude", "longitude")
    assert enter(ds, [RAIN]).ds[RAIN].shape == SHAPE


def test_static_fields_have_no_time():
    ds = dataset("orog", "m").isel(time=0)
    assert enter(ds, ["orography"]).ds["orography"].dims == ("latitude", "longitude")
    with pytest.raises(ValueError, match=r"orography.*further dimension 'time' of size 3.*isel"):
        enter(dataset("orog", "m"), ["orography"])


# --- units --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "units", "convert"),
    [
        ("tas", "degC", lambda x: x + 273.15),
        ("tas", "celsius", lambda x: x + 273.15),
        ("tas", "degF", lambda x: (x - 32) / 1.8 + 273.15),
        ("tas", "K", lambda x: x),
        ("tas", "kelvin", lambda x: x),
        ("tp", "m", lambda x: 1000 * x),
        ("tp", "cm", lambda x: 10 * x),
        ("uas", "m/s", lambda x: x),
        ("uas", "km h-1", lambda x: x / 3.6),
        ("sftlf", "%", lambda x: x / 100),
        ("sftlf", 1, lambda x: x),
    ],
)
def test_units_become_those_of_the_vocabulary(name, units, convert):
    ours = {"tas": WARMTH, "tp": RAIN, "uas": WIND, "sftlf": "land_sea_mask"}[name]
    ds = dataset(name, units)
    if name == "sftlf":
        ds = ds.isel(time=0, drop=True)
    seen = enter(ds, [ours]).ds[ours]
    wanted = {"tas": "K", "tp": "mm", "uas": "m s-1", "sftlf": "1"}[name]
    assert seen.attrs["units"] == wanted
    assert seen.dtype == np.float32
    expected = np.broadcast_to(convert(ds[name].values.astype(np.float64)), seen.shape)
    np.testing.assert_allclose(seen, expected, rtol=1e-6, atol=1e-5)


def test_whole_degrees_keep_the_digits_of_the_conversion():
    values = np.arange(60, dtype=np.int16).reshape(SHAPE)
    seen = enter(dataset("tas", "degC", values=values), [WARMTH]).ds[WARMTH]
    np.testing.assert_allclose(seen, values + 273.15, rtol=1e-7)


def test_double_precision_stays():
    values = np.random.default_rng(0).normal(10, 5, SHAPE)
    seen = enter(dataset("tas", "degC", values=values), [WARMTH]).ds[WARMTH]
    np.testing.assert_allclose(seen, values + 273.15, rtol=1e-15)


def test_nothing_is_computed_at_the_door():
    values = untouchable().transpose(2, 0, 1)
    ds = dataset("tas", "degC", values=values, dims=("lon", "time", "lat"))
    ds = ds.isel(lat=slice(None, None, -1))
    seen = enter(ds, [WARMTH]).ds[WARMTH]
    assert seen.shape == SHAPE
    assert seen.chunks is not None
    with pytest.raises(AssertionError, match="computed a lazy field"):
        seen.compute()


def test_a_lazy_field_equals_an_eager_one():
    ds = dataset("tas", "degC")
    expected = enter(ds, [WARMTH]).ds
    xr.testing.assert_identical(enter(ds.chunk(time=1), [WARMTH]).ds.compute(), expected)


def test_a_missing_unit_is_asked_for():
    with pytest.raises(ValueError, match=r"no `units`.*ds\['tas'\]\.attrs\['units'\] = 'K'"):
        enter(dataset("tas", None), [WARMTH])


@pytest.mark.parametrize(
    "units",
    # of another kind, unknown, empty, and what a parser trips over
    ["m", "mm day-1", "furlongs per fortnight squared", "", "(0 - 1)", "(", "m**", "@@@", {}],
)
def test_other_units_are_refused(units):
    with pytest.raises(ValueError, match=r"2m_temperature in 'K'.*got.*Correct the `units`"):
        enter(dataset("tas", units), [WARMTH])


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "is_near"),
    # like the name, like an alias, like none, like an alias but known to be another variable
    [("estward_wind", True), ("uast", True), ("q", False), ("vas", False)],
)
def test_an_absent_variable_names_its_nearest(wrong, is_near):
    hint = f" Did you mean {wrong!r}?" if is_near else ""
    told = rf"'eastward_wind' .*also known as.*with \['{wrong}'\]\.{re.escape(hint)} Rename"
    with pytest.raises(ValueError, match=told):
        enter(dataset(wrong), [WIND])


def test_a_word_outside_the_vocabulary_names_its_nearest():
    with pytest.raises(KeyError, match=r"Did you mean 'eastward_wind'"):
        enter(dataset(), ["eastwardwind"])


def test_two_variables_of_one_meaning_are_refused():
    ds = dataset().assign(uwnd=dataset("uwnd")["uwnd"])
    with pytest.raises(ValueError, match=r"one variable for eastward_wind.*uwnd.*uas.*rename"):
        enter(ds, [WIND])


@pytest.mark.parametrize("name", ["lat", "latitude"])
def test_two_axes_of_one_meaning_are_refused(name):
    ds = dataset()
    ds["rows"] = ("rows", [1.0, 2.0], {"standard_name": "latitude"})
    ds = ds.rename(lat=name)
    ds[name].attrs["standard_name"] = "latitude"
    with pytest.raises(ValueError, match=r"one latitude axis.*drop_vars"):
        enter(ds, [WIND])


@pytest.mark.parametrize("names", [("lat", "lon"), ("nav_lat", "nav_lon")])
def test_a_curvilinear_grid_is_refused(names):
    ds = dataset().drop_vars(["lat", "lon"]).rename(lat="y", lon="x")
    plane = np.zeros((4, 5))
    for name, axis in zip(names, ("latitude", "longitude"), strict=True):
        ds = ds.assign_coords({name: (("y", "x"), plane, {"standard_name": axis})})
    with pytest.raises(ValueError, match=rf"{names[0]}.*curvilinear.*Regrid"):
        enter(ds, [WIND])


def test_a_curvilinear_grid_without_attributes_is_refused():
    ds = dataset().drop_vars(["lat", "lon"]).rename(lat="y", lon="x")
    ds = ds.assign_coords(lat=(("y", "x"), np.zeros((4, 5))), lon=(("y", "x"), np.zeros((4, 5))))
    with pytest.raises(ValueError, match=r"curvilinear.*Regrid"):
        enter(ds, [WIND])


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: ds.drop_vars("lat"),
        lambda ds: ds.isel(lat=0),
        lambda ds: ds.rename_dims(lat="y"),
        lambda ds: ds.rename(lat="row"),
    ],
    ids=["no coordinate", "scalar", "another dimension", "unknown name"],
)
def test_an_absent_axis_is_refused(change):
    with pytest.raises(ValueError, match=r"a latitude axis.*got the coordinates.*standard_name"):
        enter(change(dataset()), [WIND])


def test_a_single_row_is_refused():
    with pytest.raises(ValueError, match=r"at least two cells along latitude, got 1"):
        enter(dataset().isel(lat=[0]), [WIND])


def test_a_further_dimension_is_refused():
    ds = dataset().expand_dims(member=7)
    with pytest.raises(ValueError, match=r"dimension 'member' of size 7.*isel\(member=0\)"):
        enter(ds, [WIND])


def test_a_zonal_mean_is_refused():
    ds = dataset().assign(uas=dataset()["uas"].mean("lon", keep_attrs=True))
    with pytest.raises(ValueError, match=r"on latitude and longitude.*without \['lon'\]"):
        enter(ds, [WIND])


@pytest.mark.parametrize("axis", ["lat", "lon"])
@pytest.mark.parametrize("strange", [0.7, np.nan, 10.0], ids=["shifted", "missing", "twice"])
def test_cells_of_unequal_size_are_refused(axis, strange):
    ds = dataset()
    values = ds[axis].values.copy()
    values[1] = values[0] + (0 if strange == 10 else strange)
    with pytest.raises(ValueError, match=r"uniform (latitude|longitude) axis.*Regrid"):
        enter(ds.assign_coords({axis: values}), [WIND])


def test_coordinates_in_single_precision_are_uniform_enough():
    ds = dataset().isel(lon=slice(0, 4))
    ds = ds.assign_coords(lon=np.float32(355 + np.arange(4) / 3), lat=np.float32(np.arange(4) / 7))
    assert enter(ds, [WIND]).ds.sizes["longitude"] == 4


# --- values -------------------------------------------------------------------------------------


def test_plausible_values_pass_up_to_their_bounds():
    check_values(WARMTH, np.array([170.0, 288.0, 340.0]))
    check_values(RAIN, np.array([[0.0, 2000.0]], dtype=np.float32))


def test_missing_values_are_counted_unless_they_are_a_mask():
    values = np.array([[280.0, np.nan], [np.nan, 281.0]])
    with pytest.raises(ValueError, match=r"without missing values, got NaN in 2 of 4.*missing: m"):
        check_values(WARMTH, values)
    check_values(WARMTH, values, missing="mask")


@pytest.mark.parametrize(
    ("value", "told"), [(np.inf, "to inf"), (-np.inf, "-inf to"), (15.0, "15 to"), (1e20, "1e.20")]
)
@pytest.mark.parametrize("missing", ["error", "mask"])
def test_implausible_values_are_told_with_their_extremes(value, told, missing):
    values = np.array([[280.0, value], [value, 281.0]], dtype=np.float32)
    with pytest.raises(ValueError, match=rf"170 and 340 K.*{told}.*in 2 of 4 cells.*unit"):
        check_values(WARMTH, values, missing=missing)


def test_a_mask_does_not_hide_implausible_values():
    with pytest.raises(ValueError, match=r"-999 to 281, outside in 1 of 3"):
        check_values(WARMTH, np.array([np.nan, -999.0, 281.0]), missing="mask")
