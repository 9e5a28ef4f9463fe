"""What a job asks of the downscaler: tiles, a block of coarse fields, the fine values of a unit."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from orbitds.data.layout import Layout
from orbitds.grid import Grid
from orbitds.infer.downscaler import Downscaler
from orbitds.infer.tiling import cut_for
from orbitds.infer.units import Unit
from orbitds.tiles import TileGrid

# Coarse values read at once, of several units if they are small: chunks of an input often hold
# more times than a unit, and would be read again for each.
READ_BYTES = 2**27


class Engine:
    """Coarse fields in canonical form become the fine values of units, in the caller's order.

    Parameters
    ----------
    coarse
        The canonical input, lazy.
    layout
        The caller's.
    options
        Of ``Downscaler``.
    """

    def __init__(self, coarse: xr.Dataset, layout: Layout, options: Mapping[str, Any]) -> None:
        self.coarse = coarse
        self.layout = layout
        self.grid = Grid.of(coarse)
        self.downscaler = Downscaler(**options)
        self.factor = self.downscaler.checkpoint.factor
        self._order = layout.fine_order(self.factor)
        self._ahead: tuple[range, xr.Dataset] | None = None

    @property
    def tiles(self) -> tuple[int, int]:
        """Rows and columns of tiles that a field is cut into."""
        cut = self._cut()
        return cut.rows, cut.columns

    @property
    def row_edges(self) -> list[int]:
        """Where rows of tiles begin, in the caller's coarse rows, and the number of rows."""
        height = self.grid.shape[0]
        edges = {tile.core_rows.start for tile in self._cut().tiles} | {height}
        falls = self.layout.rows[0] < self.layout.rows[-1]
        return sorted(edges if falls else {height - edge for edge in edges})

    def read(self, unit: Unit, following: Sequence[Unit] = ()) -> xr.Dataset:
        """Return the coarse fields of a unit's times; those of the following ones may be kept.

        Only one thread may read.
        """
        if self._ahead is None or not _within(unit.times, self._ahead[0]):
            times = unit.times
            for other in following:
                longer = range(times.start, other.times.stop)
                if other.times.start > times.stop or self._bytes(longer) > READ_BYTES:
                    break
                times = longer
            self._ahead = None  # not two of them in memory
            lazy = self.coarse.isel(time=slice(times.start, times.stop))
            # threads of its own: those of the default pool may be the caller's
            self._ahead = times, lazy.load(scheduler="threads", num_workers=4)
        times, block = self._ahead
        first = unit.times.start - times.start
        return block.isel(time=slice(first, first + len(unit.times)))

    def compute(self, block: xr.Dataset, unit: Unit) -> dict[str, np.ndarray]:
        """Return the fine values of a unit by variable, their axes in the caller's order."""
        rows, columns = self._order["latitude"], self._order["longitude"]
        rows = rows[unit.rows.start * self.factor : unit.rows.stop * self.factor]
        first, stop = int(rows.min()), int(rows.max()) + 1
        fine = self._part(block, range(first // self.factor, stop // self.factor))
        fine = fine.isel(latitude=rows - first, longitude=columns)
        if "time" not in self.layout.names:
            fine = fine.isel(time=0, drop=True)
        fine = fine.transpose(*self.layout.order, ...)
        return {
            str(name): np.ascontiguousarray(field.values, dtype=np.float32)
            for name, field in fine.data_vars.items()
        }

    def _part(self, block: xr.Dataset, rows: range) -> xr.Dataset:
        """Return the canonical fine fields of canonical coarse rows."""
        fine = self.downscaler(block)
        return fine.isel(latitude=slice(rows.start * self.factor, rows.stop * self.factor))

    def _cut(self) -> TileGrid:
        return cut_for(self.downscaler.checkpoint.model, self.grid, self.downscaler.tiles)

    def _bytes(self, times: range) -> int:
        return len(times) * sum(
            field.dtype.itemsize * field[0].size for field in self.coarse.data_vars.values()
        )


def _within(part: range, whole: range) -> bool:
    return whole.start <= part.start and part.stop <= whole.stop
