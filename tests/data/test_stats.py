"""Mean and standard deviation against plain numpy in double precision."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from orbitds.data.stats import Moments, Summary
from orbitds.data.stats import statistics as statistics_of
from orbitds.normalize import Statistics


def moments(values, latitude_deg):
    """Area-weighted mean and standard deviation of [..., H, W], missing cells aside."""
    half = abs(latitude_deg[1] - latitude_deg[0]) / 2
    edges = np.deg2rad(np.stack([latitude_deg - half, latitude_deg + half]))
    area = (np.sin(edges[1]) - np.sin(edges[0]))[:, None] * ~np.isnan(values)
    values = np.nan_to_num(values.astype(np.float64))
    mean = (area * values).sum() / area.sum()
    return mean, np.sqrt((area * (values - mean) ** 2).sum() / area.sum())


def with_wind(pair, wind):
    """The pair with another fine eastward wind."""
    return replace(pair, fine=pair.fine.assign(eastward_wind=wind.astype(np.float32)))


def close(row, expected, rtol=1e-9):
    np.testing.assert_allclose([row.mean, row.std], expected, rtol=rtol)


def test_fine_data_are_weighted_by_area(pair):
    rows = statistics_of(pair)
    latitude = pair.fine["latitude"].values
    close(rows["eastward_wind"], moments(pair.fine["eastward_wind"].values, latitude))
    close(rows["orography"], moments(pair.statics["orography"].values, latitude))
    assert set(rows) == {"eastward_wind", "total_precipitation_24hr", "orography"}


def test_an_input_alone_is_taken_from_the_coarse_data(pair):
    rows = statistics_of(replace(pair, fine=pair.fine[["total_precipitation_24hr"]]))
    wind = pair.coarse["eastward_wind"]
    close(rows["eastward_wind"], moments(wind.values, wind["latitude"].values))
    assert rows["eastward_wind"].std != statistics_of(pair)["eastward_wind"].std


def test_a_variable_with_a_logarithm_needs_none(pair):
    assert statistics_of(pair)["total_precipitation_24hr"] == Statistics(mean=0.0, std=1.0)


def test_only_the_years_that_are_given_count(pair, statistics):
    wind = pair.fine["eastward_wind"]
    years = wind.sel(time=slice("2001", "2002"))
    close(statistics["eastward_wind"], moments(years.values, wind["latitude"].values))
    later = wind.where(wind["time"].dt.year < 2003, 99.0)
    assert statistics == statistics_of(with_wind(pair, later).part("train"))


def test_a_large_mean_does_not_swallow_the_variance(pair):
    wind = pair.fine["eastward_wind"].astype(np.float64)
    far = replace(pair, fine=pair.fine.assign(eastward_wind=1e6 + 1e-3 * wind))
    row = statistics_of(far)["eastward_wind"]
    mean, std = moments(1e-3 * wind.values, wind["latitude"].values)
    np.testing.assert_allclose(row.mean, 1e6 + mean, rtol=1e-12)
    np.testing.assert_allclose(row.std, std, rtol=1e-5)


@pytest.mark.parametrize("constant", [271.3, 0.1, 0.0, -1e-5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_field_becomes_zero(pair, constant, dtype):
    wind = xr.full_like(pair.fine["eastward_wind"], constant, dtype=dtype)
    row = statistics_of(replace(pair, fine=pair.fine.assign(eastward_wind=wind)))["eastward_wind"]
    assert row == Statistics(mean=float(dtype(constant)), std=1.0)


def test_missing_cells_do_not_count(pair):
    wind = pair.fine["eastward_wind"].copy(deep=True)
    wind[0] = np.nan  # a whole first step too
    wind[3:, 2:5, 30:] = np.nan
    row = statistics_of(with_wind(pair, wind))["eastward_wind"]
    close(row, moments(wind.values, wind["latitude"].values))


def test_a_lazy_pair_has_the_same_statistics(pair, statistics):
    train = pair.part("train")
    lazy = replace(train, fine=train.fine.chunk(time=5), coarse=train.coarse.chunk(time=7))
    assert statistics_of(lazy) == statistics


def test_the_data_stay_as_they_are(pair):
    doubled = replace(pair, fine=pair.fine.astype(np.float64))
    before = doubled.fine.copy(deep=True)
    statistics_of(doubled)
    assert doubled.fine.equals(before)


def test_a_field_without_a_value_is_refused(pair):
    wind = pair.fine["eastward_wind"] * np.nan
    with pytest.raises(ValueError, match=r"eastward_wind with at least one value.*NaN.*fill value"):
        statistics_of(with_wind(pair, wind))


# --- what a store holds -------------------------------------------------------------------------


def test_what_is_held_serves_for_its_own_times_and_variables_alone(pair, statistics):
    times = pair.part("train").fine.indexes["time"]
    told = {name: Statistics(mean=9.0, std=8.0) for name in statistics}
    held = replace(pair, summary=Summary(times, told))
    assert statistics_of(held.part("train")) == told
    assert list(statistics_of(held.part("train"))) == list(statistics)
    for other in (held, held.part("validate")):
        assert statistics_of(other) == statistics_of(replace(other, summary=None))
    shorter = replace(held, split=held.split | {"train": ("2001-01", "2002-11")}).part("train")
    assert statistics_of(shorter) == statistics_of(replace(shorter, summary=None))
    part = replace(pair, summary=Summary(times, {"orography": told["orography"]})).part("train")
    assert statistics_of(part) == statistics


def test_parts_merge_to_the_whole_about_any_guess(pair):
    wind, area = pair.fine["eastward_wind"].values + 300, pair.fine_grid.area
    whole = Moments()
    whole.add(wind, area)
    parts = [Moments() for _ in range(4)]
    for part, values in zip(parts, (wind[:0], wind[:7], wind[7:8] * np.nan, wind[7:]), strict=True):
        part.add(values, area)
    merged = Moments.merged(parts).statistics("eastward_wind")
    expected = whole.statistics("eastward_wind")
    close(merged, [expected.mean, expected.std], rtol=1e-10)
    assert Moments.merged([]) == Moments()
