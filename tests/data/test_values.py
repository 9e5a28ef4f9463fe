"""Values: counted in parts, and fill values told by their constant."""

import numpy as np
import pytest

from orbitds.data.values import Tally, check_missing, check_values

WARMTH = "2m_temperature"


def test_parts_add_up_to_the_whole():
    values = np.random.default_rng(3).normal(280, 10, (7, 5, 3))
    values[0, 0, 0], values[3, 1, 1], values[6] = np.nan, np.inf, 999.0
    whole, parts = Tally(WARMTH), Tally(WARMTH)
    whole.add(values)
    for part in (values[:1], values[1:6], values[6:]):
        parts.add(part)
    assert parts == whole
    assert (whole.cells, whole.missing, whole.infinite, whole.implausible) == (105, 1, 1, 16)
    assert whole.high == np.inf


def test_where_values_are_implausible_is_told():
    values = np.array([[280.0, 1.0], [np.nan, np.inf]])
    np.testing.assert_array_equal(Tally(WARMTH).add(values), [[False, True], [False, True]])
    assert Tally(WARMTH).add(values[:1, :1]) is None


@pytest.mark.parametrize("fill", [9.96921e36, 1e20, -9999.0, -32767.0, 3.4028235e38])
def test_known_fill_values_are_named(fill):
    values = np.full((4, 5), 280.0)
    values[2, 3] = fill
    with pytest.raises(ValueError, match=r"outside in 1 of 20.*stands in 1 of them.*_FillValue"):
        check_values(WARMTH, values)


def test_any_constant_that_occurs_often_is_named():
    values = np.full((4, 5), 280.0)
    values[1] = -9725.85  # -9999 degC
    with pytest.raises(ValueError, match=r"-9725.85 K stands in 5 of them"):
        check_values(WARMTH, values)


def test_scattered_values_are_no_fill_value():
    with pytest.raises(ValueError, match=r"Check the unit and undecoded fill values\.$"):
        check_values(WARMTH, np.array([15.0, 16.5, 280.0, 12.0]))


def test_a_field_without_any_value_is_refused_as_a_whole_only():
    tally = Tally(WARMTH)
    tally.add(np.full((2, 3), np.nan))
    assert "NaN in all of 6 cells" in str(tally.problem("mask"))
    check_values(WARMTH, np.full((2, 3), np.nan), missing="mask")  # a block may be all sea
    tally.add(np.full((2, 3), 280.0))
    assert tally.problem("mask") is None
    assert "NaN in 6 of 12 cells" in str(tally.problem("error"))


def test_policies_are_two():
    assert check_missing("mask") == "mask"
    with pytest.raises(ValueError, match="got 'ignore'"):
        check_missing("ignore")
