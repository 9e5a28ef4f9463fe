"""Extremes of the year in each cell, and wet days."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from orbitds.metrics.cells import Cells
from orbitds.metrics.moments import ratio

# A wet day, as the indices of the Expert Team on Climate Change Detection have it.
WET_DAY_MM = 1.0
Extreme = Literal["rx1day", "txx", "tnn"]
# Lowest values are highest ones of the negative.
SIGNS = {"rx1day": 1.0, "txx": 1.0, "tnn": -1.0}
# Sums of wet days.
WET = ("wet", "wet_amount")


def highest(
    values: Float[Tensor, "M T N"], valid: Bool[Tensor, "T N"] | None, extreme: Extreme
) -> Float[Tensor, "M N"]:
    """Return the extreme over time of each cell, times its sign; -inf where nothing is valid."""
    sign = SIGNS[extreme]
    if valid is not None:
        values = values.masked_fill(~valid, -sign * torch.inf)
    return values.amax(dim=1) if sign > 0 else -values.amin(dim=1)


def extreme_sums(
    peaks: Float[Tensor, "L N"], extreme: Extreme, cells: Cells
) -> Float[Tensor, "3 M R"]:
    """Return weight, error and squared error of the extremes of a year, over regions.

    Parameters
    ----------
    peaks
        What ``highest`` gives of the truth, first, and of each method.
    """
    valid = peaks[0].isfinite()
    error = torch.where(valid, peaks[1:].double() - peaks[0].double(), 0.0) * SIGNS[extreme]
    weight = cells.sums(valid.double()).expand(len(error), -1)
    return torch.stack([weight, cells.sums(error), cells.sums(error.square())])


def extreme_errors(
    sums: Float[np.ndarray, "*D 3 M R"],
) -> tuple[Float[np.ndarray, "*D M R"], Float[np.ndarray, "*D M R"]]:
    """Return bias and RMSE of yearly extremes from the sums over years."""
    weight, error, square = np.moveaxis(sums, -3, 0)
    return ratio(error, weight), np.sqrt(ratio(square, weight))


def wet_sums(
    amount: Float[Tensor, "T N"], valid: Bool[Tensor, "T N"] | None
) -> Float[Tensor, "2 N"]:
    """Return the number of wet days of each cell, and the amount that falls on them."""
    wet = torch.ge(amount, WET_DAY_MM, out=torch.empty_like(amount))
    if valid is not None:
        wet *= valid
    return torch.stack([wet.sum(dim=0), wet.mul_(amount).sum(dim=0)])
