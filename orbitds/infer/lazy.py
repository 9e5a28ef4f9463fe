"""Downscaling: a dataset in, a dataset out; as a graph that has read and run nothing if it is lazy.

A lazy answer is made of blocks of time, whole fields each. What a block needs travels as the folder
of the checkpoint and the coordinates of the grid, once for all blocks.
"""

import threading
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from os import PathLike
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import xarray as xr

from orbitds.checkpoint import Checkpoint, load_checkpoint
from orbitds.data.axes import DIMENSIONS
from orbitds.data.history import enter_with_earlier
from orbitds.data.layout import MEMBER
from orbitds.data.values import check_missing
from orbitds.description import find_checkpoint
from orbitds.grid import Grid
from orbitds.infer.downscaler import Downscaler
from orbitds.infer.encoding import encoded
from orbitds.infer.mask import POLICY, check_some_values
from orbitds.infer.provenance import told_settings
from orbitds.infer.template import dress, with_time_told

# Fine cells of a lazy block: 64 MiB a variable.
BLOCK_FINE_CELLS = 2**24
# One block at a time in a process: the model uses all cores or the whole device itself, and is
# moved there and loaded once.
_COMPUTING = threading.Lock()


def downscale(
    ds: xr.Dataset,
    checkpoint: str | PathLike[str] | Checkpoint,
    **options: Any,  # noqa: ANN401  the downscaler's
) -> xr.Dataset:
    """Return a dataset on the checkpoint's finer grid; see ``ds.orbit.downscale``.

    Parameters
    ----------
    options
        Of :class:`~orbitds.infer.downscaler.Downscaler`.
    """
    downscaler = Downscaler(_portable(checkpoint), **options)
    checkpoint = downscaler.checkpoint
    entered = enter_with_earlier(ds, checkpoint.inputs, missing=check_missing(downscaler.missing))
    grid = Grid.of(entered.ds)
    downscaler.check_grid(grid)
    if any(values.chunks is not None for values in entered.ds.data_vars.values()):
        fine = _lazily(Block(downscaler, grid), entered.ds)
    else:
        if downscaler.missing == "mask":
            gaps = {name: int(entered.ds[name].isnull().sum()) for name in checkpoint.inputs}
            check_some_values(gaps, entered.ds[checkpoint.inputs[0]].size)
        with _COMPUTING:
            fine = downscaler(entered.ds)
    fine = fine.assign_attrs(_told(downscaler, grid))
    fine = entered.layout.restore(fine, checkpoint.factor, checkpoint.model.placement)
    time = entered.layout.names.get("time")
    return encoded(with_time_told(fine, time), time)


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


def _told(downscaler: Downscaler, grid: Grid) -> dict[str, str]:
    told = told_settings(settings_of(downscaler, grid))
    if downscaler.constraints:
        told["orbitds_constraints"] = " ".join(downscaler.constraints)
    if downscaler.missing == "mask":
        told[POLICY] = downscaler.missing
    return told


def _portable(checkpoint: str | PathLike[str] | Checkpoint) -> Path | Checkpoint:
    """Return the folder of a checkpoint, by which other processes load it; itself without one."""
    if not isinstance(checkpoint, Checkpoint):
        return find_checkpoint(str(checkpoint)).absolute()
    if checkpoint.folder is None:
        return checkpoint
    try:
        # one that was changed after loading is not what lies in its folder
        is_same = load_checkpoint(checkpoint.folder) is checkpoint
    except (OSError, ValueError):
        is_same = False
    return checkpoint.folder if is_same else checkpoint


