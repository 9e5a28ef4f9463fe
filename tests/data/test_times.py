"""Times: order, doubles, gaps and steps, in any calendar."""

import datetime

import numpy as np
import pytest
import xarray as xr

from orbitds.data.times import (
    cadence,
    check_times,
    check_unbroken,
    days_in_month,
    labels_of,
    months_of,
    span,
)

CALENDARS = ["standard", "noleap", "360_day", "julian"]


def axis(start="2001-01-01", periods=24, freq="D", calendar="standard", *, year=None):
    start = start if year is None else f"{year:04d}{start[4:]}"
    use_cftime = None if calendar == "standard" and year is None else True
    time = xr.date_range(
        start, periods=periods, freq=freq, calendar=calendar, use_cftime=use_cftime
    )
    return xr.DataArray(time, dims="time", name="time")


@pytest.mark.parametrize("calendar", CALENDARS)
@pytest.mark.parametrize("year", [None, 3000])
@pytest.mark.parametrize(
    ("freq", "label"),
    [("D", "1 day"), ("6h", "6 hours"), ("MS", "1 month"), ("ME", "1 month"), ("QS", "3 months"),
     ("YS", "1 year"), ("5D", "5 days"), ("30min", "30 minutes")],
)  # fmt: skip
def test_regular_axes_are_regular(freq, label, calendar, year):
    time = axis("2001-01-01", 40, freq, calendar, year=year)
    check_times(time)
    check_unbroken(time)
    found = cadence(time)
    assert (found.label, found.missing, found.gap) == (label, 0, None)


@pytest.mark.parametrize("calendar", CALENDARS)
def test_mid_month_stamps_are_monthly(calendar):
    time = axis("2001-01-01", 14, "MS", calendar, year=2001)
    stamps = [date + datetime.timedelta(days=13 if date.month == 2 else 15) for date in time.values]
    time = xr.DataArray(stamps, dims="time", name="time")
    assert cadence(time).label == "1 month"


@pytest.mark.parametrize("calendar", CALENDARS)
@pytest.mark.parametrize(
    ("freq", "gap"),
    [("MS", ("2001-05-01", "2001-08-01")), ("D", ("2001-01-05", "2001-01-08"))],
)
def test_steps_left_out_are_found(freq, gap, calendar):
    time = axis(periods=24, freq=freq, calendar=calendar).isel(time=[*range(5), *range(7, 24)])
    found = cadence(time)
    assert (found.missing, found.gap) == (2, gap)
    check_times(time)
    told = rf"times without gaps in p.*2 left out, .*{gap[0]} and {gap[1]}.*Fill"
    with pytest.raises(ValueError, match=told):
        check_unbroken(time, source="p")


def test_months_of_unlike_lengths_in_days_are_a_gap_only_if_one_is_left_out():
    # 31 January to 28 February and 28 February to 31 March are one month each
    assert cadence(axis("2001-01-31", 3, "ME")).missing == 0


def test_irregular_times_are_told():
    time = axis(periods=24).isel(time=[0, 3, 4, 9, 20])
    assert cadence(time).label == "irregular"
    with pytest.raises(ValueError, match="steps of unequal length"):
        check_unbroken(time)


def numbers(*values):
    return xr.DataArray(list(values), dims="time", name="time")


def test_numbers_count_steps():
    for whole in (numbers(3, 4, 5), numbers(0.5, 1.0, 1.5), numbers(7, 17, 27)):
        check_unbroken(whole)
    with pytest.raises(ValueError, match=r"steps of 1 step\).*1 left out.*between 2 and 4\."):
        check_unbroken(numbers(1, 2, 4, 5))
    with pytest.raises(ValueError, match=r"steps of 10 steps\).*2 left out.*between 17 and 47"):
        check_unbroken(numbers(7, 17, 47, 57))
    with pytest.raises(ValueError, match="unequal"):
        check_unbroken(numbers(1, 2, 2.3))


def test_what_is_out_of_order_or_doubled_is_broken():
    with pytest.raises(ValueError, match="in order"):
        check_unbroken(axis(periods=4).isel(time=slice(None, None, -1)))
    with pytest.raises(ValueError, match="each time once"):
        check_unbroken(axis(periods=4).isel(time=[0, 1, 1, 2]))


def test_one_time_and_mere_numbers_have_no_step():
    for time in (axis(periods=1), xr.DataArray(np.arange(4), dims="time", name="time")):
        assert cadence(time) is None
        check_times(time)
        check_unbroken(time)


@pytest.mark.parametrize("calendar", CALENDARS)
def test_double_times_are_refused(calendar):
    time = axis(periods=4, calendar=calendar).isel(time=[0, 1, 1, 2, 2])
    with pytest.raises(
        ValueError, match=r"once, got 2 of 5.*2001-01-02.*drop_duplicates\('time'\)"
    ):
        check_times(time)


@pytest.mark.parametrize("calendar", CALENDARS)
def test_unsorted_times_are_refused(calendar):
    time = axis(periods=4, calendar=calendar).isel(time=[0, 2, 1, 3])
    told = r"got 2001-01-03 before 2001-01-02.*sortby\('time'\)"
    with pytest.raises(ValueError, match=told):
        check_times(time)
    with pytest.raises(ValueError, match="in order"):
        check_times(axis(periods=4, calendar=calendar).isel(time=slice(None, None, -1)))


def test_undecoded_times_text_and_gaps_are_refused():
    numbers = xr.DataArray([0.0, 1.0], dims="time", name="time", attrs={"units": "days since 2001"})
    with pytest.raises(ValueError, match=r"got the numbers 0.*days since 2001.*decode_cf"):
        check_times(numbers)
    with pytest.raises(ValueError, match=r"as dates, got text such as '2001'"):
        check_times(xr.DataArray(["2001", "2002"], dims="time", name="time"))
    gap = np.array(["2001-01-01", "NaT", "2001-01-03"], "M8[ns]")
    with pytest.raises(ValueError, match="1 of 3 missing"):
        check_times(xr.DataArray(gap, dims="time", name="time"))


@pytest.mark.parametrize(
    ("calendar", "february", "january"),
    [("standard", 29, 31), ("noleap", 28, 31), ("360_day", 30, 30)],
)
def test_months_have_the_length_of_their_calendar(calendar, february, january):
    days = days_in_month(axis("2004-01-01", 2, "MS", calendar))
    assert days.values.tolist() == [january, february]
    with pytest.raises(ValueError, match="Wanted dates"):
        days_in_month(xr.DataArray([0, 1], dims="time", name="time"))


def test_span_is_short():
    assert span(axis(periods=3)) == ("2001-01-01", "2001-01-03")
    assert span(axis(periods=2, freq="6h")) == ("2001-01-01", "2001-01-01 06:00:00")


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
def test_months_and_labels_of_any_calendar(calendar):
    time = xr.date_range("2001-12-15", periods=3, freq="MS", calendar=calendar, use_cftime=True)
    axis = xr.DataArray(time, dims="time")
    assert months_of(axis).tolist() == [1, 2, 3]
    assert labels_of(axis)[0] == "2002-01-01T00:00:00"


def test_numbers_have_no_months_but_labels():
    axis = xr.DataArray([3, 4], dims="time")
    assert months_of(axis) is None
    assert labels_of(axis) == ["3", "4"]
