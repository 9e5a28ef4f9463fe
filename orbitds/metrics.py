"""Streaming, area-weighted, masked scores: R2, RMSE, bias, SSIM and PSNR in physical units."""

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

# Wang et al. 2004: window of 7 cells with uniform weights, K1 = 0.01, K2 = 0.03.
SSIM_WINDOW = 7
SSIM_K1, SSIM_K2 = 0.01, 0.03
# A variance below this share of the mean square is rounding: the truth is constant.
ROUNDING = 1e-12


@dataclass
class Scores:
    """Weighted sums of one variable, from which every score follows.

    Sums of parts are the sum of the whole, so a period may be streamed in blocks, and the parts of
    several processes merged, without changing a score.
    """

    weight: float = 0.0
    error: float = 0.0
    error_squared: float = 0.0
    truth: float = 0.0
    truth_squared: float = 0.0
    ssim_weight: float = 0.0
    ssim_sum: float = 0.0

    def add(
        self,
        prediction: Float[Tensor, "T H W"],
        truth: Float[Tensor, "T H W"],
        area: Float[Tensor, "H W"],
        data_range: float,
    ) -> None:
        """Add a block of fields in physical units.

        Parameters
        ----------
        area
            Weight of each cell. Cells where the truth is NaN do not count.
        data_range
            Fixed range of the variable for SSIM.

        Raises
        ------
        ValueError
            If the prediction is NaN where the truth is not.
        """
        prediction, truth, area = prediction.double(), truth.double(), area.double()
        valid = ~truth.isnan()
        lost = int((prediction.isnan() & valid).sum())
        if lost:
            raise ValueError(
                f"Wanted a prediction wherever there is truth, got NaN in {lost} of "
                f"{int(valid.sum())} cells. Check the downscaling, or mask the truth there."
            )
        prediction, truth = (torch.where(valid, field, 0.0) for field in (prediction, truth))
        weight = area * valid
        error = prediction - truth
        self.weight += float(weight.sum())
        self.error += float((weight * error).sum())
        self.error_squared += float((weight * error**2).sum())
        self.truth += float((weight * truth).sum())
        self.truth_squared += float((weight * truth**2).sum())
        if min(truth.shape[-2:]) >= SSIM_WINDOW:
            similarity = ssim_map(prediction, truth, data_range)
            inner = SSIM_WINDOW // 2
            centre = weight[..., inner:-inner, inner:-inner]
            # a window with a missing cell says nothing
            centre = torch.where(_window_mean(valid.double()) > 1 - 1e-9, centre, 0.0)
            self.ssim_weight += float(centre.sum())
            self.ssim_sum += float((centre * similarity).sum())

    def merge(self, other: "Scores") -> "Scores":
        """Return the scores of two disjoint parts together."""
        sums = {
            row.name: getattr(self, row.name) + getattr(other, row.name) for row in fields(self)
        }
        return type(self)(**sums)

    def result(self, data_range: float) -> dict[str, float]:
        """Return the scores by name; NaN where there is nothing to score.

        ``rmse`` and ``bias`` are in the variable's unit, ``psnr`` in decibel, ``r2`` = 1 - SSE/SST
        with SST about the mean of the truth over space and time.
        """
        if self.weight == 0:
            return dict.fromkeys(("r2", "rmse", "bias", "ssim", "psnr"), float("nan"))
        mse = self.error_squared / self.weight
        variance = self.truth_squared / self.weight - (self.truth / self.weight) ** 2
        floor = ROUNDING * self.truth_squared / self.weight
        return {
            "r2": 1 - mse / variance if variance > floor else float("nan"),
            "rmse": mse**0.5,
            "bias": self.error / self.weight,
            "ssim": self.ssim_sum / self.ssim_weight if self.ssim_weight else float("nan"),
            "psnr": psnr(mse, data_range),
        }


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
    mean_p, mean_t = _window_mean(prediction), _window_mean(truth)
    var_p = unbiased * (_window_mean(prediction**2) - mean_p**2)
    var_t = unbiased * (_window_mean(truth**2) - mean_t**2)
    covariance = unbiased * (_window_mean(prediction * truth) - mean_p * mean_t)
    return ((2 * mean_p * mean_t + c1) * (2 * covariance + c2)) / (
        (mean_p**2 + mean_t**2 + c1) * (var_p + var_t + c2)
    )


def _window_mean(field: Float[Tensor, "T H W"]) -> Tensor:
    return F.avg_pool2d(field[:, None], SSIM_WINDOW, stride=1)[:, 0]
