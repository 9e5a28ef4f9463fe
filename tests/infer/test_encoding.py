"""How an answer lies on disk: what is written without a word is a good file."""

import warnings

import cftime
import netCDF4
import numpy as np
import pytest
import xarray as xr

from orbitds.infer.encoding import encoded

WIND = "eastward_wind"


def answer(times, bounds=None, rows=4, columns=6):
    """A dataset as inference gives it, before its encoding."""
    latitude, longitude = np.linspace(60, 30, rows), np.linspace(0, 30, columns)
    values = np.arange(len(times) * rows * columns, dtype=np.float32)
    ds = xr.Dataset(
        {WIND: (("time", "latitude", "longitude"), values.reshape(-1, rows, columns))},
        coords={
            "time": times,
            "latitude": latitude,
            "longitude": longitude,
            "latitude_bnds": (("latitude", "bnds"), np.stack([latitude + 5, latitude - 5], -1)),
        },
    )
    if bounds is not None:
        ds = ds.assign_coords(time_bnds=(("time", "bnds"), bounds))
        ds["time"].attrs["bounds"] = "time_bnds"
    return ds


DAYS = np.array(["2001-01-01", "2001-01-02", "2001-01-05"], dtype="datetime64[ns]")


def test_fields_are_compressed_floats_of_one_time_a_chunk(tmp_path):
    encoded(answer(DAYS), "time").to_netcdf(tmp_path / "fine.nc")
    with netCDF4.Dataset(tmp_path / "fine.nc") as file:
        wind = file[WIND]
        assert wind.dtype == np.float32
        assert wind.chunking() == [1, 4, 6]
        assert wind.filters()["zlib"]
        assert wind.filters()["shuffle"]
        assert wind.filters()["complevel"] == 1
        assert np.isnan(wind._FillValue)
        assert file.dimensions["time"].isunlimited()
        assert file["time"].dtype == np.int32
        for name in ("time", "latitude", "longitude", "latitude_bnds"):
            assert "_FillValue" not in file[name].ncattrs()


def test_large_fields_have_several_chunks():
    ds = encoded(answer(DAYS, rows=1441, columns=2), "time")
    assert ds[WIND].encoding["chunksizes"] == (1, 721, 2)


def test_members_are_chunks_of_their_own():
    ds = answer(DAYS).expand_dims(member=5, axis=1)
    assert encoded(ds, "time")[WIND].encoding["chunksizes"] == (1, 1, 4, 6)


def test_the_answer_itself_is_left_alone():
    ds = answer(DAYS)
    ds[WIND].encoding["dtype"] = "float64"
    encoded(ds, "time")
    assert ds[WIND].encoding == {"dtype": "float64"}
    assert ds.encoding == {}


def test_a_part_of_an_answer_is_written_too(tmp_path):
    part = encoded(answer(DAYS), "time").isel(latitude=slice(0, 2), longitude=3, time=[1])
    part.to_netcdf(tmp_path / "part.nc")
    part.to_netcdf(tmp_path / "classic.nc", format="NETCDF3_CLASSIC")
    with xr.open_dataset(tmp_path / "part.nc") as found:
        np.testing.assert_array_equal(found[WIND], part[WIND])


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("is_lazy", [False, True])
def test_zarr_takes_the_encoding_too(tmp_path, zarr_format, is_lazy):
    ds = answer(DAYS, bounds=np.stack([DAYS, DAYS + np.timedelta64(1, "D")], -1))
    ds[WIND][1, 2, 3] = np.nan
    made = encoded(ds.chunk(time=2) if is_lazy else ds, "time")
    path = tmp_path / "fine.zarr"
    made.to_zarr(path, zarr_format=zarr_format, consolidated=False)
    with xr.open_zarr(path, consolidated=False) as found:
        xr.testing.assert_equal(found.compute(), ds)
        assert found["time"].encoding["dtype"] == np.int32
        assert "_FillValue" not in found["latitude"].encoding


# --- dates ---


def written(ds, path, *, use_cftime=None, unit=None):
    """The unit and values of the times in a file, and the dataset read back."""
    encoded(ds, "time").to_netcdf(path)
    with netCDF4.Dataset(path) as file:
        time = file["time"]
        told = time.units, time.calendar, time.dtype, time[:].data.tolist()
    # dates in any year, without the warning that they are not of this age
    coder = xr.coders.CFDatetimeCoder(
        use_cftime=use_cftime, time_unit="ns" if unit is None else unit
    )
    with xr.open_dataset(path, decode_times=coder) as found:
        return told, found.load()


