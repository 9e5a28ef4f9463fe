"""Distributions of values as histograms of fine fixed bins: quantiles, tails, Wasserstein."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int, Int32, Int64
from torch import Tensor

COUNT = 4096
Histogram = Float[np.ndarray, "R N"]


@dataclass(frozen=True)
class Bins:
    """Bins of equal width between two values, or of equal width in log1p of them.

    What lies outside is counted in the outermost bin. Within a bin values count as spread evenly:
    a quantile is exact to the width of its bin, and so is a distance of distributions.
    """

    low: float
    high: float
    is_log1p: bool = False
    count: int = COUNT

    @cached_property
    def edges(self) -> Float[np.ndarray, "N_1"]:
        """Edges of the bins in the unit of the variable, [count + 1]."""
        if self.is_log1p:
            return np.expm1(np.linspace(np.log1p(self.low), np.log1p(self.high), self.count + 1))
        return np.linspace(self.low, self.high, self.count + 1)

    def logarithm(self) -> "Bins":
        """Return the bins of log1p of the values: each lies in the same one as before.

        Raises
        ------
        ValueError
            If the bins are not of equal width in log1p, or begin below zero.
        """
        if not self.is_log1p or self.low < 0:
            raise ValueError(
                f"Wanted bins of equal width in log1p from 0 or more, got {self}. "
                "Score the logarithm of amounts alone."
            )
        return Bins(float(np.log1p(self.low)), float(np.log1p(self.high)), count=self.count)

    def index(self, values: Float[Tensor, "*T N"]) -> Int32[Tensor, "*T N"]:
        """Return the bin of each value, none of which is missing."""
        if self.is_log1p:
            return self.logarithm().index(values.clamp(min=self.low).log1p())
        scaled = (values - self.low).mul_(self.count / (self.high - self.low))
        # clamped as floats: what is infinite has no integer
        return scaled.clamp_(0, self.count - 1).int()


def add_to_histogram(
    histogram: Float[Tensor, "B"], index: Int64[Tensor, "T N"], weight: Float[Tensor, "T N"]
) -> None:
    """Add the weight of values to the bins that they lie in, in place."""
    histogram.scatter_add_(0, index.flatten(), weight.flatten())


def quantile(
    histogram: Histogram, edges: Float[np.ndarray, "N_1"], probabilities: Float[np.ndarray, "P"]
) -> Float[np.ndarray, "R P"]:
    """Return the quantiles of each histogram; NaN where there is nothing.

    Linear within a bin, as if its values were spread evenly.
    """
    return quantile_at(*_cut(histogram, probabilities), edges)


def rmse_above(
    truth: Histogram,
    error_squared: Float[np.ndarray, "*M R N"],
    probabilities: Float[np.ndarray, "P"],
) -> Float[np.ndarray, "*M R P"]:
    """Return the RMSE over cells where the truth exceeds each of its quantiles.

    The lowest bin is dry where values are amounts: many are alike there, and none of them exceeds
    a quantile that lies in it.

    Parameters
    ----------
    error_squared
        Weighted squared errors in the bins of the truth, of one method or several.
    """
    place, share = _cut(truth, probabilities)
    rest = np.where(place > 0, 1 - share, 0)
    above, squared = (
        _beyond(sums, place) + rest * _at(sums, place) for sums in (truth, error_squared)
    )
    return rmse_of(squared, above)


def wasserstein(
    some: Float[np.ndarray, "*M R N"], other: Histogram, edges: Float[np.ndarray, "N_1"]
) -> Float[np.ndarray, "*M R"]:
    """Return Wasserstein distances of order 1: the areas between distribution functions."""
    with np.errstate(invalid="ignore"):
        first, second = (
            np.cumsum(sums / sums.sum(axis=-1, keepdims=True), axis=-1) for sums in (some, other)
        )
        apart = np.abs(first - second)
    # the mean of both ends of each bin, and zero before the first
    widths = np.diff(edges)
    return (apart[..., :-1] * (widths[:-1] + widths[1:])).sum(axis=-1) / 2 + (
        apart[..., -1] * widths[-1] / 2
    )


def quantile_at(
    place: Int[np.ndarray, "R P"],
    share: Float[np.ndarray, "R P"],
    edges: Float[np.ndarray, "N_1"],
) -> Float[np.ndarray, "R P"]:
    """Return the value at a share of some bins."""
    return edges[place] + share * np.diff(edges)[place]


def rmse_of(
    squared: Float[np.ndarray, "*M R P"], weight: Float[np.ndarray, "R P"]
) -> Float[np.ndarray, "*M R P"]:
    """Return the root of the mean of weighted squares; NaN where there is no weight."""
    return np.sqrt(np.divide(squared, weight, out=np.full(squared.shape, np.nan), where=weight > 0))


def _cut(
    weights: Histogram, probabilities: Float[np.ndarray, "P"]
) -> tuple[Int[np.ndarray, "R P"], Float[np.ndarray, "R P"]]:
    """Return the bin that holds each share of the weight, and the share of the bin below it.

    The share is NaN where there is no weight at all.
    """
    reached = np.cumsum(weights, axis=1)
    wanted = probabilities * reached[:, -1:]
    place = np.stack([np.searchsorted(*pair) for pair in zip(reached, wanted, strict=True)])
    place = place.clip(0, weights.shape[1] - 1)
    inside = np.take_along_axis(weights, place, axis=1)
    before = np.take_along_axis(reached, place, axis=1) - inside
    share = np.divide(wanted - before, inside, out=np.zeros(wanted.shape), where=inside > 0)
    return place, np.where(reached[:, -1:] > 0, share.clip(0, 1), np.nan)


def _beyond(
    sums: Float[np.ndarray, "*M R N"], place: Int[np.ndarray, "R P"]
) -> Float[np.ndarray, "*M R P"]:
    """Return the sum over the bins above each place."""
    # summed from the top: a tail is not the small difference of two large sums
    from_top = np.cumsum(sums[..., ::-1], axis=-1)[..., ::-1]
    last = sums.shape[-1] - 1
    return np.where(place < last, _at(from_top, np.minimum(place + 1, last)), 0.0)


def _at(
    sums: Float[np.ndarray, "*M R N"], place: Int[np.ndarray, "R P"]
) -> Float[np.ndarray, "*M R P"]:
    """Return the bins at some places, the same of all methods."""
    return np.take_along_axis(sums, np.broadcast_to(place, (*sums.shape[:-2], *place.shape)), -1)
