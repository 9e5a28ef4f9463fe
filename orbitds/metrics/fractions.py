"""Fractions skill score: whether the share of wet cells is right in a neighbourhood."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from orbitds.metrics.moments import ratio

# Amounts from which a cell counts, in the unit of a day's precipitation, and widths in cells.
THRESHOLDS_MM = (1, 10)
WIDTHS = (5, 15)


def counts(
    field: Float[Tensor, "T H W"], valid: dict[int, UInt8[Tensor, "T H2 W2"]] | None = None
) -> dict[int, UInt8[Tensor, "K T H2 W2"]]:
    """Return how many cells around each cell are at or above each threshold, by width.

    Windows are whole ones: a field smaller than a window has none. What is missing is below.

    Parameters
    ----------
    valid
        Number of valid cells in each window: where one is missing nothing is counted.
    """
    sums = [windows((field >= threshold).byte()) for threshold in THRESHOLDS_MM]
    found = {width: torch.stack([each[width] for each in sums]) for width in WIDTHS}
    if valid is None:
        return found
    return {width: count.mul_(valid[width] == width**2) for width, count in found.items()}


def windows(marks: UInt8[Tensor, "T H W"]) -> dict[int, UInt8[Tensor, "T H2 W2"]]:
    """Return the number of marked cells in whole windows of each width."""
    narrow = _sum(marks, WIDTHS[0], step=1)
    # 15 x 15 = 225 fits into a byte; a wide window is 3 x 3 narrow ones side by side
    return dict(
        zip(WIDTHS, (narrow, _sum(narrow, WIDTHS[1] // WIDTHS[0], step=WIDTHS[0])), strict=True)
    )


def skill(
    apart: Float[np.ndarray, "*D R"], worst: Float[np.ndarray, "*D R"]
) -> Float[np.ndarray, "*D R"]:
    """Return 1 - mean (P - T)^2 / mean (P^2 + T^2) of the fractions; NaN where all is dry.

    References
    ----------
    Roberts and Lean 2008, Scale-selective verification of rainfall accumulations.
    """
    return 1 - ratio(apart, worst)


def _sum(marks: UInt8[Tensor, "T H W"], count: int, *, step: int) -> UInt8[Tensor, "T H2 W2"]:
    """Return sums of so many neighbours along rows and columns, none where the field is smaller."""
    for axis in (1, 2):
        size = marks.shape[axis] - (count - 1) * step
        if size <= 0:
            return marks.new_zeros(len(marks), 0, 0)
        total = marks.narrow(axis, 0, size).clone()
        for place in range(1, count):
            total += marks.narrow(axis, place * step, size)
        marks = total
    return marks
