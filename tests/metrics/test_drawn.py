"""Draws of months: scores from sums by month are those of each draw's own histograms."""

import numpy as np
import pytest

from orbitds.metrics import drawn as module
from orbitds.metrics.bootstrap import times_drawn
from orbitds.metrics.drawn import Drawn, drawn_scores
from orbitds.metrics.tails import Bins, quantile, rmse_above, wasserstein

QUANTILES, LEVELS = np.array([0.01, 0.5, 0.99]), np.array([0.68, 0.997])


def months_of(count, methods, *, dry=0.0, bins=201, seed=0):
    """Histograms of truth and methods that weigh the same, and squared errors, month by month."""
    rng = np.random.default_rng(seed)
    middle = bins * (0.4 + 0.1 * np.sin(np.arange(count)))[:, None, None]
    spread = np.exp(-(((np.arange(bins) - middle) / 20) ** 2)) * rng.random(
        (count, 1 + 2 * methods, bins)
    )
    spread[..., 0] += dry * spread.sum(axis=-1)
    spread[..., 160:] = 0
    own = spread[:, : 1 + methods]
    own *= own[:, :1].sum(axis=-1, keepdims=True) / own.sum(axis=-1, keepdims=True)
    return spread


@pytest.mark.parametrize("dry", [0.0, 4.0])
@pytest.mark.parametrize(("count", "methods"), [(7, 1), (30, 3)])
def test_draws_are_scored_as_each_one_alone(count, methods, dry, monkeypatch):
    monkeypatch.setattr(module, "DRAWS_AT_ONCE", 30)
    monkeypatch.setattr(module, "BLOCK", 16)
    kept = months_of(count, methods, dry=dry)
    times = times_drawn(count, draws=100)
    edges = Bins(0.0, 50.0, is_log1p=True, count=kept.shape[-1]).edges
    biases, distances, above = drawn_scores(kept, times, edges, QUANTILES, LEVELS)
    for draw, drawn in enumerate(times):
        rows = np.tensordot(drawn, kept, axes=1)[:, None]
        truth, own, errors = rows[0], rows[1 : 1 + methods], rows[1 + methods :]
        wanted = np.stack([quantile(one, edges, QUANTILES) for one in own])[:, 0]
        wanted = wanted - quantile(truth, edges, QUANTILES)[0]
        np.testing.assert_allclose(biases[:, draw], wanted, rtol=1e-9, atol=1e-9)
        wanted = wasserstein(own, truth, edges)[:, 0]
        np.testing.assert_allclose(distances[:, draw], wanted, rtol=1e-9, atol=1e-12)
        wanted = rmse_above(truth, errors, LEVELS)[:, 0]
        np.testing.assert_allclose(above[:, draw], wanted, rtol=1e-9)


def test_nothing_has_no_scores():
    kept, times = np.zeros((7, 3, 64)), times_drawn(7, draws=5)
    for found in drawn_scores(kept, times, np.arange(65.0), QUANTILES, LEVELS):
        assert np.isnan(found).all()


def test_a_quantile_may_lie_in_the_last_bin():
    months = np.zeros((6, 100))
    months[:, -1] = 1.0
    place, share = Drawn(times_drawn(6, draws=4), months).cut(np.array([0.0, 0.5, 1.0]))
    assert place.tolist() == [[0, 99, 99]] * 4
    np.testing.assert_allclose(share[:, 1:], [[0.5, 1.0]] * 4)
