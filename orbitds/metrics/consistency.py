"""How well a fine field keeps to its coarse cells, and how visible their borders are."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from orbitds.metrics.moments import ratio


@dataclass(frozen=True, eq=False)
class Borders:
    """Which steps between neighbouring rows and columns cross a border."""

    rows: Bool[Tensor, "H_1"]
    """Of the steps from each row to the next."""
    columns: Bool[Tensor, "W_1"]
    """Of the steps from each column to the next."""

    @classmethod
    def every(cls, shape: tuple[int, int], rows: int, columns: int) -> "Borders":
        """Return the borders of blocks of so many rows and columns."""
        steps = (torch.arange(1, size) for size in shape)
        return cls(*(step % edge == 0 for step, edge in zip(steps, (rows, columns), strict=True)))

    @classmethod
    def at(cls, shape: tuple[int, int], rows: list[int], columns: list[int]) -> "Borders":
        """Return borders before the given rows and columns."""
        marks = (torch.zeros(size - 1, dtype=torch.bool) for size in shape)
        return cls(
            *(_marked(mark, place) for mark, place in zip(marks, (rows, columns), strict=True))
        )


def jump_sums(
    field: Float[Tensor, "T H W"], row_weight: Float[Tensor, "H"], borders: Borders
) -> Float[Tensor, "T 4"]:
    """Return the weighted absolute jumps across borders and their weight, then those elsewhere.

    NaN is missing: a jump to it does not count. Columns are not closed round the globe.
    """
    weight = row_weight.double()
    both = (weight[1:] + weight[:-1]) / 2
    down = (field[:, 1:] - field[:, :-1]).abs()
    right = (field[:, :, 1:] - field[:, :, :-1]).abs()
    sums = torch.zeros(len(field), 4, dtype=torch.float64)
    for jump, along, marks in (
        (down, both[:, None], borders.rows[:, None]),
        (right, weight[:, None], borders.columns[None]),
    ):
        known = ~jump.isnan()
        size = torch.where(known, jump, 0.0)
        # summed along the axis that has no border first: the marks then choose among few
        axis = 2 if marks.shape[1] == 1 else 1
        size, known = (_along(values, along, axis) for values in (size, known))
        marks = marks.flatten()
        for place, chosen in ((0, marks), (2, ~marks)):
            sums[:, place] += size[:, chosen].sum(dim=1)
            sums[:, place + 1] += known[:, chosen].sum(dim=1)
    return sums


def jump_index(sums: Float[np.ndarray, "*D 4"]) -> Float[np.ndarray, "*D"]:
    """Return the mean jump across borders over that elsewhere."""
    across, elsewhere = ratio(sums[..., 0], sums[..., 1]), ratio(sums[..., 2], sums[..., 3])
    return ratio(across, elsewhere)


def block_means(
    field: Float[Tensor, "T H W"], area: Float[Tensor, "H W"], factor: int
) -> tuple[Float[Tensor, "T Hc Wc"], Float[Tensor, "Hc Wc"]]:
    """Return area-weighted means over blocks of cells, NaN where one is missing, and their area."""
    rows, columns = area.shape[0] // factor, area.shape[1] // factor
    total = area.view(rows, factor, columns, factor).sum(dim=(1, 3))
    sums = (field * area).view(len(field), rows, factor, columns, factor).sum(dim=(2, 4))
    return sums / total, total


def _along(values: Tensor, weight: Tensor, axis: int) -> Tensor:
    """Return weighted sums along columns (axis 2) or rows (axis 1), by time, float64."""
    if axis == 2:  # the weight is that of the row
        return values.sum(dim=2, dtype=torch.float64) * weight.flatten()
    return torch.einsum("tij,i->tj", values.double(), weight.flatten())


def _marked(mark: Tensor, places: list[int]) -> Tensor:
    mark[[place - 1 for place in places if 0 < place <= len(mark)]] = True
    return mark
