"""Weighted sums of truth and error, and the scores that follow from them: R2, RMSE, bias, ..."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

# A variance below this share of the mean square is rounding: the truth is constant.
ROUNDING = 1e-12
# Values of sums: by region, or by draw of a bootstrap and region.
Values = Float[np.ndarray, "*D R"]
TRUTH = ("truth", "truth_squared")
ERRORS = ("error", "error_squared", "error_absolute", "error_truth")


def truth_sums(truth: Float[Tensor, "T N"]) -> Float[Tensor, "2 N"]:
    """Return ``TRUTH`` over a few times, from the truth about an offset.

    A variance is the small difference of two of these: over cells they are added in float64.
    """
    return torch.stack([truth.sum(dim=0), truth.square().sum(dim=0)])


def error_products(
    prediction: Float[Tensor, "T N"], truth: Float[Tensor, "T N"], centred: Float[Tensor, "T N"]
) -> Float[Tensor, "4 T N"]:
    """Return what ``ERRORS`` are sums of.

    Parameters
    ----------
    centred
        The truth about an offset.
    """
    products = truth.new_empty(4, *truth.shape)
    error, square, absolute, product = products
    torch.sub(prediction, truth, out=error)
    torch.square(error, out=square)
    torch.abs(error, out=absolute)
    torch.mul(error, centred, out=product)
    return products


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
