"""Units: amounts, rates, water and geopotential become those of the vocabulary, or are refused."""

import dask.array
import numpy as np
import pytest
import xarray as xr

from orbitds.data.units import convert
from orbitds.variables import table, variable

DAILY = variable("total_precipitation_24hr")
MONTHLY = next(row for row in table().values() if row.period == "month" and row.units == "mm")
VALUES = np.random.default_rng(1).uniform(0, 9, (3, 2, 5)).astype(np.float32)
CALENDARS = {"standard": [31, 29, 31], "noleap": [31, 28, 31], "360_day": [30, 30, 30]}


def field(units, name="pr", freq="D", calendar="standard", values=VALUES):
    """Return a field of 3 times from January 2004, and its times."""
    use_cftime = None if calendar == "standard" else True
    time = xr.date_range(
        "2004-01-01", periods=3, freq=freq, calendar=calendar, use_cftime=use_cftime
    )
    found = xr.DataArray(
        values, dims=("time", "lat", "lon"), coords={"time": time}, name=name,
        attrs={"units": units, "long_name": "rain"},
    )  # fmt: skip
    return found, found["time"]


@pytest.mark.parametrize(
    ("units", "factor"),
    [
        ("mm", 1),
        ("m", 1000),
        ("cm", 10),
        ("kg m-2", 1),
        ("kg m**-2", 1),
        ("m of water equivalent", 1000),
        ("kg m-2 s-1", 86400),
        ("mm/day", 1),
        ("mm h-1", 24),
        ("m s-1", 86400e3),
        ("kg m-2 day-1", 1),
    ],
)
def test_daily_amounts(units, factor):
    given, time = field(units)
    seen = convert(given, DAILY, time=time)
    assert seen.dims == given.dims
    assert seen.attrs == {"units": "mm", "long_name": "rain"}
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, VALUES.astype(float) * factor, rtol=1e-6)


@pytest.mark.parametrize("calendar", CALENDARS)
@pytest.mark.parametrize(
    ("units", "per_day"),
    [("kg m-2 s-1", 86400), ("mm day-1", 1), ("mm h-1", 24), ("m s-1", 86400e3)],
)
def test_a_months_amount_is_a_rate_times_the_length_of_that_month(units, per_day, calendar):
    given, time = field(units, freq="MS", calendar=calendar)
    seen = convert(given, MONTHLY, time=time)
    days = np.array(CALENDARS[calendar])[:, None, None]
    np.testing.assert_allclose(seen, VALUES.astype(float) * per_day * days, rtol=1e-6)
    assert seen.dims == given.dims


@pytest.mark.parametrize("calendar", CALENDARS)
@pytest.mark.parametrize("units", ["mm month-1", "mm/month", "mm", "kg m-2 month-1"])
def test_a_monthly_amount_stays_what_it_is_whatever_the_month(units, calendar):
    given, time = field(units, freq="MS", calendar=calendar)
    np.testing.assert_allclose(convert(given, MONTHLY, time=time), VALUES, rtol=1e-6)


def test_a_single_map_has_the_length_of_its_month():
    given, time = field("mm day-1", freq="MS")
    seen = convert(given.isel(time=1), MONTHLY, time=time.isel(time=1))
    np.testing.assert_allclose(seen, VALUES[1] * 29, rtol=1e-6)
    with pytest.raises(ValueError, match="Wanted the dates of"):
        convert(given.isel(time=1), MONTHLY)


def test_rates_are_converted_lazily():
    given, time = field("mm day-1", freq="MS", values=dask.array.from_array(VALUES, chunks=1))
    seen = convert(given, MONTHLY, time=time)
    assert seen.chunks is not None
    np.testing.assert_allclose(seen.compute(), convert(given.compute(), MONTHLY, time=time))


@pytest.mark.parametrize("units", ["m", "mm", "kg m-2 s-1", "mm h-1"])
@pytest.mark.parametrize("name", ["tp", DAILY.name])
def test_hourly_amounts_are_none_of_a_day(units, name):
    given, time = field(units, name, freq="h")
    told = rf"summed over a day, got '{name}' in '{units}' every hour.*orbitds prepare"
    with pytest.raises(ValueError, match=told):
        convert(given, DAILY, time=time)


