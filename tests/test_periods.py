"""Periods of a split, against what xarray selects."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from orbitds.periods import chosen, each, overlap, told

MONTHS = pd.date_range("1999-01-01", periods=60, freq="MS")


def test_one_and_several():
    assert each(("1999", "2000")) == (("1999", "2000"),)
    assert each((("1999", "1999"), ("2002-03", "2003"))) == (("1999", "1999"), ("2002-03", "2003"))
    assert told((("1999", "1999"), ("2002-03", "2003"))) == "1999 to 1999 and 2002-03 to 2003"


@pytest.mark.parametrize(
    "periods", [("2000-03", "2001"), (("1999-02", "1999-02"), ("2002", "2003"))]
)
def test_times_are_those_that_xarray_selects(periods):
    field = xr.DataArray(np.arange(60), coords={"time": MONTHS}, dims="time")
    wanted = [field.sel(time=slice(*period)).values for period in each(periods)]
    np.testing.assert_array_equal(np.arange(60)[chosen(MONTHS, periods)], np.concatenate(wanted))


def test_one_period_is_a_slice():
    assert chosen(MONTHS, ("2000-03", "2001")) == slice(14, 36)


@pytest.mark.parametrize(
    ("one", "other", "shares"),
    [
        (("1982", "1985"), ("1985-06", "1986"), True),
        (("1985-06", "1986"), ("1982", "1985"), True),
        (("1982", "1985-06-15"), ("1985-06-16", "1985"), False),
        (("1982", "1989"), ("1984", "1984"), True),
        (("1982", "1983"), ("1984", "1984"), False),
    ],
)
def test_overlap(one, other, shares):
    assert overlap(one, other) is shares
