"""Radially averaged power spectra of fields, and how far two of them are apart."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

# Fields with less than this share of cells are left out: their spectrum would be that of the gaps.
LEAST_VALID = 0.5
# Bins whose mean power is below this share of the highest are rounding of float32 fields.
FLOOR = 1e-12


@dataclass(frozen=True, eq=False)
class Rings:
    """Rings of equal wavenumber of a grid's two-dimensional Fourier transform.

    Parameters
    ----------
    shape
        Rows and columns.
    spacing_deg
        Height and width of a cell in degrees of latitude; the width is that at the middle of the
        grid, a degree of longitude being shorter there.
    periodic
        Whether the columns go round the globe: then only the rows are tapered.
    """

    shape: tuple[int, int]
    spacing_deg: tuple[float, float]
    periodic: bool

    @cached_property
    def ring(self) -> Int64[Tensor, "H Wr"]:
        """Number of the ring of each coefficient; the first holds what is longer than the field."""
        (height, width), (dy, dx) = self.shape, self.spacing_deg
        rows, columns = np.fft.fftfreq(height, dy), np.fft.rfftfreq(width, dx)
        radius = np.hypot(rows[:, None], columns) / self.step
        # beyond the last whole ring lie the corners, which see some directions only
        found = np.rint(radius).astype(np.int64).clip(0, self.count + 1)
        return torch.from_numpy(found)

    @property
    def step(self) -> float:
        """Width of a ring in cycles a degree: that of one wave over the longer edge."""
        return 1 / max(
            size * spacing for size, spacing in zip(self.shape, self.spacing_deg, strict=True)
        )

    @property
    def count(self) -> int:
        """Number of rings from one wave to the shortest wave along the coarser axis."""
        return max(1, int(0.5 / max(self.spacing_deg) / self.step + 1e-9))

    @property
    def wavenumber(self) -> Float[np.ndarray, "K"]:
        """Cycles per degree of latitude of each ring."""
        return (1 + np.arange(self.count)) * self.step

    @cached_property
    def taper(self) -> Float[Tensor, "H W"]:
        """Hann window along the axes that end, of mean square one."""
        rows, columns = (_hann(size) for size in self.shape)
        if self.periodic:
            columns = torch.ones_like(columns)
        window = rows[:, None] * columns
        return window / window.square().mean().sqrt()

    @cached_property
    def per_ring(self) -> Float[Tensor, "K"]:
        """Coefficients of each ring; those that a real field has twice count twice."""
        return self._over_rings(torch.ones(self.ring.shape, dtype=torch.float64)[None])[0]

    def power(
        self, fields: Float[Tensor, "T H W"], valid: Bool[Tensor, "T H W"] | None
    ) -> tuple[Float[Tensor, "T K"], Bool[Tensor, "T"]]:
        """Return the mean power of each field in each ring, and which fields count.

        The mean over the valid cells is taken away, and what is missing is then zero: as both
        sides of a comparison have the same gaps, their spectra are comparable. The mean over the
        coefficients of a white field is its variance.
        """
        if valid is None:
            fields = fields - fields.mean(dim=(1, 2), keepdim=True)
            counts = torch.ones(len(fields), dtype=torch.bool)
        else:
            share = valid.to(fields.dtype).mean(dim=(1, 2))
            fields = torch.where(valid, fields, 0.0)
            mean = fields.mean(dim=(1, 2)) / share.clamp(min=1e-9)
            fields = torch.where(valid, fields - mean[:, None, None], 0.0)
            counts = share >= LEAST_VALID
        transformed = torch.fft.rfft2(fields * self.taper.to(fields.dtype), norm="ortho")
        power = transformed.real.square().add_(transformed.imag.square())
        return self._over_rings(power) / self.per_ring, counts

    def _over_rings(self, power: Float[Tensor, "T H Wr"]) -> Float[Tensor, "T K"]:
        """Return sums over rings, columns with a mirror image counted twice, float64."""
        twice = torch.full((power.shape[-1],), 2, dtype=power.dtype)
        twice[0] = 1
        if self.shape[1] % 2 == 0:
            twice[-1] = 1
        size = self.count + 2
        place = self.ring.flatten()
        sums = [
            torch.bincount(place, one.flatten().double(), minlength=size) for one in power * twice
        ]
        return torch.stack(sums)[:, 1 : self.count + 1]


def log_spectral_distance(
    one: Float[np.ndarray, "*D K"], other: Float[np.ndarray, "*D K"]
) -> Float[np.ndarray, "*D"]:
    """Return the root mean square over rings of 10 log10 of the ratio of two spectra, in decibel.

    Rings without power in one of the two, beside its highest, are left out.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        decibel = 10 * np.log10(one / other)
        known = (one > FLOOR * one.max(axis=-1, keepdims=True)) & (
            other > FLOOR * other.max(axis=-1, keepdims=True)
        )
        squares = np.where(known, decibel**2, 0).sum(axis=-1) / known.sum(axis=-1)
    return np.asarray(np.sqrt(squares))


def _hann(size: int) -> Float[Tensor, "N"]:
    # half a cell inward: no cell of the field is lost altogether
    return torch.sin(torch.pi * (torch.arange(size, dtype=torch.float64) + 0.5) / size) ** 2
