"""Fields of many times behind one window at a time, as they are stored."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from orbitds.data.packing import Packing


@dataclass(frozen=True, eq=False)
class Fields:
    """Fields [T, V, H, W] of some variables, and how to make physical values of them.

    Parameters
    ----------
    array
        A numpy, dask or Zarr array of that shape.
    names
        The V variables.
    packing
        Of integers; None where the values are physical already.
    first, times
        Which times of the array: all by default.
    """

    array: Any
    names: tuple[str, ...]
    packing: Packing | None = None
    first: int = 0
    times: int | None = None

    def __len__(self) -> int:
        return self.array.shape[0] - self.first if self.times is None else self.times

    def at(self, times: slice) -> "Fields":
        """Return the fields of some consecutive times; nothing is read."""
        start, stop, _ = times.indices(len(self))
        first = self.first + start
        return replace(self, first=first, times=max(stop - start, 0))

    def read(self, step: int, rows: slice, columns: np.ndarray) -> np.ndarray:
        """Return one time in a window, [V, h, w], as stored.

        Parameters
        ----------
        columns
            Indices of neighbouring columns; they may go round the globe, more than once.
        """
        height = len(range(*rows.indices(self.array.shape[2])))
        window = np.empty((self.array.shape[1], height, columns.size), self.array.dtype)
        self.read_into(window, step, rows, columns)
        return window

    def read_into(self, out: np.ndarray, step: int, rows: slice, columns: np.ndarray) -> None:
        """Write into ``out`` [V, h, w] what ``read`` returns: one copy less for a batch."""
        first = 0
        for run in np.split(columns, np.flatnonzero(np.diff(columns) != 1) + 1):
            part = out[..., first : first + run.size]
            # slices, which every kind of array reads without a copy of more than is wanted
            place = np.s_[self.first + step, :, rows, run[0] : run[-1] + 1]
            if hasattr(self.array, "get_basic_selection"):  # Zarr decodes where it is told to
                from zarr.core.buffer.cpu import NDBuffer

                self.array.get_basic_selection(place, out=NDBuffer.from_numpy_array(part))
            else:
                part[...] = self.array[place]
            first += run.size

    def physical(self, stored: Tensor) -> Float[Tensor, "*B V H W"]:
        """Return physical values of what ``read`` gave, in float32, on its device."""
        return stored.to(torch.float32) if self.packing is None else self.packing.unpack(stored)
