"""Daily values of hourly data against plain loops; the days that ERA5's amounts belong to."""

import numpy as np
import pytest
import xarray as xr

from orbitds.data.daily import Days

DIMS = ("time", "latitude", "longitude")
LATITUDE, LONGITUDE = np.array([10.0, 5, 0]), np.arange(4) * 5.0


def hourly(start="2001-01-30", hours=24 * 5, step=1, calendar="standard", seed=0):
    """Temperature and precipitation as ERA5 has them, in m."""
    rng = np.random.default_rng(seed)
    shape = hours // step, 3, 4
    return xr.Dataset(
        {
            "t2m": (DIMS, rng.normal(280, 9, shape), {"units": "K"}),
            "tp": (DIMS, rng.gamma(0.3, 1e-3, shape), {"units": "m"}),
        },
        coords={
            "time": xr.date_range(
                start, periods=shape[0], freq=f"{step}h", calendar=calendar, use_cftime=None
            ),
            "latitude": LATITUDE,
            "longitude": LONGITUDE,
        },
    )


def text(days):
    return [str(day)[:10] for day in days.times]


def test_precipitation_of_a_day_is_that_of_01_to_00_utc():
    ds = hourly()
    days = Days.of(ds, ["total_precipitation_24hr"])
    # 30 January lacks nothing, but 00 UTC of that day is the last hour of the 29th
    assert text(days) == ["2001-01-30", "2001-01-31", "2001-02-01", "2001-02-02"]
    assert days.left_out == ("2001-01-29", "2001-02-03")
    result = days.read(slice(None))["total_precipitation_24hr"]
    assert result.attrs["units"] == "mm"
    assert result.attrs["cell_methods"] == "time: sum"
    for day, field in zip(days.times, result.values, strict=True):
        wanted = np.zeros((3, 4))
        for hour in range(1, 25):
            wanted += ds["tp"].sel(time=day + np.timedelta64(hour, "h")).values
        np.testing.assert_allclose(field, 1000 * wanted, rtol=1e-12)


def test_amounts_stamped_at_the_start_are_those_of_00_to_23_utc():
    ds = hourly()
    days = Days.of(ds, ["total_precipitation_24hr"], stamp="start")
    assert len(days.times) == 5
    assert days.left_out == ()
    wanted = 1000 * ds["tp"].values[24:48].sum(axis=0)
    np.testing.assert_allclose(
        days.read(slice(1, 2))["total_precipitation_24hr"].values[0], wanted, rtol=1e-12
    )


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("step", [1, 3, 6])
def test_states_have_mean_minimum_and_maximum_of_00_to_23_utc(step, lazy):
    ds = hourly(step=step)
    source = ds.chunk(time=7, latitude=2) if lazy else ds
    names = ["2m_temperature", "2m_temperature_min", "2m_temperature_max"]
    days = Days.of(source, names)
    result = days.read(slice(1, 4))
    assert (result["2m_temperature"].chunks is not None) == lazy
    hours = ds["t2m"].values.reshape(5, 24 // step, 3, 4)[1:4]
    for name, plain in zip(names, (np.mean, np.min, np.max), strict=True):
        np.testing.assert_allclose(result[name].values, plain(hours, axis=1), rtol=1e-12)
        assert result[name].dims == DIMS


def test_a_minimum_of_each_hour_is_preferred_to_the_hours():
    ds = hourly()
    ds["mn2t"] = ds["t2m"] - 1.5
    result = Days.of(ds, ["2m_temperature_min"]).read(slice(None))["2m_temperature_min"]
    hours = ds["t2m"].values.reshape(5, 24, 3, 4)
    np.testing.assert_allclose(result, hours.min(axis=1) - 1.5, rtol=1e-12)


def test_amounts_and_states_have_the_same_days():
    days = Days.of(hourly(), ["2m_temperature", "total_precipitation_24hr"])
    assert text(days) == ["2001-01-30", "2001-01-31", "2001-02-01", "2001-02-02"]
    assert days.left_out == ("2001-01-29", "2001-02-03")
    block = days.read(slice(1, 3))
    assert [str(day)[:10] for day in block["time"].values] == ["2001-01-31", "2001-02-01"]


@pytest.mark.parametrize("lazy", [False, True])
def test_a_day_with_a_missing_hour_is_left_out(lazy):
    ds = hourly()
    short = ds.drop_isel(time=[30, 100])  # on 31 January and 3 February
    if lazy:
        short = short.chunk(time=10)
    days = Days.of(short, ["2m_temperature"])
    assert days.left_out == ("2001-01-31", "2001-02-03")
    hours = ds["t2m"].values.reshape(5, 24, 3, 4)[[0, 2, 3]]
    result = days.read(slice(None))["2m_temperature"]
    np.testing.assert_allclose(result, hours.mean(axis=1), rtol=1e-12)


@pytest.mark.parametrize("name", ["2m_temperature", "2m_temperature_min", "2m_temperature_max"])
def test_a_cell_with_a_missing_hour_is_missing(name):
    ds = hourly()
    ds["t2m"][30, 1, 2] = np.nan
    result = Days.of(ds, [name], missing="mask").read(slice(None))[name]
    assert np.argwhere(np.isnan(result.values)).tolist() == [[1, 1, 2]]
    assert result.dtype == np.float64


@pytest.mark.parametrize(
    ("calendar", "start", "after"),
    [("noleap", "2004-02-28", "2004-03-01"), ("360_day", "3000-02-29", "3000-02-30")],
)
def test_calendars_are_kept(calendar, start, after):
    ds = hourly(start, 72, 6, calendar)
    days = Days.of(ds, ["total_precipitation_24hr", "2m_temperature_max"])
    assert text(days) == [start, after]
    result = days.read(slice(1, 2))
    assert result["time"].dt.calendar == calendar
    np.testing.assert_allclose(
        result["total_precipitation_24hr"][0], 1000 * ds["tp"].values[5:9].sum(axis=0), rtol=1e-12
    )
    np.testing.assert_allclose(result["2m_temperature_max"][0], ds["t2m"].values[4:8].max(axis=0))


def test_a_rate_is_a_mean():
    from orbitds.data.daily import _is_rate, _method

    ds = hourly()
    assert _method(ds, "total_precipitation_24hr") == ("total_precipitation_24hr", "sum")
    ds["tp"].attrs["units"] = "kg m-2 s-1"
    assert _method(ds, "total_precipitation_24hr") == ("total_precipitation_24hr", "mean")
    assert [_is_rate(units) for units in ("mm/day", "m s-1", "mm", "kg m-2", "", "?!")] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda ds: ds.isel(time=slice(None, None, 24)), "got 1 day, 0:00:00.*aggregate: day"),
        (lambda ds: ds.isel(time=slice(0, 1)), "got a single time"),
        (lambda ds: ds.isel(time=slice(3, 9)), "day with all its 24 times, got 6 times"),
        (
            lambda ds: ds.isel(time=[0, 1, 2, 2, 3]),
            "got 1 of 5 times again, the first 2001-01-30 02:00:00",
        ),
        (lambda ds: ds.isel(time=slice(0, 50)).isel(time=slice(None, None, 7)), "got 7:00:00"),
    ],
)
def test_times_that_make_no_days_are_refused(change, told):
    with pytest.raises(ValueError, match=told):
        Days.of(change(hourly()), ["2m_temperature"])
