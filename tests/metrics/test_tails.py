"""Distributions by bins: numpy's quantiles, scipy's Wasserstein distance, to a bin's width."""

import numpy as np
import pytest
import torch
from scipy import stats

from orbitds.metrics.tails import Bins, add_to_histogram, quantile, rmse_above, wasserstein
from tests.metrics.frames import weather

WARM = Bins(170.0, 350.0)
RAIN = Bins(0.0, 2000.0, is_log1p=True)
LEVELS = np.array([0.001, 0.01, 0.5, 0.68, 0.95, 0.99, 0.997, 0.999])


def histogram(bins, field, weight):
    found = torch.zeros(bins.count, dtype=torch.float64)
    add_to_histogram(found, bins.index(field.flatten(1)).long(), weight.flatten(1))
    return found[None].numpy()


def histograms(bins, *fields, weights=None):
    """Histograms of fields, each cell counting once or by weight."""
    weight = torch.ones(fields[0].shape, dtype=torch.float64) if weights is None else weights
    return [histogram(bins, field, weight) for field in fields]


@pytest.mark.parametrize(("kind", "bins"), [("warm", WARM), ("rain", RAIN)])
def test_quantiles_are_numpys_to_the_width_of_a_bin(kind, bins):
    _, truth = weather(40, 24, 36, kind=kind)
    (found,) = histograms(bins, truth)
    got = quantile(found, bins.edges, LEVELS)[0]
    expected = np.quantile(truth, LEVELS)
    width = np.diff(bins.edges)[np.searchsorted(bins.edges, expected, side="right") - 1]
    # numpy interpolates between neighbours: in the tail these may lie further apart than a bin
    gap = np.quantile(truth, LEVELS, method="higher") - np.quantile(truth, LEVELS, method="lower")
    assert (abs(got - expected) <= width + gap + 1e-9).all()


@pytest.mark.parametrize(("kind", "bins"), [("warm", WARM), ("rain", RAIN)])
def test_wasserstein_is_scipys(kind, bins):
    fields, truth = weather(10, 24, 36, kind=kind)
    one, other = histograms(bins, fields["bilinear"], truth)
    expected = stats.wasserstein_distance(fields["bilinear"].flatten(), truth.flatten())
    assert wasserstein(one, other, bins.edges)[0] == pytest.approx(expected, rel=2e-3)


def test_wasserstein_of_a_shift_is_the_shift_and_of_nothing_nan():
    _, truth = weather(5, 24, 36)
    width = (WARM.high - WARM.low) / WARM.count
    one, other = histograms(WARM, truth + 40 * width, truth)
    assert wasserstein(one, other, WARM.edges)[0] == pytest.approx(40 * width, rel=1e-6)
    assert wasserstein(one, one, WARM.edges)[0] == 0
    assert np.isnan(wasserstein(0 * one, other, WARM.edges)[0])


@pytest.mark.parametrize("level", [0.68, 0.95, 0.997])
def test_rmse_above_a_percentile(level):
    fields, truth = weather(300, 24, 36)
    squared = (fields["bilinear"] - truth) ** 2
    errors = histogram(WARM, truth, squared)
    (found,) = histograms(WARM, truth)
    got = rmse_above(found, errors, np.array([level]))[0, 0]
    above = truth > np.quantile(truth, level)
    assert got == pytest.approx(float(squared[above].mean().sqrt()), rel=3e-3)


def test_weights_count():
    _, truth = weather(3, 24, 36)
    doubled = torch.where(truth > 280, 2.0, 1.0).double()
    (found,) = histograms(WARM, truth, weights=doubled)
    repeated = torch.cat([truth.flatten(), truth[truth > 280]]).numpy()
    got = quantile(found, WARM.edges, np.array([0.5]))[0, 0]
    assert got == pytest.approx(np.median(repeated), abs=2 * 180 / 4096)


def test_what_lies_outside_is_counted_at_the_ends():
    values = torch.tensor([[-torch.inf, 0.0, 170.0, 349.999, 1e9, torch.inf]])
    assert WARM.index(values).tolist() == [[0, 0, 0, 4095, 4095, 4095]]
    assert RAIN.index(torch.tensor([[-3.0, 0.0, 2000.0]])).tolist() == [[0, 0, 4095]]


def test_each_value_lies_within_the_edges_of_its_bin():
    values = torch.linspace(0, 1999, 5001, dtype=torch.float64)[None]
    for bins in (RAIN, Bins(0.0, 2000.0)):
        place = bins.index(values)[0].numpy()
        assert (bins.edges[place] <= values[0].numpy() * (1 + 1e-12) + 1e-12).all()
        assert (values[0].numpy() <= bins.edges[place + 1] * (1 + 1e-12)).all()


def test_nothing_has_no_quantile():
    assert np.isnan(quantile(np.zeros((2, 5)), np.arange(6.0), LEVELS)).all()
    assert np.isnan(rmse_above(np.zeros((2, 5)), np.zeros((2, 5)), np.array([0.5]))).all()


def test_logarithms_lie_in_the_same_bins():
    _, truth = weather(5, kind="rain")
    places = RAIN.logarithm().index(truth.log1p())
    assert torch.equal(places, RAIN.index(truth))
    np.testing.assert_allclose(np.expm1(RAIN.logarithm().edges), RAIN.edges, atol=1e-9)
    with pytest.raises(ValueError, match="bins of equal width in log1p"):
        WARM.logarithm()


def test_dry_cells_do_not_exceed_a_percentile_that_is_dry():
    rng = np.random.default_rng(0)
    amount = np.where(rng.random((60, 24, 36)) < 0.8, 0.0, rng.gamma(0.7, 8, (60, 24, 36)) + 0.1)
    truth, squared = torch.from_numpy(amount), torch.from_numpy(rng.gamma(2, 1, amount.shape))
    got = rmse_above(
        histogram(RAIN, truth, torch.ones_like(truth)),
        histogram(RAIN, truth, squared),
        np.array([0.68, 0.95]),
    )[0]
    for level, value in zip((0.68, 0.95), got, strict=True):
        above = amount > np.quantile(amount, level)
        assert value == pytest.approx(squared.numpy()[above].mean() ** 0.5, rel=3e-3)
