"""TILES: cut a field into windows with a halo, keep the cores, join them again.

Halos are known to this module, and to that of crops, alone. Every window of a grid has the same
shape: at a border that does not wrap, the window slides inward, so that its core is no longer in
the middle.

References
----------
ORBIT-2 (Wang et al. 2025, arXiv 2505.04802), TILES sequence scaling.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from orbitds.windows import Tile, Windows, offset


@dataclass(frozen=True)
class TileGrid(Windows):
    """The tiles of a field of ``height x width`` coarse cells.

    Parameters
    ----------
    height, width
        Coarse rows and columns of the field.
    rows, columns
        Number of tiles along each axis.
    halo_cells
        Coarse cells added on each side of a core: one number, or those along rows and columns.
    periodic
        Whether the last column is a neighbour of the first.
    margin_cells
        Outer cells of the halo that see too little around them to be worth blending.
    align_cells
        Windows begin at multiples of this, the patch of a model, so that the patches of a window
        are patches of the field; except where the width of a circle is no multiple itself.
    """

    height: int
    width: int
    rows: int = 1
    columns: int = 1
    halo_cells: int | tuple[int, int] = 0
    periodic: bool = False
    margin_cells: int = 0
    align_cells: int = 1

    def __post_init__(self) -> None:
        if self.rows > self.height or self.columns > self.width:
            raise ValueError(
                f"Wanted at most {self.height} x {self.width} tiles, one per coarse cell, got "
                f"{self.rows} x {self.columns}. Ask for fewer tiles."
            )

    @classmethod
    def of_window(
        cls,
        height: int,
        width: int,
        window: tuple[int, int],
        halo_cells: tuple[int, int],
        *,
        periodic: bool,
        margin_cells: int = 0,
    ) -> "TileGrid":
        """Return the tiles of a field whose windows have a given shape, halo included.

        Raises
        ------
        ValueError
            If the field cannot be cut so.
        """
        core = window[0] - 2 * halo_cells[0], window[1] - 2 * halo_cells[1]
        if not (height % core[0] or width % core[1]):
            rows, columns = height // core[0], width // core[1]
            tiles = cls(height, width, rows, columns, halo_cells, periodic, margin_cells)
            if tiles.window == window:
                return tiles
        raise ValueError(
            f"Wanted a field that can be cut into windows of {window[0]} x {window[1]} coarse "
            f"cells around cores of {core[0]} x {core[1]}, the only size that the model knows, got "
            f"{height} x {width} cells. Select a region of that size or of more such cores, or "
            "choose another checkpoint."
        )

    @property
    def halo(self) -> tuple[int, int]:
        """Halo along rows and columns."""
        halo = self.halo_cells
        return (halo, halo) if isinstance(halo, int) else halo

    @property
    def places(self) -> tuple[int, int]:
        """Tiles along rows and columns."""
        return self.rows, self.columns

    @cached_property
    def window(self) -> tuple[int, int]:
        """Coarse rows and columns of every window."""
        spare = [2 * halo + self.align_cells - 1 for halo in self.halo]
        rows = -(-self.height // self.rows) + spare[0]
        columns = -(-self.width // self.columns) + spare[1]
        # the last window ends at the border and begins at a multiple too
        rows += (self.height - rows) % self.align_cells
        columns += (-columns if self.periodic else self.width - columns) % self.align_cells
        return min(rows, self.height), min(columns, self.width)

    @cached_property
    def tiles(self) -> Sequence[Tile]:
        """All tiles, row by row from the north-west."""
        row_cores = _cores(self.height, self.rows)
        column_cores = _cores(self.width, self.columns)
        height, width = self.window
        return [
            Tile(
                rows=self._slide(rows, self.halo[0], height, self.height),
                columns=self._columns(columns, width),
                core_rows=rows,
                core_columns=columns,
            )
            for rows in row_cores
            for columns in column_cores
        ]

    def taper(self, tile: Tile, factor: int = 1) -> Float[Tensor, "h w"]:
        """Return blending weights of a window: 1 on the core, falling to 0 before the margin."""
        return torch.outer(*self._tapers(tile, factor)).float()

    def shares(
        self, tile: Tile, factor: int = 1
    ) -> tuple[Float[Tensor, " h"], Float[Tensor, " w"]]:
        """Return the shares of a window's rows and columns in a blend, in float64.

        A cell of the window counts by the product of the two. Over all windows these sum to one at
        each cell of the field, so that any part of a blend can be made of the windows that have a
        share in it, without the others.
        """
        return (
            _row_shares(self, tile.rows, tile.core_rows, factor),
            _column_shares(self, tile.columns, tile.core_columns, factor),
        )

    def blend(
        self, windows: Sequence[Tensor], factor: int = 1
    ) -> Float[Tensor, "... {factor}*{self.height} {factor}*{self.width}"]:
        """Join the windows of all tiles, tapered in the halo; the weights sum to one everywhere.

        Parameters
        ----------
        windows
            One tensor [..., factor*h, factor*w] per tile, in the order of ``tiles``.
        """
        first = windows[0]
        total = first.new_zeros(*first.shape[:-2], self.height * factor, self.width * factor)
        for tile, window in zip(self.tiles, windows, strict=True):
            weight = torch.outer(*self.shares(tile, factor)).to(window)
            rows, columns = self.index(tile, factor)
            columns = columns.to(first.device)
            total[..., rows, :] = total[..., rows, :].index_add(-1, columns, window * weight)
        return total

    def _tapers(self, tile: Tile, factor: int) -> tuple[Tensor, Tensor]:
        """Return the blending weights of a window along rows and columns, in float64."""
        return (
            self._row_taper(tile.rows, tile.core_rows, factor),
            self._column_taper(tile.columns, tile.core_columns, factor),
        )

    def _row_taper(self, window: range, core: range, factor: int) -> Float[Tensor, " h"]:
        span = max(self.halo[0] - self.margin_cells, 0) * factor
        return _fall(window, core, factor, span)

    def _column_taper(self, window: range, core: range, factor: int) -> Float[Tensor, " w"]:
        span = max(self.halo[1] - self.margin_cells, 0) * factor
        turn = self.width * factor if self.wraps else None
        return _fall(window, core, factor, span, turn)

    def _columns(self, core: range, width: int) -> range:
        if not self.periodic:
            return self._slide(core, self.halo[1], width, self.width)
        if width == self.width:
            return range(self.width)
        start = self._start(core, self.halo[1])
        return range(start, start + width)

    def _slide(self, core: range, halo: int, size: int, length: int) -> range:
        """Return the window of a given size around a core, slid inward at the borders."""
        start = min(max(self._start(core, halo), 0), length - size)
        return range(start, start + size)

    def _start(self, core: range, halo: int) -> int:
        return (core.start - halo) // self.align_cells * self.align_cells


def _cores(length: int, parts: int) -> list[range]:
    edges = [part * length // parts for part in range(parts + 1)]
    return [range(start, stop) for start, stop in itertools.pairwise(edges)]


def _fall(
    window: range, core: range, factor: int, span: int, turn: int | None = None
) -> Float[Tensor, " n"]:
    """Distance-dependent weight along one axis: linear from the core's edge over the halo.

    Parameters
    ----------
    turn
        Cells of the circle, where the window is all of it: its ends are neighbours.
    """
    first = offset(window, core) * factor
    last = first + len(core) * factor - 1
    place = torch.arange(len(window) * factor)
    outside = torch.clamp(torch.maximum(first - place, place - last), min=0)
    if turn is not None:
        around = torch.minimum((first - place) % turn, (place - last) % turn)
        outside = torch.where(outside > 0, around, outside)
    return torch.clamp(1 - (outside - 0.5).clamp(min=0).double() / max(span, 0.5), min=0)


# All tiles of a row share their rows, and all of a column their columns: a field of thousands of
# tiles has a few dozen of each.
@lru_cache(maxsize=1024)
def _row_shares(tiles: TileGrid, window: range, core: range, factor: int) -> Float[Tensor, " h"]:
    total, _ = _totals(tiles, factor)
    place = slice(window.start * factor, window.stop * factor)
    return tiles._row_taper(window, core, factor) / total[place]


@lru_cache(maxsize=1024)
def _column_shares(tiles: TileGrid, window: range, core: range, factor: int) -> Float[Tensor, " w"]:
    _, total = _totals(tiles, factor)
    place = torch.arange(window.start * factor, window.stop * factor)
    return tiles._column_taper(window, core, factor) / total[place % (tiles.width * factor)]


@lru_cache(maxsize=64)
def _totals(tiles: TileGrid, factor: int) -> tuple[Tensor, Tensor]:
    """Return the sums of the weights of all windows along rows and columns of the field."""
    rows = torch.zeros(tiles.height * factor, dtype=torch.float64)
    columns = torch.zeros(tiles.width * factor, dtype=torch.float64)
    for tile in tiles.tiles[:: tiles.columns]:
        rows[tiles.index(tile, factor)[0]] += tiles._tapers(tile, factor)[0]
    for tile in tiles.tiles[: tiles.columns]:
        columns[tiles.index(tile, factor)[1]] += tiles._tapers(tile, factor)[1]
    return rows, columns
