"""What a job asks of the downscaler: tiles, a block of coarse fields, the fine values of a unit."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import dask.array
import numpy as np
import xarray as xr

from orbitds.data.layout import Layout
from orbitds.device import choose_device
from orbitds.grid import Grid
from orbitds.infer.courier import Courier
from orbitds.infer.downscaler import Downscaler
from orbitds.infer.intake import at_all_times
from orbitds.infer.part import Part
from orbitds.infer.seams import Seams
from orbitds.infer.units import Unit
from orbitds.tiles import TileGrid

# Coarse values read at once, of several units if they are small: chunks of an input often hold
# more times than a unit, and would be read again for each.
READ_BYTES = 2**28
# Threads that read and decompress chunks at once.
READERS = 8


class Computed(NamedTuple):
    """What is computed of a unit."""

    fields: dict[str, np.ndarray]
    """Fine values by variable, their axes in the caller's order."""
    seams: Seams | None
    """Jumps where tiles meet; None without tiles."""


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
        self._courier = Courier(choose_device(self.downscaler.device))
        self._ahead: tuple[range, xr.Dataset] | None = None
        self.empty_times: np.ndarray | None = None
        """At which times a variable has no value in the whole field; set once it is known."""

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
        """Return the coarse fields that a unit needs; those of the following ones may be kept.

        Only one thread may read.
        """
        if len(unit.rows) < self.grid.shape[0]:  # a band: what lies around it, and nothing ahead
            rows, columns = self.downscaler.window_of(self.grid, self.part_of(unit))
            times = slice(unit.times.start, unit.times.stop)
            window = {"latitude": slice(rows.start, rows.stop), "longitude": as_slice(columns)}
            return self._loaded(self.coarse.isel(time=times, **window))
        if self._ahead is None or not _within(unit.times, self._ahead[0]):
            times = unit.times
            for other in following:
                longer = range(times.start, other.times.stop)
                if other.times.start > times.stop or self._bytes(longer) > READ_BYTES:
                    break
                times = longer
            self._ahead = None  # not two of them in memory
            lazy = self.coarse.isel(time=slice(times.start, times.stop))
            self._ahead = times, self._loaded(lazy)
        times, block = self._ahead
        first = unit.times.start - times.start
        return block.isel(time=slice(first, first + len(unit.times)))

    def compute(self, block: xr.Dataset, unit: Unit) -> Computed:
        """Return the fine values of a unit, of a block as ``read`` gives it."""
        part, empty = self.part_of(unit), self.empty_times
        if empty is not None:
            empty = empty[unit.times.start : unit.times.stop]
        fine, seams = self.downscaler.compute_with_seams(block, self.grid, part, empty_times=empty)
        rows, columns = self._order["latitude"], self._order["longitude"]
        rows = rows[unit.rows.start * self.factor : unit.rows.stop * self.factor]
        first = part.rows.start * self.factor
        fine = fine.isel(latitude=as_slice(rows - first), longitude=as_slice(columns))
        if "time" not in self.layout.names:
            fine = fine.isel(time=0, drop=True)
        fine = fine.transpose(*self.layout.order_of(fine), ...)
        fields = {
            str(name): np.ascontiguousarray(field.values, dtype=np.float32)
            for name, field in fine.data_vars.items()
        }
        return Computed(fields, seams)

    def memory_of(self, unit: Unit) -> int:
        """Return the memory of the device in bytes for one time of a unit, predicted."""
        return self.downscaler.memory_of(self.grid, self.part_of(unit))

    def part_of(self, unit: Unit) -> Part:
        """Return the canonical coarse cells of a unit, whose rows are in the caller's order."""
        rows = self._order["latitude"][unit.rows.start * self.factor : unit.rows.stop * self.factor]
        first, stop = int(rows.min()), int(rows.max()) + 1
        return Part(range(first // self.factor, stop // self.factor), range(self.grid.shape[1]))

    def _loaded(self, lazy: xr.Dataset) -> xr.Dataset:
        """Read variables into one array [T, V, H, W], which goes to the device as it is."""
        times = lazy.sizes["time"]
        fields = [at_all_times(field, times) for field in lazy.data_vars.values()]
        held = self._courier.empty(times, len(fields), *fields[0].shape[1:]).numpy()
        dask.array.store(
            [field.data for field in fields],
            list(held.swapaxes(0, 1)),
            lock=False,
            # threads of its own: those of the default pool may be the caller's
            scheduler="threads",
            num_workers=READERS,
        )
        read = {
            str(name): (field.dims, held[:, place], field.attrs)
            for place, (name, field) in enumerate(zip(lazy.data_vars, fields, strict=True))
        }
        return xr.Dataset(read, coords=lazy.coords, attrs=lazy.attrs)

    def _cut(self) -> TileGrid:
        return self.downscaler.tiles_for(self.grid)

    def _bytes(self, times: range) -> int:
        return len(times) * sum(
            field.dtype.itemsize * field[0].size for field in self.coarse.data_vars.values()
        )


def _within(part: range, whole: range) -> bool:
    return whole.start <= part.start and part.stop <= whole.stop


def as_slice(places: np.ndarray) -> slice | np.ndarray:
    """Return places that follow each other, forwards or backwards, as a slice: no copy is made."""
    steps = np.diff(places)
    first, last = int(places[0]), int(places[-1])
    if (steps == 1).all():
        return slice(first, last + 1)
    if (steps == -1).all():
        return slice(first, last - 1 if last else None, -1)
    return places
