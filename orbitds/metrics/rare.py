"""Scores of what is rare, from sums, with intervals: tails of distributions, yearly extremes."""

import numpy as np
import torch
from jaxtyping import Float

from orbitds.metrics.bootstrap import interval, redraw, times_drawn
from orbitds.metrics.drawn import drawn_scores
from orbitds.metrics.extremes import extreme_errors, extreme_sums
from orbitds.metrics.frame import SEASONS
from orbitds.metrics.scores import EXTREME, MONTHLY, Scores
from orbitds.metrics.tails import quantile, rmse_above, wasserstein

TAILS = {"rmse_above_68": 0.68, "rmse_above_95": 0.95, "rmse_above_99_7": 0.997}
QUANTILES = {
    "quantile_bias_1": 0.01, "quantile_bias_50": 0.5, "quantile_bias_95": 0.95,
    "quantile_bias_99": 0.99, "quantile_bias_99_9": 0.999,
}  # fmt: skip
LEVELS, PERCENTILES = (np.array(list(names.values())) for names in (QUANTILES, TAILS))
# A score, and both ends of its interval; NaN where there is none.
Three = tuple[Float[np.ndarray, "M R"], Float[np.ndarray, "M R"], Float[np.ndarray, "M R"]]


def tail_scores(scores: Scores, season: str | None) -> dict[str, Three]:
    """Return the scores of distributions in a season, or of all times.

    Intervals are drawn from months, for the whole grid: its distribution is kept by month.
    """
    parts = [value for key, value in scores.of("tails").items() if season in (None, key)]
    methods, edges = len(scores.methods), scores.traits.bins.edges
    # [L A N] of patches to [L R N] of regions
    rows = (scores.frame.cells.members @ torch.stack(parts).sum(dim=0)).numpy()
    found = {name: without_interval(value) for name, value in _of(rows, methods, edges).items()}
    months = [
        value.numpy()
        for label, value in scores.of(MONTHLY).items()
        if season in (None, SEASONS[int(label[5:]) % 12 // 3])
    ]
    times = times_drawn(len(months))
    if times is None:
        return found
    drawn = _named(*drawn_scores(np.stack(months), times, edges, LEVELS, PERCENTILES))
    for name, (_, low, high) in found.items():
        low[:, 0], high[:, 0] = interval(drawn[name].T)
    return found


def yearly_scores(scores: Scores) -> dict[str, Three]:
    """Return bias and RMSE of yearly extremes, with intervals over years."""
    extreme, years = scores.traits.extreme, scores.of(EXTREME).values()
    if extreme is None:
        return {}
    sums = np.stack([extreme_sums(one, extreme, scores.frame.cells).numpy() for one in years])
    whole, drawn = extreme_errors(sums.sum(axis=0)), redraw(sums)
    names = (f"{extreme}_bias", f"{extreme}_rmse")
    if drawn is None:
        return {name: without_interval(value) for name, value in zip(names, whole, strict=True)}
    ends = [interval(values) for values in extreme_errors(drawn)]
    return {
        name: (value, low, high)
        for name, value, (low, high) in zip(names, whole, ends, strict=True)
    }


def without_interval(value: Float[np.ndarray, "M R"]) -> Three:
    """Return a score that has no interval."""
    return value, np.full_like(value, np.nan), np.full_like(value, np.nan)


def _of(
    rows: Float[np.ndarray, "L R N"], methods: int, edges: Float[np.ndarray, "N_1"]
) -> dict[str, Float[np.ndarray, "M R"]]:
    """Return scores of distributions of truth and methods, and of squared errors by bin."""
    truth, own, errors = rows[0], rows[1 : 1 + methods], rows[1 + methods :]
    biases = np.stack([quantile(one, edges, LEVELS) for one in own])
    biases -= quantile(truth, edges, LEVELS)
    return _named(biases, wasserstein(own, truth, edges), rmse_above(truth, errors, PERCENTILES))


def _named(
    biases: Float[np.ndarray, "M R P"],
    distances: Float[np.ndarray, "M R"],
    above: Float[np.ndarray, "M R Q"],
) -> dict[str, Float[np.ndarray, "M R"]]:
    found = {name: biases[..., place] for place, name in enumerate(QUANTILES)}
    found["wasserstein"] = distances
    return found | {name: above[..., place] for place, name in enumerate(TAILS)}
