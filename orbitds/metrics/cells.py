"""The cells of a grid, sorted by the regions that they lie in, and sums over regions."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

# Cells that are worked on at once: what is made of them on the way stays in a cache of 1 or 2 MB.
BAND_CELLS = 2**15
# Regions whose membership fits into one integer beside the number of an earlier group.
_BITS = 32


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells sorted so that those of the same regions lie side by side.

    Regions may overlap. Cells that lie in the same regions are a patch; sums are taken over
    patches, each cell read once, and those of regions are sums of patches.
    """

    shape: tuple[int, int]
    order: Int64[Tensor, "N"] | None
    """Place of each sorted cell in the field; None where it needs no sorting."""
    edges: tuple[int, ...]
    """Where patches begin and end among the sorted cells."""
    weight: Float[Tensor, "N"]
    """Area of each sorted cell, float64."""
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
        count = int(patch.max()) + 1
        # stable: cells of a patch stay in the order of rows, near each other in memory
        order = torch.argsort(patch, stable=True)
        ends = torch.bincount(patch, minlength=count).cumsum(0)
        first = order[torch.cat([torch.zeros(1, dtype=torch.int64), ends[:-1]])]
        return cls(
            (area.shape[0], area.shape[1]),
            None if count == 1 else order,
            (0, *ends.tolist()),
            area.double().flatten()[order],
            masks[:, first].double(),
        )

    @property
    def patches(self) -> int:
        """Number of patches."""
        return len(self.edges) - 1

    def bands(self, times: int) -> list[tuple[int, slice]]:
        """Return the patch and the sorted cells of each band, few enough at so many times."""
        most = max(1, BAND_CELLS // times)
        return [
            (patch, slice(start, min(start + most, stop)))
            for patch, (first, stop) in enumerate(pairwise(self.edges))
            for start in range(first, stop, most)
        ]

    @cached_property
    def area(self) -> Float[Tensor, "R"]:
        """Area of each region."""
        return self.sums(torch.ones_like(self.weight))

    def sort(
        self,
        field: Shaped[Tensor, "*T H W"],
        place: slice = slice(None),
        *,
        out: Tensor | None = None,
    ) -> Shaped[Tensor, "*T N"]:
        """Return the cells of fields in sorted order, or some of these, perhaps in ``out``."""
        flat = field.flatten(-2)
        if self.order is None:
            return flat[..., place] if out is None else out.copy_(flat[..., place])
        return torch.index_select(flat, -1, self.order[place], out=out)

    def unsort(self, values: Float[Tensor, "*T N"]) -> Float[Tensor, "*T H W"]:
        """Return fields from cells in sorted order."""
        if self.order is None:
            return values.unflatten(-1, self.shape)
        field = torch.empty_like(values)
        field[..., self.order] = values
        return field.unflatten(-1, self.shape)

    def sums(self, values: Float[Tensor, "*T N"]) -> Float[Tensor, "*T R"]:
        """Return the area-weighted sums of sorted cells over each region, float64.

        A cell that does not count is zero.
        """
        # a loop over patches reads each cell once; label maps of overlapping regions read all again
        patches = [
            values[..., start:stop].double() @ self.weight[start:stop]
            for start, stop in pairwise(self.edges)
        ]
        return torch.stack(patches, dim=-1) @ self.members.T

    def field_sums(self, field: Shaped[Tensor, "T H W"]) -> Float[Tensor, "T R"]:
        """Return what ``sums`` gives of the sorted cells of fields, sorted band by band."""
        total = torch.zeros(len(field), self.patches, dtype=torch.float64)
        for patch, place in self.bands(len(field)):
            total[:, patch] += self.sort(field, place).double() @ self.weight[place]
        return total @ self.members.T
