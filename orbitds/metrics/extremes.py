"""Extremes of the year in each cell, and wet days."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from orbitds.metrics.cells import Cells
from orbitds.metrics.moments import Sums

# A wet day, as the indices of the Expert Team on Climate Change Detection have it.
WET_DAY_MM = 1.0
Extreme = Literal["rx1day", "txx", "tnn"]
# Lowest values are highest ones of the negative.
SIGNS = {"rx1day": 1.0, "txx": 1.0, "tnn": -1.0}


def highest(
    values: Float[Tensor, "M T N"], valid: Bool[Tensor, "T N"] | None, extreme: Extreme
) -> Float[Tensor, "M N"]:
    """Return the extreme over time of each cell, times its sign; -inf where nothing is valid."""
    sign = SIGNS[extreme]
    if valid is not None:
        values = values.masked_fill(~valid, -sign * torch.inf)
    return values.amax(dim=1) if sign > 0 else -values.amin(dim=1)


def extreme_errors(
    years: dict[str, Float[Tensor, "L N"]], extreme: Extreme, cells: Cells
) -> tuple[Float[Tensor, "M R"], Float[Tensor, "M R"]]:
    """Return bias and RMSE of the yearly extremes of each method, over years and cells.

    Parameters
    ----------
    years
        For each year, what ``highest`` gives of the truth, first, and of each method.
    """
    methods = len(next(iter(years.values()))) - 1
    regions = len(cells.members)
    weight = torch.zeros(regions, dtype=torch.float64)
    total = torch.zeros(2, methods, regions, dtype=torch.float64)
    for rows in years.values():
        valid = rows[0].isfinite()
        error = torch.where(valid, rows[1:].double() - rows[0].double(), 0.0) * SIGNS[extreme]
        weight += cells.sums(valid.double())
        total += torch.stack([cells.sums(error), cells.sums(error.square())])
    bias, square = total / torch.where(weight > 0, weight, torch.nan)
    return bias, square.sqrt()


def wet_sums(amount: Float[Tensor, "T N"], weight: Float[Tensor, "T N"]) -> Sums:
    """Return the weight of wet days and the amount that falls on them, at each time."""
    wet = weight * (amount >= WET_DAY_MM)
    return {"wet": wet.sum(dim=-1), "wet_amount": torch.linalg.vecdot(wet, amount)}
