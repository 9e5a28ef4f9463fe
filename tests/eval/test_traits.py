"""Traits: from rows of the vocabulary, no variable by name."""

import math

import pytest

from orbitds.eval.traits import traits_of
from orbitds.variables import table


@pytest.mark.parametrize(
    ("name", "extreme", "is_rain"),
    [
        ("total_precipitation_24hr", "rx1day", True),
        ("2m_temperature_max", "txx", False),
        ("2m_temperature_min", "tnn", False),
        ("2m_temperature", None, False),
        ("total_precipitation_month", None, False),
        ("eastward_wind", None, False),
    ],
)
def test_rain_and_extremes(name, extreme, is_rain):
    traits = traits_of(name)
    assert (traits.extreme, traits.is_rain) == (extreme, is_rain)


def test_the_logarithm_of_an_amount_is_another_variable():
    traits = traits_of("log1p(total_precipitation_24hr)")
    assert traits.data_range == pytest.approx(math.log(301))
    assert traits.bins.high == pytest.approx(math.log(2001))
    assert not traits.bins.is_log1p
    assert not traits.is_rain
    assert traits.extreme is None


def test_bins_hold_what_is_plausible_for_every_variable():
    for name, row in table().items():
        bins = traits_of(name).bins
        assert (bins.low, bins.high) == row.plausible
        edges = bins.edges
        assert edges[0] == pytest.approx(row.plausible[0], abs=1e-9)
        assert edges[-1] == pytest.approx(row.plausible[1])