def test_parts_of_a_day_are_amounts_of_their_steps():
    for units, factor in {"mm": 1, "mm h-1": 6, "kg m-2 s-1": 6 * 3600}.items():
        given, time = field(units, freq="6h")
        seen = convert(given, DAILY, time=time, amounts="parts")
        np.testing.assert_allclose(seen, VALUES * factor, rtol=1e-6)
    given, time = field("mm h-1", freq="6h")
    with pytest.raises(ValueError, match="at least two dates"):
        convert(given.isel(time=[0]), DAILY, time=time.isel(time=[0]), amounts="parts")


def test_amounts_at_longer_steps_must_say_what_they_are():
    given, time = field("mm", "tp", freq="MS")
    with pytest.raises(ValueError, match=r"'tp' in 'mm' every month.*mm day-1.*Rename it"):
        convert(given, DAILY, time=time)
    # both remedies work: a mean rate, and days of which others were left out
    for remedied in (given.assign_attrs(units="mm day-1"), given.rename(DAILY.name)):
        np.testing.assert_allclose(convert(remedied, DAILY, time=time), VALUES, rtol=1e-6)


def test_daily_data_are_no_months():
    given, time = field("mm day-1", freq="D")
    with pytest.raises(ValueError, match="summed over a month, got 'pr' in 'mm day-1' every day"):
        convert(given, MONTHLY, time=time)


def test_a_rate_per_month_is_none_of_a_day_and_names_the_variable():
    given, time = field("mm month-1", freq="MS")
    with pytest.raises(ValueError, match=f"got a rate per month.*{MONTHLY.name}"):
        convert(given, DAILY, time=time)


@pytest.mark.parametrize(
    ("units", "near"),
    [
        ("mm month-1 (per repo; converted from mm/hr)", "mm month-1"),
        ("mm/mon", "mm/month"),
        ("mm month-1, gridded", "mm month-1"),
    ],
)
def test_what_is_no_unit_is_refused_and_its_nearest_reading_named(units, near):
    given, time = field(units, freq="MS")
    with pytest.raises(
        ValueError, match=rf"Wanted {MONTHLY.name} in 'mm'.*Did you mean '{near}'\?"
    ):
        convert(given, MONTHLY, time=time)


def test_what_is_stated_comes_before_what_is_written():
    given, time = field("nonsense")
    np.testing.assert_allclose(convert(given, DAILY, time=time, units="cm"), VALUES * 10, rtol=1e-6)
    given.attrs.clear()
    with pytest.raises(ValueError, match=r"no `units` attribute. State it: ds\['pr'\]"):
        convert(given, DAILY, time=time)


@pytest.mark.parametrize(
    ("name", "units", "scale", "offset"),
    [
        ("2m_temperature", "degC", 1, 273.15),
        ("2m_temperature", "Kelvin", 1, 0),
        ("2m_temperature", "degF", 5 / 9, 459.67 * 5 / 9),
        ("land_sea_mask", "%", 0.01, 0),
        ("land_sea_mask", "(0 - 1)", 1, 0),
        ("volumetric_soil_water_layer_1", "m**3 m**-3", 1, 0),
        ("orography", "m2 s-2", 1 / 9.80665, 0),
        ("orography", "m**2 s**-2", 1 / 9.80665, 0),
        ("orography", "km", 1000, 0),
        ("specific_humidity_850", "g kg-1", 0.001, 0),
    ],
)
def test_other_units(name, units, scale, offset):
    seen = convert(field(units, name)[0], variable(name))
    np.testing.assert_allclose(seen, VALUES.astype(float) * scale + offset, rtol=1e-6)


@pytest.mark.parametrize(
    ("units", "unit", "factor"),
    [("hPa", "Pa", 100), ("m", "m2 s-2", 9.80665), ("m2 s-2", "m", 1 / 9.80665)],
)
def test_the_row_says_what_is_wanted(units, unit, factor):
    row = variable("orography").model_copy(update={"units": unit})
    np.testing.assert_allclose(convert(field(units)[0], row), VALUES * factor, rtol=1e-6)


@pytest.mark.parametrize("units", ["K", "kg m-2 K", "s", "deg", "m2 s-2", "kg"])
def test_other_quantities_are_refused(units):
    given, time = field(units)
    with pytest.raises(ValueError, match=r"Wanted total_precipitation_24hr in 'mm'.*Correct"):
        convert(given, DAILY, time=time)


def test_seconds_are_no_wind():
    # times gravity they would be
    with pytest.raises(ValueError, match=r"Wanted eastward_wind in 'm s-1'.*got 's'"):
        convert(field("s")[0], variable("eastward_wind"))
