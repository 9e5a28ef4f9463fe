"""Fractions skill score: whether the share of wet cells is right in a neighbourhood."""

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from orbitds.metrics.moments import ratio

# Amounts from which a cell counts, in the unit of a day's precipitation, and widths in cells.
THRESHOLDS_MM = (1, 10)
WIDTHS = (5, 15)


def counts(field: Float[Tensor, "T H W"]) -> dict[str, UInt8[Tensor, "T H2 W2"]]:
    """Return how many cells around each cell are at or above each threshold, by name of the score.

    Windows are whole ones: a field smaller than a window has none. What is missing is below.
    """
    found = {}
    for threshold in THRESHOLDS_MM:
        sums = windows((field >= threshold).byte())
        found |= {f"fss_{threshold}mm_{width}": sums[width] for width in WIDTHS}
    return found


def windows(marks: UInt8[Tensor, "T H W"]) -> dict[int, UInt8[Tensor, "T H2 W2"]]:
    """Return the number of marked cells in whole windows of each width."""
    narrow = _sum(marks, WIDTHS[0], step=1)
    # 15 x 15 = 225 fits into a byte; a wide window is 3 x 3 narrow ones side by side
    return dict(
        zip(WIDTHS, (narrow, _sum(narrow, WIDTHS[1] // WIDTHS[0], step=WIDTHS[0])), strict=True)
    )


def padded(
    windows: Shaped[Tensor, "T H2 W2"], shape: tuple[int, int], width: int
) -> Shaped[Tensor, "T H W"]:
    """Return values of windows at the centre of each, 0 where there is no whole window."""
    inner = width // 2
    field = windows.new_zeros(len(windows), *shape)
    if windows.numel():
        field[:, inner : shape[0] - inner, inner : shape[1] - inner] = windows
    return field


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
