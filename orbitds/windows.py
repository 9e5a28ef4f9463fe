"""Windows into a coarse field: where they lie, and the part of each that counts."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Tile:
    """One window of a coarse field, in coarse cells."""

    rows: range
    """Rows of the window."""
    columns: range
    """Columns of the window; below 0 or beyond the width where longitude wraps."""
    core_rows: range
    """Rows that this tile alone answers for."""
    core_columns: range
    """Columns that this tile alone answers for."""


class Windows(ABC):
    """Windows of one shape into a field of ``height x width`` coarse cells.

    They lie at all crossings of some places along the rows and some along the columns.
    """

    height: int
    width: int
    periodic: bool
    """Whether the last column is a neighbour of the first."""

    @cached_property
    @abstractmethod
    def window(self) -> tuple[int, int]:
        """Coarse rows and columns of every window."""

    @property
    @abstractmethod
    def places(self) -> tuple[int, int]:
        """Number of places along rows and columns."""

    @cached_property
    @abstractmethod
    def tiles(self) -> Sequence[Tile]:
        """All windows, row by row from the north-west."""

    @property
    def wraps(self) -> bool:
        """Whether a window spans the whole circle, so that its own columns wrap."""
        return self.periodic and self.window[1] == self.width

    def index(self, tile: Tile, factor: int = 1) -> tuple[slice, Int[Tensor, " w"]]:
        """Return the rows and columns of a window in a field of ``factor`` cells per coarse one."""
        columns = torch.arange(tile.columns.start * factor, tile.columns.stop * factor)
        rows = slice(tile.rows.start * factor, tile.rows.stop * factor)
        return rows, columns % (self.width * factor)

    def cut(self, field: Tensor, tile: Tile, factor: int = 1) -> Tensor:
        """Return a tile's window of a field [..., factor*H, factor*W]."""
        rows, columns = self.index(tile, factor)
        return field[..., rows, :].index_select(-1, columns.to(field.device))

    def longitude(self, longitude_deg: Float[Tensor, " W"], tile: Tile) -> Float[Tensor, " w"]:
        """Return the longitudes of a window, rising also where it wraps."""
        turns = torch.tensor(tile.columns).div(self.width, rounding_mode="floor")
        return longitude_deg[self.index(tile)[1]] + 360 * turns

    def core_mask(self, tile: Tile, factor: int = 1) -> Float[Tensor, "h w"]:
        """Return 1 on the core of a window and 0 on its halo."""
        return torch.outer(
            _inside(tile.rows, tile.core_rows, factor),
            _inside(tile.columns, tile.core_columns, factor),
        )


def offset(window: range, core: range) -> int:
    """Cells between the start of a window and its core; windows may start before column 0."""
    return core.start - window.start


def _inside(window: range, core: range, factor: int) -> Float[Tensor, " n"]:
    first = offset(window, core) * factor
    mask = torch.zeros(len(window) * factor)
    mask[first : first + len(core) * factor] = 1
    return mask
