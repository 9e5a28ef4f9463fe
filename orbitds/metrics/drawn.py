"""Scores of distributions for many draws of months: what a draw needs is summed once by month."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from orbitds.metrics.tails import quantile_at, rmse_of

# Draws whose distribution functions are in memory at once.
DRAWS_AT_ONCE = 100
# Neighbouring bins among which a quantile is looked for at once.
BLOCK = 64


@dataclass(frozen=True, eq=False)
class Drawn:
    """Histograms of draws, each the sum of some months; no bin is summed that is not asked for.

    Parameters
    ----------
    times
        How often each draw has each month.
    months
        Histogram of each month.
    """

    times: Float[np.ndarray, "D B"]
    months: Float[np.ndarray, "B N"]

    @cached_property
    def reached(self) -> Float[np.ndarray, "B N"]:
        """Sums of each month up to and with each bin."""
        return np.cumsum(self.months, axis=1)

    @cached_property
    def total(self) -> Float[np.ndarray, "D"]:
        """Sum of each draw over all bins."""
        return self.times @ self.reached[:, -1]

    def cut(
        self, probabilities: Float[np.ndarray, "P"]
    ) -> tuple[Int[np.ndarray, "D P"], Float[np.ndarray, "D P"]]:
        """Return the bin that holds each share of the weight, and the share of the bin below it.

        The share is NaN where there is no weight at all.
        """
        wanted = self.total[:, None] * probabilities
        place = np.stack([self._first_at_least(one) for one in wanted.T], axis=1)
        inside, reached = self.at(place), self._taken(self.reached, place)
        below = wanted - (reached - inside)
        share = np.divide(below, inside, out=np.zeros(wanted.shape), where=inside > 0)
        return place, np.where(self.total[:, None] > 0, share.clip(0, 1), np.nan)

    def at(self, place: Int[np.ndarray, "D P"]) -> Float[np.ndarray, "D P"]:
        """Return the content of some bins of each draw."""
        return self._taken(self.months, place)

    def above(self, place: Int[np.ndarray, "D P"]) -> Float[np.ndarray, "D P"]:
        """Return the sums of each draw over the bins above some."""
        # summed from the top: a tail is not the small difference of two large sums
        from_top = np.cumsum(self.months[:, ::-1], axis=1)[:, ::-1]
        last = from_top.shape[1] - 1
        return np.where(place < last, self._taken(from_top, np.minimum(place + 1, last)), 0.0)

    def _first_at_least(self, wanted: Float[np.ndarray, "D"]) -> Int[np.ndarray, "D"]:
        """Return the first bin up to which each draw reaches what is wanted, or the last."""
        ends = self.times @ self.reached[:, BLOCK - 1 :: BLOCK]
        block = (ends < wanted[:, None]).sum(axis=1)
        # draws are alike: all of them cross within a few blocks
        first, stop = block.min() * BLOCK, (block.max() + 1) * BLOCK
        near = self.times @ self.reached[:, first:stop]
        place = first + (near < wanted[:, None]).sum(axis=1)
        return np.minimum(place, self.reached.shape[1] - 1)

    def _taken(
        self, sums: Float[np.ndarray, "B N"], place: Int[np.ndarray, "D P"]
    ) -> Float[np.ndarray, "D P"]:
        return np.einsum("db,bdp->dp", self.times, sums[:, place])


def drawn_scores(
    months: Float[np.ndarray, "B L N"],
    times: Float[np.ndarray, "D B"],
    edges: Float[np.ndarray, "N_1"],
    quantiles: Float[np.ndarray, "P"],
    levels: Float[np.ndarray, "Q"],
) -> tuple[Float[np.ndarray, "M D P"], Float[np.ndarray, "M D"], Float[np.ndarray, "M D Q"]]:
    """Return quantiles of methods less the truth's, Wasserstein distances, and RMSE above levels.

    As ``tails.quantile``, ``tails.wasserstein`` and ``tails.rmse_above`` give them of each draw.

    Parameters
    ----------
    months
        Rows of truth and methods, which weigh the same, then those of squared errors by bin of the
        truth.
    times
        How often each draw has each month.
    """
    truth, *rows = (Drawn(times, months[:, row]) for row in range(months.shape[1]))
    own, errors = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    wanted = quantile_at(*truth.cut(quantiles), edges)
    place, share = truth.cut(levels)
    rest = np.where(place > 0, 1 - share, 0)
    weight = truth.above(place) + rest * truth.at(place)
    return (
        np.stack([quantile_at(*one.cut(quantiles), edges) - wanted for one in own]),
        np.stack([_distances(one, truth, edges) for one in own]),
        np.stack([rmse_of(one.above(place) + rest * one.at(place), weight) for one in errors]),
    )


def _distances(one: Drawn, truth: Drawn, edges: Float[np.ndarray, "N_1"]) -> Float[np.ndarray, "D"]:
    """Return the Wasserstein distances of each draw: areas between distribution functions."""
    apart = one.reached - truth.reached
    known = np.flatnonzero(apart.any(axis=0))
    kept = slice(known[0], known[-1] + 1) if len(known) else slice(0)
    # the mean of both ends of each bin, and zero before the first
    widths = np.diff(edges)
    widths[:-1] += widths[1:]
    areas = [
        np.abs(some @ apart[:, kept]) @ (widths[kept] / 2)
        for some in np.array_split(truth.times, -(-len(truth.times) // DRAWS_AT_ONCE))
    ]
    total = truth.total
    return np.divide(
        np.concatenate(areas), total, out=np.full(total.shape, np.nan), where=total > 0
    )
