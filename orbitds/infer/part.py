"""Parts of a field: which cells are wanted, which are computed, which must be read."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from orbitds.tiles import Tile, TileGrid


@dataclass(frozen=True)
class Part:
    """A rectangle of a field in coarse cells of the canonical grid; it does not wrap."""

    rows: range
    """Rows, from north to south."""
    columns: range
    """Columns, from west to east."""

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> "Part":
        """Return the whole field of so many rows and columns."""
        return cls(range(shape[0]), range(shape[1]))

    def check(self, shape: tuple[int, int]) -> None:
        """Refuse what is no rectangle of a field of so many rows and columns.

        Raises
        ------
        ValueError
            If it is empty, leaves out cells or reaches outside.
        """
        for cells, size in zip((self.rows, self.columns), shape, strict=True):
            if not (cells.step == 1 and 0 <= cells.start < cells.stop <= size):
                raise ValueError(
                    f"Wanted a part within {shape[0]} x {shape[1]} coarse cells, rows and columns "
                    f"without a step, got {self.rows} and {self.columns}. Give two such ranges; a "
                    "part that would cross the first column is two parts."
                )


@dataclass(frozen=True)
class Place:
    """Where cells of a window lie in a frame, in coarse cells."""

    window_rows: slice
    window_columns: slice
    rows: slice
    columns: slice

    def fine(self, factor: int) -> "Place":
        """Return the same in fine cells."""
        ends = (self.window_rows, self.window_columns, self.rows, self.columns)
        return Place(*(slice(end.start * factor, end.stop * factor) for end in ends))


@dataclass(frozen=True)
class Frame:
    """What is computed for a part of a field: the part itself and a rim of neighbours around it.

    Parameters
    ----------
    tiles
        Of the whole field.
    part
        What is wanted.
    before, after
        Coarse cells of the rim in the north and west, and in the south and east. There is none
        beyond the field; where longitude wraps it may go round, and is the whole circle at most.
    """

    tiles: TileGrid
    part: Part
    before: int = 0
    after: int = 0

    @cached_property
    def rows(self) -> range:
        """Rows of the frame."""
        rows = self.part.rows
        return range(
            max(rows.start - self.before, 0), min(rows.stop + self.after, self.tiles.height)
        )

    @cached_property
    def columns(self) -> range:
        """Columns of the frame; below 0 or beyond the width where longitude wraps."""
        width = self.tiles.width
        first, last = self.part.columns.start - self.before, self.part.columns.stop + self.after
        if self.tiles.periodic:
            return range(width) if last - first >= width else range(first, last)
        return range(max(first, 0), min(last, width))

    @property
    def shape(self) -> tuple[int, int]:
        """Coarse rows and columns of the frame."""
        return len(self.rows), len(self.columns)

    @property
    def is_circle(self) -> bool:
        """Whether the last column of the frame is a neighbour of the first."""
        return self.tiles.periodic and len(self.columns) == self.tiles.width

    @cached_property
    def part_in_frame(self) -> tuple[slice, slice]:
        """Rows and columns of the part within the frame."""
        north = self.part.rows.start - self.rows.start
        west = self.part.columns.start - self.columns.start
        return slice(north, north + len(self.part.rows)), slice(west, west + len(self.part.columns))

    @cached_property
    def reaching(self) -> dict[int, list[Place]]:
        """The tiles that have a share in the frame, by their number, and where."""
        width = self.tiles.columns
        # tiles of a row share their rows, those of a column their columns
        of_rows = [self._row_runs(tile) for tile in self.tiles.tiles[::width]]
        of_columns = [self._column_runs(tile) for tile in self.tiles.tiles[:width]]
        found = {
            row * width + column: [
                Place(window_rows, window_columns, rows, columns)
                for window_rows, rows in row_runs
                for window_columns, columns in column_runs
            ]
            for row, row_runs in enumerate(of_rows)
            if row_runs
            for column, column_runs in enumerate(of_columns)
        }
        return {index: places for index, places in found.items() if places}

    @cached_property
    def window(self) -> tuple[range, np.ndarray]:
        """Rows and columns of the field that must be read; columns in order, modulo the width."""
        tiles = [self.tiles.tiles[index] for index in self.reaching]
        rows = range(min(t.rows.start for t in tiles), max(t.rows.stop for t in tiles))
        width = self.tiles.width
        first, last = self.columns.start, self.columns.stop
        for tile in tiles:
            for shift in (-width, 0, width) if self.tiles.periodic else (0,):
                start, stop = tile.columns.start + shift, tile.columns.stop + shift
                if max(start, self.columns.start) < min(stop, self.columns.stop):
                    first, last = min(first, start), max(last, stop)
        if last - first >= width:
            return rows, np.arange(width)
        return rows, np.arange(first, last) % width

    def in_window(self, rows: range, columns: range) -> tuple[slice, np.ndarray]:
        """Return rows and columns of the field as places among those that were read."""
        read, order = self.window
        place = np.full(self.tiles.width, -1)
        place[order] = np.arange(order.size)
        wanted = place[np.arange(columns.start, columns.stop) % self.tiles.width]
        return slice(rows.start - read.start, rows.stop - read.start), wanted

    def _row_runs(self, tile: Tile) -> list[tuple[slice, slice]]:
        """Return the rows of a window, and of the frame, in which it has a share."""
        if tile.rows.start >= self.rows.stop or tile.rows.stop <= self.rows.start:
            return []
        rows = np.arange(self.rows.start, self.rows.stop) - tile.rows.start
        return list(_runs(rows, self.tiles.shares(tile)[0].numpy() > 0))

    def _column_runs(self, tile: Tile) -> list[tuple[slice, slice]]:
        """Return the columns of a window, and of the frame, in which it has a share."""
        columns = np.arange(self.columns.start, self.columns.stop) - tile.columns.start
        if self.tiles.periodic:
            columns = columns % self.tiles.width
        return list(_runs(columns, self.tiles.shares(tile)[1].numpy() > 0))


def check_window(coarse: xr.Dataset, frame: Frame) -> None:
    """Refuse a dataset that does not hold the cells that must be read for a frame.

    Raises
    ------
    ValueError
        If it has other rows or columns.
    """
    rows, columns = frame.window
    wanted = len(rows), columns.size
    got = coarse.sizes["latitude"], coarse.sizes["longitude"]
    if got != wanted:
        raise ValueError(
            f"Wanted {wanted[0]} x {wanted[1]} coarse cells around the part, got {got[0]} x "
            f"{got[1]}. Select those that Downscaler.window_of tells."
        )


def _runs(place: np.ndarray, has_share: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Return runs of neighbours: in the window, at ``place`` for each cell of the frame, and here.

    Parameters
    ----------
    place
        For each cell of the frame, its place in the window, or one that is none.
    has_share
        For each cell of the window, whether it counts.
    """
    inside = (place >= 0) & (place < has_share.size)
    here = np.flatnonzero(inside)
    here = here[has_share[place[here]]]
    if not here.size:
        return
    breaks = np.flatnonzero((np.diff(here) != 1) | (np.diff(place[here]) != 1)) + 1
    for run in np.split(here, breaks):
        first, last = run[0], run[-1]
        yield (
            slice(int(place[first]), int(place[last]) + 1),
            slice(int(first), int(last) + 1),
        )
