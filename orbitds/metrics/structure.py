"""Structural similarity and peak signal-to-noise ratio."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

# Wang et al. 2004: window of 7 cells with uniform weights, K1 = 0.01, K2 = 0.03.
SSIM_WINDOW = 7
SSIM_K1, SSIM_K2 = 0.01, 0.03
# The other window of Wang et al. 2004, that of their figures: weights of a normal distribution.
GAUSSIAN_WINDOW, GAUSSIAN_CELLS = 11, 1.5
Window = Literal["uniform", "gaussian"]
WINDOWS = {"uniform": "7 x 7 cells", "gaussian": "11 x 11 cells, Gaussian"}
WIDTHS: dict[Window, int] = {"uniform": SSIM_WINDOW, "gaussian": GAUSSIAN_WINDOW}
# Cells of a band of rows: a handful of them fit into a cache of 2 MB.
BAND_CELLS = 2**16


def psnr(mse: float, data_range: float) -> float:
    """Return the peak signal-to-noise ratio in decibel; infinite for a perfect prediction."""
    if mse == 0:
        return float("inf")
    return 10 * float(torch.log10(torch.tensor(data_range**2 / mse, dtype=torch.float64)))


def ssim_map(
    prediction: Float[Tensor, "T H W"], truth: Float[Tensor, "T H W"], data_range: float
) -> Float[Tensor, "T H-6 W-6"]:
    """Return the structural similarity of each whole 7 x 7 window.

    References
    ----------
    Wang et al. 2004, Image quality assessment: from error visibility to structural similarity.
    """
    c1, c2 = (SSIM_K1 * data_range) ** 2, (SSIM_K2 * data_range) ** 2
    cells = SSIM_WINDOW**2
    unbiased = cells / (cells - 1)
    mean_p, mean_t = window_mean(prediction), window_mean(truth)
    var_p = unbiased * (window_mean(prediction**2) - mean_p**2)
    var_t = unbiased * (window_mean(truth**2) - mean_t**2)
    covariance = unbiased * (window_mean(prediction * truth) - mean_p * mean_t)
    return ((2 * mean_p * mean_t + c1) * (2 * covariance + c2)) / (
        (mean_p**2 + mean_t**2 + c1) * (var_p + var_t + c2)
    )


def fast_ssim_map(
    prediction: Float[Tensor, "T H W"],
    truth: Float[Tensor, "T H W"],
    data_range: float,
    offset: float,
) -> Float[Tensor, "T H-6 W-6"]:
    """Return ``ssim_map`` from sums and differences of the fields, in their own precision.

    Four windowed means instead of five, each by adding shifted rows and columns, over bands of rows
    that stay in the processor's cache. The fields are taken about ``offset``, a typical value, so
    that float32 keeps about 1e-5 of the similarity.
    """
    times, rows, columns = truth.shape
    similarity = truth.new_empty(times, rows - 6, columns - 6)
    band = max(1, BAND_CELLS // (times * columns))
    for start in range(0, rows - 6, band):
        part = slice(start, min(start + band, rows - 6) + 6)
        similarity[:, start : start + band] = _ssim_band(
            prediction[:, part], truth[:, part], data_range, offset
        )
    return similarity


def gaussian_ssim_map(
    prediction: Float[Tensor, "T H W"],
    truth: Float[Tensor, "T H W"],
    data_range: float,
    offset: float,
) -> Float[Tensor, "T H-10 W-10"]:
    """Return the structural similarity of each whole 11 x 11 window with Gaussian weights.

    Their standard deviation is 1.5 cells; (co)variances are those of the weights, without the
    correction for a sample. The fields are taken about ``offset``, as float32 wants it.
    """
    c1, c2 = (SSIM_K1 * data_range) ** 2, (SSIM_K2 * data_range) ** 2
    prediction, truth = prediction - offset, truth - offset
    mean_p, mean_t, square_p, square_t, product = (
        _gaussian_mean(field)
        for field in (prediction, truth, prediction**2, truth**2, prediction * truth)
    )
    variances = square_p - mean_p**2 + square_t - mean_t**2
    covariance = product - mean_p * mean_t
    mean_p, mean_t = mean_p + offset, mean_t + offset
    return ((2 * mean_p * mean_t + c1) * (2 * covariance + c2)) / (
        (mean_p**2 + mean_t**2 + c1) * (variances + c2)
    )


def _gaussian_mean(field: Float[Tensor, "T H W"]) -> Float[Tensor, "T H-10 W-10"]:
    cells = torch.arange(GAUSSIAN_WINDOW, dtype=torch.float64) - GAUSSIAN_WINDOW // 2
    weight = torch.exp(-(cells**2) / (2 * GAUSSIAN_CELLS**2))
    weight = (weight / weight.sum()).to(field.dtype)
    down = F.conv2d(field[:, None], weight[None, None, :, None])
    return F.conv2d(down, weight[None, None, None])[:, 0]


def _ssim_band(prediction: Tensor, truth: Tensor, data_range: float, offset: float) -> Tensor:
    c1, c2 = (SSIM_K1 * data_range) ** 2, (SSIM_K2 * data_range) ** 2
    cells = SSIM_WINDOW**2
    half = cells / (cells - 1) / 2  # of the unbiased variance
    total = (prediction + truth).sub_(2 * offset)
    difference = prediction - truth
    mean_sum, mean_difference = (seven_sum(field).div_(cells) for field in (total, difference))
    squares = seven_sum(total.square_()), seven_sum(difference.square_())
    square_difference = mean_difference.square_()
    # of a = p + t and b = p - t: var a + var b = 2 (var p + var t), var a - var b = 4 cov(p, t)
    var_sum = squares[0].mul_(half / cells).sub_(mean_sum.square(), alpha=half)
    var_difference = squares[1].mul_(half / cells).sub_(square_difference, alpha=half)
    square_sum = mean_sum.add_(2 * offset).square_()
    above = (var_sum - var_difference).add_(c2)
    above *= (square_sum - square_difference).mul_(0.5).add_(c1)
    below = var_sum.add_(var_difference).add_(c2)
    below *= square_sum.add_(square_difference).mul_(0.5).add_(c1)
    return above.div_(below)


def window_mean(field: Float[Tensor, "T H W"]) -> Float[Tensor, "T H-6 W-6"]:
    """Return the means of all whole 7 x 7 windows."""
    return F.avg_pool2d(field[:, None], SSIM_WINDOW, stride=1)[:, 0]


def seven_sum(field: Float[Tensor, "T H W"]) -> Float[Tensor, "T H-6 W-6"]:
    """Return the sums of all whole 7 x 7 windows, by doubling: 2, 4, then 4 + 2 + 1 cells."""
    for axis in (1, 2):
        size = field.shape[axis] - 6
        two = _shifted(field, axis, 0, size + 5) + _shifted(field, axis, 1, size + 5)
        four = _shifted(two, axis, 0, size) + _shifted(two, axis, 2, size)
        field = four.add_(_shifted(two, axis, 4, size)).add_(_shifted(field, axis, 6, size))
    return field


def _shifted(field: Tensor, axis: int, start: int, size: int) -> Tensor:
    return field.narrow(axis, start, size)
