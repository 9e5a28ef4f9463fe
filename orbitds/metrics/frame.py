"""What scores are taken on: times, the traits of a variable, the grid with its regions."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from orbitds.metrics.cells import Cells
from orbitds.metrics.consistency import Borders
from orbitds.metrics.extremes import Extreme
from orbitds.metrics.spectrum import Rings
from orbitds.metrics.structure import Window
from orbitds.metrics.tails import Bins

SEASONS = ("DJF", "MAM", "JJA", "SON")


class When(NamedTuple):
    """A time as scores need it: a label that no other time has, and its date.

    Structure (similarity, fractions, spectra, borders) is measured at detailed times only.
    """

    label: str
    year: int
    month: int
    day: int
    is_detailed: bool = True

    @property
    def season(self) -> str:
        """Season of the month."""
        return SEASONS[self.month % 12 // 3]

    @property
    def month_label(self) -> str:
        """Year and month, as ``2004-01``."""
        return f"{self.year:04d}-{self.month:02d}"

    @property
    def block(self) -> str:
        """Third of a month, by which sums are kept: ``2004-01-2`` is that from the 11th on."""
        return f"{self.month_label}-{min((self.day - 1) // 10, 2) + 1}"


@dataclass(frozen=True)
class Traits:
    """What scores must know of a variable."""

    data_range: float
    """Fixed range for SSIM and PSNR."""
    bins: Bins
    """Bins of its values."""
    is_rain: bool = False
    """Whether values are amounts of a day in mm: then wet days and fractions count."""
    extreme: Extreme | None = None
    """Which extreme of the year is looked for."""
    window: Window = "uniform"
    """Window of the structural similarity."""

    @property
    def offset(self) -> float:
        """A typical value, about which sums of squares are taken."""
        return 0.0 if self.bins.is_log1p else (self.bins.low + self.bins.high) / 2


@dataclass(frozen=True, eq=False)
class Frame:
    """The grid of an evaluation, from which everything follows that does not change with time.

    Parameters
    ----------
    area
        Weight of each cell.
    regions
        Masks by name; the first is the whole grid.
    spacing_deg
        Height and width of a cell in degrees of latitude, at the middle of the grid.
    periodic
        Whether the columns go round the globe.
    factor
        Fine cells along the edge of a coarse one; None where there is no coarse field.
    borders
        Borders whose visibility is measured, by name.
    """

    area: Float[Tensor, "H W"]
    regions: dict[str, Bool[Tensor, "H W"]]
    spacing_deg: tuple[float, float]
    periodic: bool
    factor: int | None = None
    borders: dict[str, Borders] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.area.shape[0], self.area.shape[1]

    @cached_property
    def cells(self) -> Cells:
        """Cells sorted by region."""
        return Cells.of(self.area, torch.stack(list(self.regions.values())))

    @cached_property
    def rings(self) -> Rings:
        """Rings of equal wavenumber."""
        return Rings(self.shape, self.spacing_deg, self.periodic)

    @cached_property
    def coarse_weight(self) -> Float[Tensor, "R Hc Wc"]:
        """Area of each region in each coarse cell."""
        factor = self.factor or 1
        masks = torch.stack(list(self.regions.values())) * self.area.double()
        rows, columns = self.shape[0] // factor, self.shape[1] // factor
        return masks.view(len(masks), rows, factor, columns, factor).sum(dim=(2, 4))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that sums depend on: those of another frame cannot be added."""
        told = hashlib.sha256(repr((self.shape, self.spacing_deg, self.periodic)).encode())
        told.update(repr((self.factor, list(self.regions), list(self.borders))).encode())
        for borders in self.borders.values():
            told.update(borders.rows.numpy().tobytes() + borders.columns.numpy().tobytes())
        told.update(self.area.double().numpy().tobytes())
        for mask in self.regions.values():
            told.update(np.packbits(mask.numpy()).tobytes())
        return told.hexdigest()[:16]


def runs(when: Sequence[When], most: int) -> Iterator[slice]:
    """Yield slices of consecutive times of one month, of at most so many."""
    for _, month in _together([at.month_label for at in when]):
        for start in range(month.start, month.stop, most):
            yield slice(start, min(start + most, month.stop))


def blocks(when: Sequence[When]) -> list[tuple[str, slice]]:
    """Return slices of consecutive times of one block, with its label."""
    return list(_together([at.block for at in when]))


def _together(labels: list[str]) -> Iterator[tuple[str, slice]]:
    start = 0
    for label, times in groupby(labels):
        stop = start + len(list(times))
        yield label, slice(start, stop)
        start = stop
