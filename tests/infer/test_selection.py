"""Times and cells by label, in whatever layout."""

import numpy as np
import pytest
import xarray as xr

from orbitds.infer.selection import selected


@pytest.fixture
def hourly(coarse):
    times = np.datetime64("2004-01-30", "ns") + np.arange(12) * np.timedelta64(6, "h")
    return coarse.assign_coords(time=times)


@pytest.mark.parametrize(
    ("text", "first", "count"),
    [
        ("2004", "2004-01-30T00", 12),
        ("2004-02", "2004-02-01T00", 4),
        ("2004-01-31", "2004-01-31T00", 4),
        ("2004-01-31:2004-02-01", "2004-01-31T00", 8),
        ("2004-01-31T06:00:2004-01-31T12", "2004-01-31T06", 2),
        ("2004-01-31 06:2004-01-31T12:00:00", "2004-01-31T06", 2),
        ("2004-02-01:", "2004-02-01T00", 4),
        (":2004-01-30", "2004-01-30T00", 4),
        ("1999:2010", "2004-01-30T00", 12),
    ],
)
def test_times(hourly, text, first, count):
    cut = selected(hourly, time=text)
    assert cut.sizes["time"] == count
    assert str(cut["time"].values[0]).startswith(first)


def test_times_of_other_calendars_and_plain_numbers(coarse):
    other = coarse.convert_calendar("noleap").rename(time="valid_time")
    assert selected(other, time="2004-03:2004-05").sizes["valid_time"] == 3
    numbered = coarse.assign_coords(time=np.arange(12))
    assert selected(numbered, time="3:5").sizes["time"] == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1850", "Wanted times in '1850', got an input from 2004-01"),
        ("May:June", "Wanted times as first:last such as 2001-05:2001-09, got 'May:June'. Give"),
        (":", "Wanted times as first:last"),
        ("", "Wanted times as first:last"),
        ("2004-1", "Wanted times as first:last"),
    ],
)
def test_times_that_select_nothing_are_refused(coarse, text, told):
    with pytest.raises(ValueError, match=told):
        selected(coarse, time=text)


def test_no_time_to_select_from(coarse):
    with pytest.raises(ValueError, match="Wanted a time axis to select '2004' from.*Leave"):
        selected(coarse.isel(time=0), time="2004")


def grid(*, rising=True, west=0.0, falls=False):
    columns = west + np.arange(0, 360, 30.0)
    latitude = np.arange(-75, 76, 30.0)
    longitude = columns[::-1] if falls else columns
    return xr.Dataset(
        {"t": (("lat", "lon"), np.zeros((6, longitude.size)))},
        {"lat": latitude if rising else latitude[::-1], "lon": longitude},
    )


@pytest.mark.parametrize("rising", [True, False])
def test_cells_wholly_inside(rising):
    cut = selected(grid(rising=rising), region="-60:60,15:135")
    wanted = [-45, -15, 15, 45]
    assert cut["lat"].values.tolist() == (wanted if rising else wanted[::-1])
    assert cut["lon"].values.tolist() == [30, 60, 90, 120]
    assert selected(grid(rising=rising), region="-60:60,14:136")["lon"].size == 4
    assert selected(grid(rising=rising), region="-60:60,16:135")["lon"].size == 3


@pytest.mark.parametrize("falls", [False, True])
def test_regions_across_the_seam_of_the_input(falls):
    cut = selected(grid(falls=falls), region="-90:90,-45:45")
    wanted = [330, 0, 30]
    assert cut["lon"].values.tolist() == (wanted[::-1] if falls else wanted)
    around = grid(west=-180.0, falls=falls)
    cut = selected(around, region="-90:90,135:-135")
    wanted = [150, -180, -150]
    assert cut["lon"].values.tolist() == (wanted[::-1] if falls else wanted)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("30:60", "Wanted a region as south:north,west:east in degrees"),
        ("europe", "Wanted a region as south:north,west:east in degrees"),
        ("60:30,0:90", "Wanted a region with its north above its south"),
        ("0:100,0:90", "--region: north: Input should be less than or equal to 90"),
        ("0:10,0:10", "Wanted a region that holds at least 2 x 2 whole coarse cells"),
    ],
)
def test_regions_that_are_none_are_refused(text, told):
    with pytest.raises(ValueError, match=told):
        selected(grid(), region=text)
