"""The few scores of a first look: R2, RMSE, bias, SSIM and PSNR from seven sums."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from orbitds.metrics.moments import ROUNDING
from orbitds.metrics.structure import SSIM_WINDOW, psnr, ssim_map, window_mean


@dataclass
class Errors:
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
            centre = torch.where(window_mean(valid.double()) > 1 - 1e-9, centre, 0.0)
            self.ssim_weight += float(centre.sum())
            self.ssim_sum += float((centre * similarity).sum())

    def merge(self, other: "Errors") -> "Errors":
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
