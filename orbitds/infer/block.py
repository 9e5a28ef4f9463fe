"""The work of one block of a lazy answer, as it travels to the process that does it."""

import threading
import uuid
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from orbitds.data.axes import DIMENSIONS
from orbitds.grid import Grid
from orbitds.infer.downscaler import Downscaler
from orbitds.infer.part import Part

# One block at a time in a process: the model uses all cores or the whole device and its memory
# itself, and is loaded once.
COMPUTING = threading.Lock()


@dataclass(frozen=True, eq=False)
class Block:
    """Coarse values of some times in, fine values of a part of the field by variable out.

    Travels to other processes as the folder of its checkpoint, whose weights each loads once.
    """

    downscaler: Downscaler
    grid: Grid
    """The canonical grid of the whole field."""
    part: Part
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Tells a checkpoint in memory, which may change, from others."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Input variables, in the order in which a block takes them."""
        return self.downscaler.checkpoint.inputs

    @property
    def window(self) -> tuple[range, np.ndarray]:
        """Coarse rows and columns that a block takes."""
        return self.downscaler.window_of(self.grid, self.part)

    def __call__(
        self, times: np.ndarray, empty: np.ndarray | None, *fields: list
    ) -> dict[str, np.ndarray]:
        """Return fine values by variable.

        Parameters
        ----------
        empty
            At which times an input has no value in the whole field; None where that is known from
            the values, or there is no gap.
        fields
            Values [T, H, W] of each input in the window, in the lists of blocks along rows and
            columns that dask makes; there is one.
        """
        with COMPUTING:
            named = zip(self.inputs, fields, strict=True)
            rows, columns = self.window
            coarse = xr.Dataset(
                {name: (DIMENSIONS, values) for name, ((values,),) in named},
                coords={
                    "time": times,
                    "latitude": self.grid.latitude_deg[rows.start : rows.stop],
                    "longitude": self.grid.longitude_deg[columns],
                },
            )
            fine = self.downscaler.compute(coarse, self.grid, self.part, empty_times=empty)
        return {str(name): values.values for name, values in fine.data_vars.items()}

    def __dask_tokenize__(self) -> tuple:
        downscaler, grid = self.downscaler, self.grid
        checkpoint = downscaler.checkpoint
        return (
            type(self).__qualname__,
            self.token if checkpoint.folder is None else checkpoint.identity,
            settings_of(downscaler, grid),
            downscaler.batch_size,
            downscaler.device,
            grid.latitude_deg,
            grid.longitude_deg,
            (self.part.rows.start, self.part.rows.stop),
            (self.part.columns.start, self.part.columns.stop),
        )

    def __getstate__(self) -> dict[str, Any]:
        if self.downscaler.checkpoint.folder is None:
            name = self.downscaler.checkpoint.name
            raise ValueError(
                "Wanted a checkpoint in a folder, which other processes load by themselves, got "
                f"{name!r}, which is in memory alone. Save it and give its folder, or compute in "
                "this process: scheduler='threads'."
            )
        return self.__dict__


def settings_of(downscaler: Downscaler, grid: Grid) -> dict[str, Any]:
    """Return the settings that decide on values, as they are resolved for a grid."""
    tiles, distribution = downscaler.tiles_for(grid), downscaler.distribution
    return {
        "variables": list(downscaler.variables),
        "tiles": [tiles.rows, tiles.columns],
        "halo": list(tiles.halo),
        "constraints": list(downscaler.constraints),
        "missing": downscaler.missing,
        "dtype": downscaler.dtype,
        "members": distribution.members,
        "spread": distribution.spread,
    }
