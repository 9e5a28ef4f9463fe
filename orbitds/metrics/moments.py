"""Weighted sums of truth and error, and the scores that follow from them: R2, RMSE, bias, ..."""

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from orbitds.metrics.cells import Cells

# A variance below this share of the mean square is rounding: the truth is constant.
ROUNDING = 1e-12
Sums = dict[str, Float[Tensor, "T R"]]
# Values of sums: by region, or by draw of a bootstrap and region.
Values = Float[np.ndarray, "*D R"]


def truth_sums(
    truth: Float[Tensor, "T N"], valid: Bool[Tensor, "T N"] | None, cells: Cells
) -> Sums:
    """Return the sums of each time and region over the truth about an offset, 0 where missing."""
    weight = cells.area.expand(len(truth), -1) if valid is None else cells.sums(valid.double())
    return {
        "weight": weight,
        "truth": cells.sums(truth),
        "truth_squared": cells.sums(truth.square()),
    }


def error_sums(error: Float[Tensor, "T N"], truth: Float[Tensor, "T N"], cells: Cells) -> Sums:
    """Return the sums of each time and region over the error, 0 where missing."""
    return {
        "error": cells.sums(error),
        "error_squared": cells.sums(error.square()),
        "error_absolute": cells.sums(error.abs()),
        "error_truth": cells.sums(error * truth),
    }


def rmse(sums: dict[str, Values]) -> Values:
    """Return the root of the mean squared error."""
    return np.sqrt(ratio(sums["error_squared"], sums["weight"]))


def mae(sums: dict[str, Values]) -> Values:
    """Return the mean absolute error."""
    return ratio(sums["error_absolute"], sums["weight"])


def bias(sums: dict[str, Values]) -> Values:
    """Return the mean of prediction minus truth."""
    return ratio(sums["error"], sums["weight"])


def r2(sums: dict[str, Values]) -> Values:
    """Return 1 - SSE / SST, SST about the mean of the truth over space and time."""
    variance = truth_variance(sums)
    return 1 - ratio(ratio(sums["error_squared"], sums["weight"]), variance)


def pearson(sums: dict[str, Values]) -> Values:
    """Return the correlation of prediction and truth over space and time."""
    weight = sums["weight"]
    error, truth = ratio(sums["error"], weight), ratio(sums["truth"], weight)
    var_truth = truth_variance(sums)
    var_error = np.maximum(ratio(sums["error_squared"], weight) - error**2, 0)
    between = ratio(sums["error_truth"], weight) - error * truth
    # the prediction is truth plus error
    covariance = var_truth + between
    var_prediction = var_truth + 2 * between + var_error
    floor = ROUNDING * (np.abs(truth + error) ** 2 + var_truth)
    var_prediction = np.where(var_prediction > floor, var_prediction, np.nan)
    return np.clip(covariance / np.sqrt(var_truth * var_prediction), -1, 1)


def skill(sums: dict[str, Values], reference: dict[str, Values]) -> Values:
    """Return 1 - MSE / MSE of a reference; NaN where the reference is perfect."""
    return 1 - ratio(sums["error_squared"], reference["error_squared"])


def truth_variance(sums: dict[str, Values]) -> Values:
    """Return the variance of the truth over space and time; NaN where it is constant."""
    mean = ratio(sums["truth"], sums["weight"])
    square = ratio(sums["truth_squared"], sums["weight"])
    variance = square - mean**2
    return np.where(variance > ROUNDING * square, variance, np.nan)


def ratio(
    above: Float[np.ndarray, "*D"], below: Float[np.ndarray, "*D"]
) -> Float[np.ndarray, "*D"]:
    """Return a quotient; NaN where the divisor is zero."""
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below != 0)