def _lazily(work: "Block", coarse: xr.Dataset) -> xr.Dataset:
    """Return the canonical answer before its values."""
    downscaler = work.downscaler
    for lack in downscaler.fits(work.grid):
        # told here too: what a worker warns of is seen by nobody
        warnings.warn(lack, UserWarning, stacklevel=4)
    fine_grid = downscaler.fine_grid(work.grid)
    cells = fine_grid.shape[0] * fine_grid.shape[1] * downscaler.distribution.drawn
    block = max(1, BLOCK_FINE_CELLS // cells)
    coarse = coarse.chunk(latitude=-1, longitude=-1).unify_chunks()
    if max(coarse.chunksizes["time"]) > block:
        coarse = coarse.chunk(time=block)
    members = downscaler.distribution.members
    counts = {name: members if MEMBER in dims else None for name, dims in downscaler.dims.items()}
    fields = _graph(work, coarse, counts, fine_grid)
    statics = downscaler.statics_source(fine_grid)
    return dress(fields, coarse, fine_grid, downscaler.checkpoint, statics=statics)


def _graph(
    work: "Block", coarse: xr.Dataset, members: Mapping[str, int | None], fine_grid: Grid
) -> dict[str, dask.array.Array]:
    """Return fields whose blocks of time are one task each, with all variables.

    Two layers of dask for any number of blocks: the work, and the variable taken out of it.

    Parameters
    ----------
    members
        By variable the members, None for one without their dimension.
    """
    inputs = [coarse[name].transpose(*DIMENSIONS).data for name in work.inputs]
    times = dask.array.from_array(coarse["time"].values, chunks=(coarse.chunksizes["time"],))  # pyright: ignore[reportArgumentType]  dask knows no types
    # one object a block: fields of members and their spread have unlike shapes
    blocks = dask.array.blockwise(
        work,
        "t",
        times,
        "t",
        *chain.from_iterable((values, "tyx") for values in inputs),
        dtype=object,
        meta=np.empty(0, dtype=object),
    )
    rows, columns = fine_grid.shape
    return {
        name: dask.array.blockwise(
            itemgetter(name),
            "tyx" if count is None else "tmyx",
            blocks,
            "t",
            new_axes={"y": rows, "x": columns} | ({} if count is None else {"m": count}),
            dtype=np.float32,
            meta=np.empty((0,) * (3 if count is None else 4), dtype=np.float32),
        )
        for name, count in members.items()
    }


@dataclass(frozen=True, eq=False)
class Block:
    """The work of a block: coarse values of some times in, fine values by variable out.

    Travels to other processes as the folder of its checkpoint, whose weights each loads once.
    """

    downscaler: Downscaler
    grid: Grid
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Tells a checkpoint in memory, which may change, from others."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Input variables, in the order in which a block takes them."""
        return self.downscaler.checkpoint.inputs

    def __call__(self, times: np.ndarray, *fields: list) -> dict[str, np.ndarray]:
        """Return fine values by variable.

        Parameters
        ----------
        fields
            Coarse values [T, H, W] of each input, in the lists of blocks along rows and columns
            that dask makes; there is one.
        """
        with _COMPUTING:
            named = zip(self.inputs, fields, strict=True)
            coarse = xr.Dataset(
                {name: (DIMENSIONS, values) for name, ((values,),) in named},
                coords={
                    "time": times,
                    "latitude": self.grid.latitude_deg,
                    "longitude": self.grid.longitude_deg,
                },
            )
            fine = self.downscaler(coarse)
        return {str(name): values.values for name, values in fine.data_vars.items()}

    def __dask_tokenize__(self) -> tuple:
        downscaler, grid, source = self.downscaler, self.grid, self.downscaler.source
        return (
            type(self).__qualname__,
            (self.token,) if source.folder is None else (str(source.folder), source.sha256),
            settings_of(downscaler, grid),
            downscaler.batch_size,
            downscaler.device,
            grid.latitude_deg,
            grid.longitude_deg,
        )

    def __getstate__(self) -> dict[str, Any]:
        if self.downscaler.source.folder is None:
            name = self.downscaler.checkpoint.name
            raise ValueError(
                "Wanted a checkpoint in a folder, which other processes load by themselves, got "
                f"{name!r}, which is in memory alone. Save it and give its folder, or compute in "
                "this process: scheduler='threads'."
            )
        return self.__dict__
