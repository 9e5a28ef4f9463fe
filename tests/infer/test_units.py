"""Units tile an output exactly, and their sizes keep to the budget."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbitds.infer.units import BAND_UNITS, Units, plan_units


@given(data=st.data(), times=st.integers(1, 40), rows=st.integers(1, 30))
def test_units_cover_the_output_once_and_in_order(data, times, rows):
    inner = data.draw(st.sets(st.integers(1, rows - 1))) if rows > 1 else set()
    units = plan_units(times, 8, [0, *sorted(inner), rows], data.draw(st.integers(1, 3000)))
    seen = np.zeros((times, rows), dtype=int)
    for number, unit in enumerate(units):
        assert unit == units[number]
        assert unit.number == number
        # the regular blocks that a Zarr array has
        assert unit.times.start % units.block_times == unit.rows.start % units.block_rows == 0
        assert 0 < len(unit.times) <= units.block_times
        assert 0 < len(unit.rows) <= units.block_rows
        seen[unit.times.start : unit.times.stop, unit.rows.start : unit.rows.stop] += 1
    assert (seen == 1).all()
    assert len(units) == len(list(units))
    with pytest.raises(IndexError):
        units[len(units)]


@given(times=st.integers(1, 40), rows=st.integers(1, 30), budget=st.integers(1, 3000))
def test_units_keep_to_the_budget_and_bands_to_some_of_it(times, rows, budget):
    units = plan_units(times, 8, range(rows + 1), budget)
    size = 8 * units.block_times * units.block_rows
    if units.bands == 1 and rows > 1:
        assert size <= budget or 8 * rows <= BAND_UNITS * budget
    else:
        assert size <= BAND_UNITS * budget or (units.block_times, units.block_rows) == (1, 1)


def test_times_are_shared_out_equally():
    assert plan_units(12, 10, [0, 7], 5 * 70) == Units(12, 7, 4, 7)
    assert plan_units(12, 10, [0, 7], 100 * 70) == Units(12, 7, 12, 7)


def test_an_untiled_field_is_not_cut():
    assert plan_units(3, 10, [0, 7], 20) == Units(3, 7, 1, 7)


def test_bands_are_whole_rows_of_tiles_where_these_are_alike():
    assert plan_units(3, 20, [0, 2, 4, 6, 7], 5) == Units(3, 7, 1, 4)
    assert plan_units(3, 20, [0, 2, 4, 6, 7], 3) == Units(3, 7, 1, 2)
    assert plan_units(3, 20, [0, 1, 3, 7], 3) == Units(3, 7, 1, 4)  # in equal parts


def test_no_band_is_less_than_a_row_of_tiles():
    assert plan_units(3, 10, [0, 2, 4, 6], 1) == Units(3, 6, 1, 2)


def test_bands_of_uneven_tiles_are_equal():
    assert plan_units(2, 20, [0, 3, 5, 8], 5) == Units(2, 8, 1, 4)
