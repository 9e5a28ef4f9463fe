"""Monthly means against plain numpy, and what they must not contain."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from orbitds.data.climatology import Climatology
from orbitds.data.pair import stack
from orbitds.data.sample import Samples
from orbitds.tiles import TileGrid

RAIN, WIND = "total_precipitation_24hr", "eastward_wind"
SIDES = ("coarse", "fine")


def fields_of(pair):
    """Fine and coarse fields of the outputs, [T, U, ...], float64."""
    return tuple(
        stack(ds, pair.outputs, np.float64).values for ds in (pair.fine, pair.coarse[[WIND, RAIN]])
    )


def months_and_years(pair):
    time = pair.fine["time"].dt
    return time.month.values, time.year.values


def at_times(pair, keep):
    return replace(pair, fine=pair.fine.isel(time=keep), coarse=pair.coarse.isel(time=keep))


@pytest.fixture(scope="module")
def climatology(pair):
    return Climatology.of(pair)


def test_means_are_those_of_each_month(pair, climatology):
    month, _ = months_and_years(pair)
    for means, fields in zip(climatology.means(), fields_of(pair), strict=True):
        assert means.shape == (12, *fields.shape[1:])
        expected = np.stack([fields[month == number].mean(axis=0) for number in range(1, 13)])
        np.testing.assert_allclose(means, expected, rtol=1e-12)


@pytest.mark.parametrize("year", [2001, 2003, 2004])
@pytest.mark.parametrize("month", [1, 7, 12])
def test_a_year_that_is_left_out_leaves_no_trace(pair, climatology, year, month):
    months, years = months_and_years(pair)
    keep = (months == month) & (years != year)
    for mean, fields in zip(climatology.without(str(year), month), fields_of(pair), strict=True):
        np.testing.assert_allclose(mean, fields[keep].mean(axis=0), rtol=1e-12)
    # other values in that year change nothing but the rounding of sums
    other = pair.fine.where(pair.fine["time"].dt.year != year, 77.0)
    changed = Climatology.of(replace(pair, fine=other)).without(str(year), month)
    np.testing.assert_allclose(changed[0], climatology.without(str(year), month)[0], atol=1e-13)


def test_a_year_outside_the_period_takes_nothing_away(climatology):
    fine, coarse = climatology.means()
    np.testing.assert_array_equal(climatology.without("1950", 5)[0], fine[4])
    np.testing.assert_array_equal(climatology.without(None, 5)[1], coarse[4])


def test_a_month_that_is_nowhere_takes_the_mean_of_the_others(pair):
    months, _ = months_and_years(pair)
    keep = ~np.isin(months, [2, 11])
    climatology = Climatology.of(at_times(pair, keep))
    assert climatology.missing_months == [2, 11]
    available = [number for number in range(1, 13) if number not in (2, 11)]
    for means, fields in zip(climatology.means(), fields_of(pair), strict=True):
        by_month = np.stack([fields[months == number].mean(axis=0) for number in available])
        np.testing.assert_allclose(means[1], by_month.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(means[10], by_month.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(means[np.array(available) - 1], by_month, rtol=1e-12)


def test_a_month_with_more_steps_weighs_no_more(pair):
    # April thrice, May once, June never: each available month counts once
    many = Climatology.of(at_times(pair, [3, 15, 27, 4]))
    fine, _ = fields_of(pair)
    april, may = fine[[3, 15, 27]].mean(axis=0), fine[4]
    np.testing.assert_allclose(many.without(None, 6)[0], (april + may) / 2, rtol=1e-12)
    assert many.missing_months == [1, 2, 3, 6, 7, 8, 9, 10, 11, 12]


def test_a_month_of_one_year_takes_the_others_without_that_year(pair):
    months, years = months_and_years(pair)
    keep = (months != 8) | (years == 2002)
    climatology = Climatology.of(at_times(pair, keep))
    fine, _ = fields_of(pair)
    others = [
        fine[(months == number) & (years != 2002)].mean(axis=0)
        for number in range(1, 13)
        if number != 8
    ]
    np.testing.assert_allclose(
        climatology.without("2002", 8)[0], np.mean(others, axis=0), rtol=1e-12
    )


def test_one_year_leaves_the_own_time_out(pair):
    year = pair.part("test")
    times = year.fine["time"].values.copy()
    times[[2, 3]] = np.array(["2004-05-02", "2004-05-03"], "datetime64[ns]")  # a fuller May
    year = replace(year, **{side: getattr(year, side).assign_coords(time=times) for side in SIDES})
    climatology, time = Climatology.of(year), year.fine["time"]
    assert climatology.crowded == (2004,)
    groups = climatology.group_of(time)
    assert len(set(groups)) == 12
    for mean, fields in zip(climatology.without(groups[3], 5), fields_of(year), strict=True):
        np.testing.assert_allclose(mean, fields[[2, 4]].mean(axis=0), rtol=1e-12)
    others = [0, 5, 6, 8, 9, 10, 11]  # no other August
    for mean, fields in zip(climatology.without(groups[7], 8), fields_of(year), strict=True):
        may = fields[[2, 3, 4]].mean(axis=0)
        wanted = np.mean([may, fields[1], *fields[others]], axis=0)
        np.testing.assert_allclose(mean, wanted, rtol=1e-12)
    fine, _ = Climatology.of(pair.part("test")).means()
    np.testing.assert_allclose(fine, fields_of(pair.part("test"))[0], rtol=1e-12)


def test_a_year_with_most_times_is_left_out_by_time_and_another_one_whole(pair):
    # four times of 2002 and one of 2001, as the US normals and January 1895
    few = at_times(pair, [0, 12, 13, 14, 18])
    climatology = Climatology.of(few)
    groups = climatology.group_of(few.fine["time"])
    assert groups[0] == "2001"
    assert len(set(groups)) == 5
    fine, _ = fields_of(few)
    np.testing.assert_allclose(climatology.without(groups[1], 1)[0], fine[0], rtol=1e-12)
    np.testing.assert_allclose(climatology.without(groups[0], 1)[0], fine[1], rtol=1e-12)
    others = fine[[0, 1]].mean(axis=0), fine[2], fine[4]
    wanted = np.mean(others, axis=0)
    np.testing.assert_allclose(climatology.without(groups[3], 3)[0], wanted, rtol=1e-12)
    # three of four are not too many
    assert Climatology.of(at_times(pair, [0, 12, 13, 14])).crowded == ()


def test_one_time_is_too_few_to_leave_it_out(pair):
    one = at_times(pair, [5])
    climatology = Climatology.of(one)
    with pytest.raises(ValueError, match=r"two training times.*got 1.*model\.base: bicubic"):
        climatology.without(climatology.group_of(one.fine["time"])[0], 6)


def test_calendars_and_unordered_times(pair, climatology):
    order = np.random.default_rng(2).permutation(48)
    time = xr.date_range("2001-01-01", periods=48, freq="MS", calendar="noleap", use_cftime=True)
    shuffled = at_times(
        replace(
            pair,
            fine=pair.fine.assign_coords(time=time),
            coarse=pair.coarse.assign_coords(time=time),
        ),
        order,
    )
    for got, expected in zip(Climatology.of(shuffled).means(), climatology.means(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


# --- no gaps: one NaN would spread over the whole base ------------------------------------------


def test_an_output_that_is_no_input_has_its_block_means(pair, climatology):
    without_rain = replace(pair, coarse=pair.coarse[[WIND]])
    fine, coarse = Climatology.of(without_rain).means()
    expected_fine, expected_coarse = climatology.means()
    np.testing.assert_array_equal(fine, expected_fine)
    # the pair's coarse fields are block means in single precision
    np.testing.assert_allclose(coarse, expected_coarse, rtol=1e-6)


def test_missing_cells_take_the_value_of_their_coarse_cell(pair, climatology):
    hole = pair.fine.copy(deep=True)
    hole[WIND][:, 4:9, 31:] = np.nan  # at the eastern border
    hole[RAIN][5, :2, :4] = np.nan  # now and then
    fine, coarse = Climatology.of(replace(pair, fine=hole)).means()
    expected_fine, expected_coarse = climatology.means()
    np.testing.assert_allclose(coarse, expected_coarse, rtol=1e-12)
    parents = expected_coarse.repeat(3, axis=-2).repeat(3, axis=-1)
    np.testing.assert_allclose(fine[:, 0, 4:9, 31:], parents[:, 0, 4:9, 31:], rtol=1e-12)
    touched = np.zeros(fine.shape, dtype=bool)
    touched[:, 0, 4:9, 31:] = touched[5, 1, :2, :4] = True
    np.testing.assert_array_equal(fine[~touched], expected_fine[~touched])
    assert np.isfinite(fine).all()


def test_missing_cells_of_an_output_that_is_no_input_take_the_nearest(pair):
    wind = pair.fine[[WIND]].copy(deep=True)
    wind[WIND][:, 3:7, 6:9] = np.nan  # a whole block and a row of the next
    holed = replace(pair, fine=wind, coarse=pair.coarse[[RAIN]])
    fine, coarse = (means[:, 0] for means in Climatology.of(holed).means())
    full = Climatology.of(replace(pair, fine=pair.fine[[WIND]], coarse=pair.coarse[[RAIN]]))
    expected, blocks = (means[:, 0] for means in full.means())
    area = pair.fine_grid.area[:, 0]
    partly = (area[7:9, None] * expected[:, 7:9, 6:9]).sum(axis=(1, 2)) / area[7:9].sum() / 3
    np.testing.assert_allclose(coarse[:, 2, 2], partly, rtol=1e-12)
    # one of its four neighbours
    around = [blocks[:, 0, 2], partly, blocks[:, 1, 1], blocks[:, 1, 3]]
    assert any(np.allclose(coarse[:, 1, 2], value, rtol=1e-12) for value in around)
    np.testing.assert_allclose(fine[:, 4, 7], coarse[:, 1, 2], rtol=1e-12)


def test_coarse_gaps_are_filled_as_those_of_a_sample(pair, statistics):
    # delta change subtracts the two: a field that is its own climatology must be its own answer
    hole = pair.coarse.copy(deep=True).assign_attrs(missing="mask")
    for name in (WIND, RAIN):
        hole[name][:, 2:5, 3:6] = np.nan  # a bay
        hole[name][:, :, -1] = np.nan
    one = at_times(replace(pair, coarse=hole), [7])
    climatology = Climatology.of(one)
    samples = Samples(one, statistics, TileGrid(7, 11, periodic=True), climatology=climatology)
    sample = samples[0]
    normalized = torch.stack([sample.coarse[one.inputs.index(name)] for name in one.outputs])
    torch.testing.assert_close(sample.coarse_climatology, normalized, rtol=1e-5, atol=1e-5)


def test_a_time_without_any_value_is_refused(pair):
    wind = pair.fine[[WIND]].copy(deep=True)
    wind[WIND][14] = np.nan
    with pytest.raises(ValueError, match=r"eastward_wind at every time.*2002-03-01.*Leave"):
        Climatology.of(replace(pair, fine=wind, coarse=pair.coarse[[RAIN]]))
