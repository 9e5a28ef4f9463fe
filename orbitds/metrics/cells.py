"""The cells of a grid in strips of whole rows, and sums over regions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int32, Int64, Shaped
from torch import Tensor

# Cells of a strip: enough for the time of a call not to count.
STRIP_CELLS = 2**16
# A grid has so many strips at least, for threads to share, if they have so many cells then.
LEAST_STRIPS, LEAST_CELLS = 8, 2**12
# Regions whose membership fits into one integer beside the number of an earlier group.
_BITS = 32


@dataclass(frozen=True, eq=False)
class Strip:
    """A few whole rows of a grid.

    Parameters
    ----------
    place
        Which of the cells they are.
    patches
        Patches that occur among them.
    label
        Patch of each cell.
    weight
        Area of each cell, float64.
    """

    place: slice
    patches: Int64[Tensor, "A"]
    label: Int32[Tensor, "N"]
    weight: Float[Tensor, "N"]

    @cached_property
    def area(self) -> Float[Tensor, "A N"]:
        """Area of each cell in the row of its patch, zero in the others, float64."""
        if len(self.patches) == 1:
            return self.weight[None]
        return (self.label == self.patches[:, None]) * self.weight

    @cached_property
    def light_weight(self) -> Float[Tensor, "N"]:
        """Area of each cell, float32."""
        return self.weight.float()

    def sums(self, values: Float[Tensor, "S N"]) -> Float[Tensor, "S A"]:
        """Return the area-weighted sums of float64 values over each patch."""
        # one product of matrices reads each value once, however many patches there are
        return F.linear(values, self.area)

    def total(self, values: Float[Tensor, "T N"]) -> Float[Tensor, "T"]:
        """Return the area-weighted sums over all cells, in the precision of the values."""
        is_light = values.dtype == torch.float32
        return torch.mv(values, self.light_weight if is_light else self.weight).double()


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a grid with regions, which may overlap.

    Cells that lie in the same regions are a patch; sums are taken over patches, each cell read
    once, and those of regions are sums of patches.
    """

    label: Int32[Tensor, "H W"]
    """Patch of each cell."""
    weight: Float[Tensor, "H W"]
    """Area of each cell, float64."""
    members: Float[Tensor, "R A"]
    """1 where a patch belongs to a region, else 0."""

    @classmethod
    def of(cls, area: Float[Tensor, "H W"], regions: Bool[Tensor, "R H W"]) -> "Cells":
        """Return the cells of a grid with regions as masks."""
        masks = regions.flatten(1)
        patch = torch.zeros(masks.shape[1], dtype=torch.int64)
        for first in range(0, len(masks), _BITS):
            for mask in masks[first : first + _BITS]:
                patch = 2 * patch + mask
            patch = torch.unique(patch, return_inverse=True)[1]
        # any cell of a patch knows its regions
        some = torch.zeros(int(patch.max()) + 1, dtype=torch.int64)
        some[patch] = torch.arange(len(patch))
        return cls(patch.view(area.shape).int(), area.double(), masks[:, some].double())

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.label.shape[0], self.label.shape[1]

    @property
    def patches(self) -> int:
        """Number of patches."""
        return self.members.shape[1]

    @cached_property
    def area(self) -> Float[Tensor, "R"]:
        """Area of each region."""
        return self.sums(torch.ones(self.label.numel(), dtype=torch.float64))

    @cached_property
    def strips(self) -> list[Strip]:
        """Strips of all cells, in order; they keep the areas of their patches."""
        return list(self._strips(0))

    def sums(self, values: Shaped[Tensor, "*T N"]) -> Float[Tensor, "*T R"]:
        """Return the area-weighted sums over each region, float64.

        A cell that does not count is zero.
        """
        rows = values.flatten(0, -2) if values.dim() > 1 else values[None]
        found = self.sums_of(lambda place: rows[:, place], len(rows))
        return found.reshape(*values.shape[:-1], len(self.members))

    def sums_of(
        self, rows: Callable[[slice], Shaped[Tensor, "S N"]], count: int, margin: int = 0
    ) -> Float[Tensor, "S R"]:
        """Return the area-weighted sums over each region of what is made strip by strip, float64.

        Parameters
        ----------
        rows, count
            Gives so many rows of values for a place among all cells but those of a margin.
        """
        total = torch.zeros(count, self.patches, dtype=torch.float64)
        for strip in self._strips(margin) if margin else self.strips:
            total.index_add_(1, strip.patches, strip.sums(rows(strip.place).double()))
        return total @ self.members.T

    def _strips(self, margin: int) -> Iterator[Strip]:
        """Yield strips of all cells but those of a margin."""
        height, width = (size - 2 * margin for size in self.shape)
        if min(height, width) <= 0:
            return
        rows = max(LEAST_CELLS // width, -(-height // LEAST_STRIPS))
        rows = max(1, min(STRIP_CELLS // width, rows))
        columns = slice(margin, margin + width)
        for start in range(0, height, rows):
            stop = min(start + rows, height)
            inner = slice(margin + start, margin + stop)
            yield Strip(
                slice(start * width, stop * width),
                self._occurs[inner].any(dim=0).nonzero().flatten(),
                self.label[inner, columns].flatten(),
                self.weight[inner, columns].flatten(),
            )

    @cached_property
    def _occurs(self) -> Bool[Tensor, "H A"]:
        """Which patches occur in each row."""
        found = torch.zeros(self.shape[0], self.patches, dtype=torch.bool)
        return found.scatter_(1, self.label.long(), torch.ones_like(self.label, dtype=torch.bool))
