"""What changes from sample to sample, read as it is stored; and what the device makes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from orbitds.data.door import check_values
from orbitds.data.fields import Fields
from orbitds.data.gaps import fill_gaps
from orbitds.data.packing import MISSING
from orbitds.data.pair import Pair, stack
from orbitds.data.times import check_unbroken
from orbitds.data.values import missing_of
from orbitds.windows import Windows

# Parts of a batch in shared memory begin at multiples of this.
ALIGN_BYTES = 64


class Batch(NamedTuple):
    """Stored windows of some samples of one pair, and which samples they are."""

    coarse: Tensor
    """[B, V, H, W], as stored; V with earlier times."""
    fine: Tensor
    """[B, U, Hf, Wf], as stored."""
    gaps: Tensor
    """[B, H, W]: 1 where a coarse variable was missing and was filled; empty where none may be."""
    indices: Sequence[int]
    """Samples of the pair."""
    mirror: tuple[str, ...] = ()
    """Axes along which the batch is mirrored."""

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device, perhaps before its values are there."""
        coarse, fine, gaps = (part.to(device, non_blocking=True) for part in self[:3])
        return self._replace(coarse=coarse, fine=fine, gaps=gaps)


class Sample(NamedTuple):
    """Tensors of one tile, or of a batch with a leading B axis; fields are normalised."""

    coarse: Float[Tensor, "*B V H W"]
    fine: Float[Tensor, "*B U Hf Wf"]
    """Target, zero where it is missing."""
    weight: Float[Tensor, "*B U Hf Wf"]
    """Cell area times variable weight on the core, zero on the halo and where the target is NaN."""
    statics: Float[Tensor, "*B S Hf Wf"]
    fine_climatology: Float[Tensor, "*B U Hf Wf"]
    coarse_climatology: Float[Tensor, "*B U H W"]
    latitude_deg: Float[Tensor, "*B H"]
    longitude_deg: Float[Tensor, "*B W"]
    spacing_km: Float[Tensor, "*B 2"]

    def part(self, rows: slice) -> "Sample":
        """Return some samples of a batch."""
        return Sample(*(tensor[rows] for tensor in self))


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads batches of (time, tile) samples of a pair; small, so that it travels to workers.

    Parameters
    ----------
    coarse, fine
        The stacked inputs and outputs.
    tiles
        How the coarse field is cut: tiles, or crops at any place.
    factor
        Fine cells along the edge of a coarse cell.
    history
        Earlier times of the inputs that follow the present one as further channels.
    checked
        Whether the values were checked when they were stored.
    missing
        What a missing coarse and a missing fine value is: ``error`` or ``mask``.
    """

    coarse: Fields
    fine: Fields
    tiles: Windows
    factor: int
    history: int
    checked: bool
    missing: tuple[str, str]

    @classmethod
    def of(cls, pair: Pair, tiles: Windows, *, history: int = 0) -> "Reader":
        """Return the reader of a pair.

        Raises
        ------
        ValueError
            If there is a gap in the times of a history, or no time has a full one.
        """
        if history:
            times = pair.coarse.indexes["time"]
            check_unbroken(pair.coarse["time"], source=pair.name)
            if len(times) <= history:
                raise ValueError(
                    f"Wanted more than {history} times of {pair.name} for a history of {history}, "
                    f"got {len(times)} from {times[0]}. Choose a longer period or less history."
                )
        coarse, fine = pair.coarse_fields, pair.fine_fields
        return cls(
            _fields(pair.coarse, pair.inputs) if coarse is None else coarse,
            _fields(pair.fine, pair.outputs) if fine is None else fine,
            tiles,
            pair.factor,
            history,
            coarse is not None and fine is not None,
            (missing_of(pair.coarse), missing_of(pair.fine)),
        )

    def __len__(self) -> int:
        return (len(self.fine) - self.history) * len(self.tiles.tiles)

    def place(self, index: int) -> tuple[int, int]:
        """Return the time step and the tile of a sample."""
        step, tile = divmod(index, len(self.tiles.tiles))
        return step + self.history, tile

    def parts(self, count: int) -> list[tuple[tuple[int, ...], np.dtype]]:
        """Return shape and dtype of the three parts of a batch of so many samples."""
        height, width = self.tiles.window
        coarse, fine = self.coarse.array, self.fine.array
        channels = coarse.shape[1] * (self.history + 1)
        return [
            ((count, channels, height, width), np.dtype(coarse.dtype)),
            (
                (count, fine.shape[1], height * self.factor, width * self.factor),
                np.dtype(fine.dtype),
            ),
            ((count, height, width) if self.missing[0] == "mask" else (0,), np.dtype(np.uint8)),
        ]

    def bytes_of(self, count: int) -> int:
        """Return the bytes of a batch in shared memory."""
        return sum(_aligned(shape, dtype) for shape, dtype in self.parts(count))

    def views(self, buffer: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the parts of a batch as views of a buffer of bytes."""
        found, first = [], 0
        for shape, dtype in self.parts(count):
            size = int(np.prod(shape)) * dtype.itemsize
            kind = torch.from_numpy(np.empty(0, dtype)).dtype
            found.append(buffer[first : first + size].view(kind).view(shape))
            first += _aligned(shape, dtype)
        return found[0], found[1], found[2]

    def read(self, indices: Sequence[int], buffer: Tensor | None = None) -> Batch:
        """Read samples, into a buffer of bytes if there is one.

        Raises
        ------
        ValueError
            If values are missing where none may be, infinite or implausible.
        """
        if buffer is None:
            buffer = torch.empty(self.bytes_of(len(indices)), dtype=torch.uint8)
        batch = Batch(*self.views(buffer, len(indices)), indices=indices)
        coarse, fine, gaps = (part.numpy() for part in batch[:3])
        for row, index in enumerate(indices):
            step, tile = self.place(index)
            here, below = self._cells(tile, 1), self._cells(tile, self.factor)
            count = len(self.coarse.names)
            for back in range(self.history + 1):
                channels = coarse[row, back * count : (back + 1) * count]
                self.coarse.read_into(channels, step - back, *here)
                if not self.checked:
                    _check(self.coarse.names, channels, self.missing[0])
            self.fine.read_into(fine[row], step, *below)
            if not self.checked:
                _check(self.fine.names, fine[row], self.missing[1])
            if self.missing[0] == "mask":
                gaps[row] = _fill(coarse[row], periodic=self.tiles.wraps)
        return batch

    def _cells(self, tile: int, factor: int) -> tuple[slice, np.ndarray]:
        """Return rows and columns of a tile in a field of ``factor`` cells per coarse one."""
        rows, columns = self.tiles.index(self.tiles.tiles[tile], factor)
        return rows, columns.numpy()


def _fields(ds: xr.Dataset, names: tuple[str, ...]) -> Fields:
    return Fields(stack(ds, names).transpose("time", ...).data, names)


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> int:
    size = int(np.prod(shape)) * dtype.itemsize
    return -(-size // ALIGN_BYTES) * ALIGN_BYTES


def _check(names: Sequence[str], fields: np.ndarray, missing: str) -> None:
    for name, field in zip(names, fields, strict=True):
        check_values(name, field, missing=missing)


def _fill(fields: np.ndarray, *, periodic: bool) -> np.ndarray:
    """Fill missing cells of [V, H, W] in place; return where one was, [H, W]."""
    if fields.dtype.kind == "f":
        absent = np.isnan(fields)
        if absent.any():
            fields[...] = fill_gaps(fields, periodic=periodic)
    else:
        absent = fields == MISSING
        if absent.any():  # the integers are exact in float32
            whole = fill_gaps(np.where(absent, np.float32(np.nan), fields), periodic=periodic)
            fields[...] = np.where(np.isnan(whole), MISSING, whole).astype(fields.dtype)
    return np.asarray(absent.any(axis=0))
