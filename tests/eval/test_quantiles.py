"""Quantile mapping, against numpy, xsdba, and cases with a known answer."""

import warnings

import numpy as np
import pytest
import torch
import xarray as xr

from orbitds.eval import quantiles as module
from orbitds.eval.quantiles import NODES, QuantileMap, quantiles, seasons_of
from orbitds.interpolate import interpolate

FACTOR = 3


def series(values, name="2m_temperature", *, start="2001-01-01", freq="D"):
    time = xr.date_range(start, periods=len(values), freq=freq)
    axes = {"time": time, "latitude": np.arange(values.shape[1]), "longitude": values.shape[2]}
    axes["longitude"] = np.arange(values.shape[2])
    return xr.DataArray(values.astype(np.float32), dims=tuple(axes), coords=axes, name=name)


def weather(times=400, *, rows=4, columns=5, seed=0, name="2m_temperature"):
    """Coarse values, and fine ones of another distribution in each cell."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(280, 5, (times, rows, columns)).astype(np.float32)
    fine = interpolate(torch.from_numpy(coarse), FACTOR, "bilinear", periodic=True).numpy()
    fine = 280 + (fine - 280) * rng.uniform(1, 2, fine.shape[1:]) + rng.normal(0, 3, fine.shape[1:])
    return series(coarse, name), series(fine, name)


def bilinear_of(coarse):
    values = torch.from_numpy(coarse.values)
    return interpolate(values, FACTOR, "bilinear", periodic=True)


def months_of(field):
    return field["time"].dt.month.values


def without_season(field, season):
    return field.isel(time=seasons_of(months_of(field)) == season)


def test_quantiles_are_those_of_numpy():
    values = np.random.default_rng(1).normal(size=(23, 4, 5))
    values[3:9, 1] = np.nan
    values[1:, 2, 2] = np.nan  # one value alone
    shares = np.array([0, 0.013, 0.5, 0.77, 1])
    np.testing.assert_allclose(quantiles(values, shares), np.nanquantile(values, shares, axis=0))
    values[:, 0, 0] = np.nan
    assert np.isnan(quantiles(values, shares)[:, 0, 0]).all()


def test_months_have_their_season():
    assert seasons_of(np.arange(1, 13)).tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0]


def test_the_training_period_gets_the_distribution_of_its_truth():
    coarse, fine = weather()
    learned = QuantileMap.fit(coarse, fine, periodic=True)
    assert learned.before.shape == (4, NODES, 12, 15)
    mapped = learned.apply(bilinear_of(coarse), months_of(coarse)).numpy()
    for season in range(4):
        here = seasons_of(months_of(coarse)) == season
        inner = np.linspace(0.05, 0.95, 19)
        got, wanted = (np.quantile(field[here], inner, axis=0) for field in (mapped, fine.values))
        np.testing.assert_allclose(got, wanted, atol=0.3)
        before = np.quantile(bilinear_of(coarse).numpy()[here], inner, axis=0)
        assert np.abs(before - wanted).max() > 3


@pytest.mark.parametrize("season", range(4))
def test_it_is_xsdba_within_a_season(season):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        from xsdba import EmpiricalQuantileMapping

        coarse, fine = weather(500, rows=2, columns=3)
        later, _ = weather(90, rows=2, columns=3, seed=5)
        later = later.assign_coords(time=coarse["time"][:90])
        later = without_season(later * 1.1 - 28, season)
        if later.sizes["time"] == 0:
            later = without_season(coarse * 1.1 - 28, season)
        learned = QuantileMap.fit(coarse, fine, periodic=True)
        shares = (np.arange(NODES) + 0.5) / NODES
        past = without_season(fine, season)
        smooth = without_season(fine.copy(data=bilinear_of(coarse).numpy()), season)
        sim = bilinear_of(later)
        sim_array = fine.isel(time=slice(0, len(sim))).copy(data=sim.numpy())
        told = {"units": "K"}
        theirs = EmpiricalQuantileMapping.train(
            past.assign_attrs(told), smooth.assign_attrs(told), nquantiles=shares, kind="+"
        )
        wanted = theirs.adjust(
            sim_array.assign_attrs(told), interp="linear", extrapolation="constant"
        )
        wanted = wanted.transpose("time", "latitude", "longitude").values
    got = learned.apply(sim, months_of(later)).numpy()
    np.testing.assert_allclose(got, wanted, atol=2e-3)
    assert np.abs(got - sim.numpy()).max() > 1


def test_beyond_the_outer_quantiles_the_correction_is_that_of_the_outer_ones():
    coarse, fine = weather()
    learned = QuantileMap.fit(coarse, fine, periodic=True)
    far = torch.stack([torch.full((12, 15), 100.0), torch.full((12, 15), 500.0)])
    mapped = learned.apply(far, np.array([7, 7]))
    np.testing.assert_allclose(mapped[0] - 100, learned.correction[2, 0], atol=1e-4)
    np.testing.assert_allclose(mapped[1] - 500, learned.correction[2, -1], atol=1e-4)


def test_few_values_share_the_distribution_of_the_year():
    coarse, fine = weather(36)
    for field in (coarse, fine):
        field["time"] = xr.date_range("2001-01-01", periods=36, freq="MS")
    learned = QuantileMap.fit(coarse, fine, periodic=True)
    assert learned.before.shape[:2] == (1, 36)
    once = learned.apply(bilinear_of(coarse), months_of(coarse))
    assert torch.equal(once, learned.apply(bilinear_of(coarse), np.full(36, 7)))


def test_dry_days_stay_dry_and_amounts_above_zero():
    name = "total_precipitation_24hr"
    rng = np.random.default_rng(3)
    amount = rng.gamma(1, 5, (800, 3, 4)) * (rng.uniform(size=(800, 3, 4)) < 0.4)
    coarse = series(amount, name)
    smooth = bilinear_of(coarse).numpy()
    fine = series(np.where(smooth > 2, 2 * (smooth - 2), 0), name)
    learned = QuantileMap.fit(coarse, fine, periodic=True)
    mapped = learned.apply(torch.from_numpy(smooth), months_of(coarse)).numpy()
    assert mapped.min() >= 0
    assert (mapped[smooth == 0] == 0).all()
    assert abs((mapped < 0.1).mean() - (fine.values < 0.1).mean()) < 0.03


def test_missing_truth_leaves_its_cell_bilinear_and_the_others_as_they_are():
    coarse, fine = weather()
    whole = QuantileMap.fit(coarse, fine, periodic=True)
    fine[:, 3, 4] = np.nan
    fine[:100, 5, 6] = np.nan
    learned = QuantileMap.fit(coarse, fine, periodic=True)
    smooth = bilinear_of(coarse)
    mapped = learned.apply(smooth, months_of(coarse))
    other = whole.apply(smooth, months_of(coarse))
    assert torch.equal(mapped[:, 3, 4], smooth[:, 3, 4])
    assert mapped.isfinite().all()
    same = torch.ones(12, 15, dtype=torch.bool)
    same[3, 4] = same[5, 6] = False
    assert torch.equal(mapped[:, same], other[:, same])


def test_gaps_of_the_coarse_fields_are_filled():
    coarse, fine = weather()
    coarse[5, 1:3, 2] = np.nan
    learned = QuantileMap.fit(coarse, fine, periodic=True)
    assert np.isfinite(learned.before).all()


@pytest.mark.parametrize("cells", [1, 400 * 15 * 3, 2 * 400 * 15 * 3])
def test_bands_of_rows_do_not_change_it(monkeypatch, cells):
    coarse, fine = weather()
    whole = QuantileMap.fit(coarse, fine, periodic=True)
    monkeypatch.setattr(module, "BLOCK_CELLS", cells)
    banded = QuantileMap.fit(coarse, fine, periodic=True)
    np.testing.assert_allclose(banded.before, whole.before, atol=1e-4)
    np.testing.assert_allclose(banded.correction, whole.correction, atol=1e-4)
