"""Fields of many times behind one window at a time, as they are stored."""

from dataclasses import dataclass
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
    """

    array: Any
    names: tuple[str, ...]
    packing: Packing | None = None

    def __len__(self) -> int:
        return self.array.shape[0]

    def read(self, step: int, rows: slice, columns: np.ndarray) -> np.ndarray:
        """Return one time in a window, [V, h, w], as stored.

        Parameters
        ----------
        columns
            Indices of neighbouring columns; they may go round the globe, more than once.
        """
        runs = np.split(columns, np.flatnonzero(np.diff(columns) != 1) + 1)
        # slices, which every kind of array reads without a copy of more than is wanted
        parts = [self.array[step, :, rows, run[0] : run[-1] + 1] for run in runs]
        return np.ascontiguousarray(np.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0])

    def physical(self, stored: Tensor) -> Float[Tensor, "*B V H W"]:
        """Return physical values of what ``read`` gave, in float32, on its device."""
        return stored.to(torch.float32) if self.packing is None else self.packing.unpack(stored)
