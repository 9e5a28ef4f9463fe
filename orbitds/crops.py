"""Crops: windows at any place of a field, for training on few fields of any shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from orbitds.windows import Tile, Windows


@dataclass(frozen=True)
class Crops(Windows):
    """Windows of one shape whose middles lie anywhere in a field of ``height x width`` cells.

    The middle of a window is one of the field's patches; at a border that does not wrap the window
    slides inward, so that places near it come as often as others. Its core is all but the halo; at
    a true border of the field there is no halo, so that each cell is in some core.

    Parameters
    ----------
    height, width
        Coarse rows and columns of the field.
    crop_cells
        Coarse rows and columns of a window; a field that is smaller along an axis is taken whole.
    halo_cells
        Coarse cells inside each border of a window that do not count.
    periodic
        Whether the last column is a neighbour of the first.
    step_cells
        Coarse cells between places, the patch of a model.
    """

    height: int
    width: int
    crop_cells: tuple[int, int]
    halo_cells: int = 0
    periodic: bool = False
    step_cells: int = 1

    def __post_init__(self) -> None:
        sizes = zip(self.window, (self.height, self.width), strict=True)
        least = 2 * self.halo_cells + self.step_cells
        if any(size < least for size, length in sizes if size < length):
            raise ValueError(
                f"Wanted crops of at least {least} cells, a place inside a halo of "
                f"{self.halo_cells} on each side, got {self.crop_cells}. Make them larger, or the "
                "halo smaller."
            )

    @cached_property
    def window(self) -> tuple[int, int]:
        """Coarse rows and columns of every window."""
        return min(self.crop_cells[0], self.height), min(self.crop_cells[1], self.width)

    @property
    def places(self) -> tuple[int, int]:
        """Places along rows and columns."""
        return len(self._rows), len(self._columns)

    @cached_property
    def tiles(self) -> Sequence[Tile]:
        """All windows, row by row from the north-west; those slid to a border come repeatedly."""
        return _Crossings(self._rows, self._columns)

    @cached_property
    def _rows(self) -> list[tuple[range, range]]:
        """Rows of window and core at each place."""
        return self._along(self.window[0], self.height, wraps=False)

    @cached_property
    def _columns(self) -> list[tuple[range, range]]:
        """Columns of window and core at each place."""
        return self._along(self.window[1], self.width, wraps=self.periodic)

    def _along(self, size: int, length: int, *, wraps: bool) -> list[tuple[range, range]]:
        if size == length:
            return [(range(length), range(length))]
        found, halo = [], self.halo_cells
        half = size // 2 // self.step_cells * self.step_cells  # windows begin at patches
        for middle in range(0, length, self.step_cells):
            start = middle - half
            start = start if wraps else min(max(start, 0), length - size)
            before = halo if wraps or start > 0 else 0
            after = halo if wraps or start + size < length else 0
            window = range(start, start + size)
            found.append((window, range(window.start + before, window.stop - after)))
        return found


def tiles_about(
    shape: tuple[int, int], window_cells: tuple[int, int], halo_cells: int
) -> tuple[int, int]:
    """Return rows and columns of tiles whose windows are about as large as crops.

    A trunk that has seen crops alone is worse on a whole field that is much larger.

    Parameters
    ----------
    shape
        Coarse rows and columns of the field; an axis no longer than a crop is taken whole.
    window_cells
        Coarse rows and columns of a crop.
    halo_cells
        Coarse cells inside each border of a window that are another tile's too.
    """
    rows, columns = (
        1 if size <= window else -(-size // max(window - 2 * halo_cells, 1))
        for size, window in zip(shape, window_cells, strict=True)
    )
    return rows, columns


class _Crossings(Sequence[Tile]):
    """All pairs of places along two axes, made when they are asked for."""

    def __init__(
        self, rows: Sequence[tuple[range, range]], columns: Sequence[tuple[range, range]]
    ) -> None:
        self.rows, self.columns = rows, columns

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def __getitem__(self, place: int) -> Tile:  # pyright: ignore[reportIncompatibleMethodOverride]  no slices
        if not 0 <= place < len(self):
            raise IndexError(place)
        row, column = divmod(place, len(self.columns))
        (rows, core_rows), (columns, core_columns) = self.rows[row], self.columns[column]
        return Tile(rows, columns, core_rows, core_columns)
