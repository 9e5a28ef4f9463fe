"""Downscaling: a dataset in, a dataset out; as a graph that has read and run nothing if it is lazy.

A lazy answer is made of blocks of time, whole fields each, or bands of rows of very large ones.
What a block needs travels as the folder of the checkpoint and the coordinates of the grid, once.
"""

import warnings
from itertools import chain
from operator import itemgetter
from os import PathLike
from typing import Any

import dask.array
import numpy as np
import xarray as xr

from orbitds.checkpoint import Checkpoint, load_checkpoint
from orbitds.data.axes import DIMENSIONS
from orbitds.data.history import enter_with_earlier
from orbitds.data.layout import MEMBER
from orbitds.data.values import Missing, check_missing, missing_of
from orbitds.grid import Grid
from orbitds.infer.block import COMPUTING, Block, settings_of
from orbitds.infer.choice import part_for
from orbitds.infer.downscaler import Downscaler
from orbitds.infer.encoding import encoded
from orbitds.infer.mask import POLICY, check_some_values
from orbitds.infer.part import Part
from orbitds.infer.provenance import told_settings
from orbitds.infer.template import dress, with_time_told
from orbitds.infer.units import plan_units

# Fine cells of a lazy block: 64 MiB a variable.
BLOCK_FINE_CELLS = 2**24


def downscale(
    ds: xr.Dataset,
    checkpoint: str | PathLike[str] | Checkpoint,
    *,
    factor: int | None = None,
    missing: Missing | None = None,
    **options: Any,  # noqa: ANN401  the downscaler's
) -> xr.Dataset:
    """Return a dataset on the checkpoint's finer grid; see ``ds.orbit.downscale``.

    Parameters
    ----------
    factor
        Which factor of a checkpoint of several sets; by default that of the nearest spacing.
    missing
        What NaN is; by default what the dataset says of itself.
    options
        Of :class:`~orbitds.infer.downscaler.Downscaler`.
    """
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = load_checkpoint(str(checkpoint))
    missing = missing_of(ds) if missing is None else missing
    downscaler = Downscaler(part_for(checkpoint, ds, factor), missing=missing, **options)
    checkpoint = downscaler.checkpoint
    entered = enter_with_earlier(ds, checkpoint.inputs, missing=check_missing(downscaler.missing))
    grid = Grid.of(entered.ds)
    downscaler.check_grid(grid)
    if any(values.chunks is not None for values in entered.ds.data_vars.values()):
        fine = _lazily(downscaler, entered.ds, grid)
    else:
        if downscaler.missing == "mask":
            gaps = {name: int(entered.ds[name].isnull().sum()) for name in checkpoint.inputs}
            check_some_values(gaps, entered.ds[checkpoint.inputs[0]].size)
        with COMPUTING:
            fine = downscaler(entered.ds)
    fine = fine.assign_attrs(_told(downscaler, grid))
    fine = entered.layout.restore(fine, checkpoint.factor, checkpoint.model.placement)
    time = entered.layout.names.get("time")
    return encoded(with_time_told(fine, time), time)


def _told(downscaler: Downscaler, grid: Grid) -> dict[str, str]:
    told = told_settings(settings_of(downscaler, grid))
    if downscaler.constraints:
        told["orbitds_constraints"] = " ".join(downscaler.constraints)
    if downscaler.missing == "mask":
        told[POLICY] = downscaler.missing
    return told


def _lazily(downscaler: Downscaler, coarse: xr.Dataset, grid: Grid) -> xr.Dataset:
    """Return the canonical answer before its values."""
    for lack in downscaler.fits(grid):
        # told here too: what a worker warns of is seen by nobody
        warnings.warn(lack, UserWarning, stacklevel=4)
    fine_grid = downscaler.fine_grid(grid)
    cells = fine_grid.shape[0] * fine_grid.shape[1] * downscaler.distribution.drawn
    block = max(1, BLOCK_FINE_CELLS // cells)
    coarse = coarse.chunk(latitude=-1, longitude=-1).unify_chunks()
    if max(coarse.chunksizes["time"]) > block:
        coarse = coarse.chunk(time=block)
    fields = _joined(
        [_graph(Block(downscaler, grid, part), coarse) for part in _parts(downscaler, grid, cells)]
    )
    statics = downscaler.statics_source(fine_grid)
    return dress(fields, coarse, fine_grid, downscaler.checkpoint, statics=statics)


def _parts(downscaler: Downscaler, grid: Grid, cells: int) -> list[Part]:
    """Return the parts of a field that are blocks of their own: the field, or bands of its rows.

    Parameters
    ----------
    cells
        Fine cells that are computed at a time.
    """
    height, width = grid.shape
    edges = sorted({tile.core_rows.start for tile in downscaler.tiles_for(grid).tiles} | {height})
    bands = plan_units(1, cells // height, edges, BLOCK_FINE_CELLS)
    return [Part(band.rows, range(width)) for band in bands]


def _joined(bands: list[dict[str, dask.array.Array]]) -> dict[str, dask.array.Array]:
    if len(bands) == 1:
        return bands[0]
    return {
        name: dask.array.concatenate([band[name] for band in bands], axis=-2) for name in bands[0]
    }


def _graph(work: Block, coarse: xr.Dataset) -> dict[str, dask.array.Array]:
    """Return fields of a part whose blocks of time are one task each, with all variables.

    Two layers of dask for any number of blocks: the work, and the variable taken out of it.
    """
    downscaler = work.downscaler
    times = coarse["time"]
    fields = [coarse[name] for name in work.inputs]
    # static fields are the same at all times
    fields = [of if "time" in of.dims else of.expand_dims(time=times) for of in fields]
    chunks = {"time": coarse.chunksizes["time"]}
    whole = [of.transpose(*DIMENSIONS).chunk(chunks).data for of in fields]
    rows, columns = work.window
    inputs = [values[:, rows.start : rows.stop] for values in whole]
    assert columns.size == coarse.sizes["longitude"]  # a band goes all the way round
    labels = dask.array.from_array(times.values, chunks=(chunks["time"],))  # pyright: ignore[reportArgumentType]  dask knows no types
    # what of a field is missing at a time is known from all of it
    known = downscaler.missing == "error" or len(rows) == coarse.sizes["latitude"]
    empty = (None, None) if known else (_empty(whole), "t")
    # one object a block: fields of members and their spread have unlike shapes
    blocks = dask.array.blockwise(
        work,
        "t",
        labels,
        "t",
        *empty,
        *chain.from_iterable((values, "tyx") for values in inputs),
        dtype=object,
        meta=np.empty(0, dtype=object),
    )
    factor = downscaler.checkpoint.factor
    sizes = {
        "y": len(work.part.rows) * factor,
        "x": len(work.part.columns) * factor,
        "m": downscaler.distribution.members,
    }
    letters = {"time": "t", MEMBER: "m", "latitude": "y", "longitude": "x"}
    answer = {}
    for name, dims in downscaler.dims.items():
        index = "".join(letters[dim] for dim in dims)
        answer[name] = dask.array.blockwise(
            itemgetter(name),
            index,
            blocks,
            "t",
            new_axes={letter: size for letter, size in sizes.items() if letter in index},
            dtype=np.float32,
            meta=np.empty((0,) * len(index), dtype=np.float32),
        )
    return answer


def _empty(inputs: list[dask.array.Array]) -> dask.array.Array:
    """Return at which times an input has no value in the whole field, lazily."""
    return dask.array.stack([dask.array.isnan(v).all(axis=(1, 2)) for v in inputs]).any(axis=0)