@pytest.mark.parametrize(
    ("first", "step", "units"),
    [
        ("2001-01-01", (1, "D"), "days since 2001-01-01"),
        ("2001-01-01T12:00", (1, "D"), "hours since 2001-01-01"),
        ("2001-01-01T00:30", (1, "h"), "minutes since 2001-01-01"),
        ("2001-01-01", (1, "s"), "seconds since 2001-01-01"),
        ("2001-01-01", (250, "ms"), "microseconds since 2001-01-01"),
        ("2001-01-01", (3, "ns"), "nanoseconds since 2001-01-01"),
    ],
)
def test_dates_are_whole_numbers_without_loss(tmp_path, first, step, units):
    times = np.datetime64(first, "ns") + np.arange(3) * np.timedelta64(*step)
    (found_units, _, dtype, _), found = written(answer(times), tmp_path / "fine.nc")
    assert found_units == units
    assert dtype == np.int32
    np.testing.assert_array_equal(found["time"], times)


@pytest.mark.parametrize(
    ("given", "units"),
    [
        ("hours since 1900-01-01 00:00:0.0", "hours since 1900-01-01"),
        ("days since 1850-01-01", "hours since 1850-01-01"),  # what is half a day
        ("minutes since 1970-01-01T00:00:00Z", "minutes since 1970-01-01"),
        ("seconds since 1990-05-01 06:00", "seconds since 2001-01-01"),  # no midnight
        ("months since 1850-01-01", "hours since 1850-01-01"),
    ],
)
def test_the_reference_of_the_caller_is_kept(tmp_path, given, units):
    ds = answer(DAYS + np.timedelta64(12, "h"))
    ds["time"].encoding = {"units": given, "dtype": np.dtype("float64"), "chunksizes": (512,)}
    (found_units, _, dtype, _), found = written(ds, tmp_path / "fine.nc")
    assert (found_units, dtype) == (units, np.int32)
    xr.testing.assert_equal(found["time"], ds["time"])


@pytest.mark.parametrize(
    ("unit", "first", "kind"),
    [
        ("seconds since 1900-01-01", "2001-01-01T00:00:01", np.float64),  # beyond int32
        ("nanoseconds since 1900-01-01", "2001-01-01T00:00:00.000000001", np.int64),
    ],
)
def test_long_spans_of_small_units_stay_exact(tmp_path, unit, first, kind):
    ds = answer(np.datetime64(first, "ns") + np.arange(3) * np.timedelta64(1, "D"))
    ds["time"].encoding = {"units": unit}
    (found_units, _, dtype, _), found = written(ds, tmp_path / "fine.nc")
    assert (found_units, dtype) == (unit, kind)
    np.testing.assert_array_equal(found["time"], ds["time"])


CALENDARS = ["noleap", "360_day", "julian", "standard", "proleptic_gregorian", "all_leap"]


@pytest.mark.parametrize("calendar", CALENDARS)
@pytest.mark.parametrize("year", [1, 1850, 3000])
def test_calendars_are_kept_in_any_year(tmp_path, calendar, year):
    times = [cftime.datetime(year, 2, day, 6, calendar=calendar) for day in (1, 2, 28)]
    (units, found_calendar, dtype, values), found = written(
        answer(times), tmp_path / "fine.nc", use_cftime=True
    )
    assert units == f"hours since {year:04d}-02-01"
    assert (found_calendar, dtype) == (calendar, np.int32)
    assert values == [6, 30, 654]
    assert list(found["time"].values) == times


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_dates_far_away_in_other_resolutions(tmp_path, unit):
    times = np.array(["3000-01-01", "3000-01-02"], dtype=f"datetime64[{unit}]")
    (units, *_), found = written(answer(times), tmp_path / "fine.nc", unit="us")
    assert units == "days since 3000-01-01"
    np.testing.assert_array_equal(found["time"].values.astype("M8[s]"), times.astype("M8[s]"))


def test_bounds_are_in_the_unit_of_their_time(tmp_path):
    half = np.timedelta64(12, "h")
    ds = answer(DAYS, bounds=np.stack([DAYS - half, DAYS + half], -1))
    (units, *_), found = written(ds, tmp_path / "fine.nc")
    assert units == "hours since 2001-01-01"
    np.testing.assert_array_equal(found["time_bnds"], ds["time_bnds"])
    with netCDF4.Dataset(tmp_path / "fine.nc") as file:
        assert file["time_bnds"].dtype == np.int32
        assert "_FillValue" not in file["time_bnds"].ncattrs()


def test_a_single_time_and_none_at_all(tmp_path):
    one = answer(DAYS).isel(time=1)
    made = encoded(one, None)
    assert made.encoding == {}
    made.to_netcdf(tmp_path / "one.nc")
    with xr.open_dataset(tmp_path / "one.nc") as found:
        assert found["time"] == DAYS[1]
    encoded(one.drop_vars("time"), None).to_netcdf(tmp_path / "none.nc")


def test_dates_that_are_missing_are_left_to_xarray(tmp_path):
    ds = answer(DAYS).assign_coords(seen=("time", np.array(["2001-01-01", "NaT", "NaT"], "M8[ns]")))
    _, found = written(ds, tmp_path / "fine.nc")
    np.testing.assert_array_equal(found["seen"], ds["seen"])


def test_nothing_warns(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        written(answer(DAYS + np.timedelta64(90, "m")), tmp_path / "fine.nc")
