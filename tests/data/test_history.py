"""Earlier times: names, unbroken axes in any calendar, and datasets with them beside."""

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from orbitds.data.history import base_name, join_earlier, steps_back, with_earlier
from orbitds.variables import variable

NAMES = ("2m_temperature", "total_precipitation_24hr")


def dates(start, periods, freq, calendar=None):
    if calendar is None:
        return pd.date_range(start, periods=periods, freq=freq)
    return xr.date_range(start, periods=periods, freq=freq, calendar=calendar, use_cftime=True)


def test_names_say_how_much_earlier():
    assert with_earlier(NAMES, 0) == NAMES
    names = with_earlier(NAMES, 2)
    assert names[2:] == (
        "2m_temperature@-1",
        "total_precipitation_24hr@-1",
        "2m_temperature@-2",
        "total_precipitation_24hr@-2",
    )
    assert [steps_back(name) for name in names] == [0, 0, 1, 1, 2, 2]
    assert {base_name(name) for name in names} == set(NAMES)
    assert variable(names[-1]) == variable(NAMES[1])


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("calendar", ["noleap", None])
def test_a_dataset_with_its_own_past(lazy, calendar):
    times = dates("2000-02-26", 6, "1D", calendar)
    values = np.random.default_rng(0).normal(size=(6, 2, 3))
    ds = xr.Dataset(
        {name: (("time", "latitude", "longitude"), values + k) for k, name in enumerate(NAMES)},
        {"time": times},
        {"missing": "error"},
    )
    joined = join_earlier(ds.chunk(time=2) if lazy else ds, with_earlier(NAMES, 2))
    assert bool(joined.chunks) is lazy
    assert joined.attrs == ds.attrs
    assert list(joined.data_vars) == list(with_earlier(NAMES, 2))
    assert joined.indexes["time"].equals(times[2:])
    for k, name in enumerate(NAMES):
        for back in range(3):
            label = f"{name}@-{back}" if back else name
            np.testing.assert_array_equal(joined[label], values[2 - back : 6 - back] + k)


def test_without_history_nothing_changes():
    ds = xr.Dataset({NAMES[0]: ("time", [1.0, 2.0])})
    assert join_earlier(ds, NAMES[:1]) is ds


def test_too_few_times_are_refused():
    times = [cftime.DatetimeNoLeap(2000, 1, day) for day in (1, 2)]
    ds = xr.Dataset({NAMES[0]: ("time", [1.0, 2.0])}, {"time": times})
    with pytest.raises(ValueError, match=r"at least 3 times .* 2 steps back, got 2"):
        join_earlier(ds, with_earlier(NAMES[:1], 2))


def test_a_gap_is_refused():
    times = dates("2000-02-26", 6, "1D").delete(2)
    ds = xr.Dataset({NAMES[0]: ("time", np.arange(5.0))}, {"time": times})
    with pytest.raises(ValueError, match="times without gaps in the input"):
        join_earlier(ds, with_earlier(NAMES[:1], 1))
