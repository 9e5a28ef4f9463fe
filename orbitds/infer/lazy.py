"""Downscaling: a dataset in, a dataset out; lazy where it is."""

from collections.abc import Sequence
from os import PathLike

import xarray as xr

from orbitds.checkpoint import Checkpoint
from orbitds.data.history import enter_with_earlier
from orbitds.data.values import Missing
from orbitds.grid import Grid
from orbitds.infer.downscaler import Downscaler
from orbitds.infer.mask import POLICY, check_some_values
from orbitds.infer.template import blank
from orbitds.infer.tiling import Tiles

# Fine cells of a lazy block: 64 MiB a variable.
BLOCK_FINE_CELLS = 2**24


def downscale(
    ds: xr.Dataset,
    checkpoint: str | PathLike[str] | Checkpoint,
    *,
    variables: Sequence[str] | None = None,
    tiles: Tiles = None,
    batch_size: int | None = None,
    constraints: Sequence[str] = (),
    missing: Missing = "error",
    device: str | None = None,
) -> xr.Dataset:
    """Return a dataset on the checkpoint's finer grid; see ``ds.orbit.downscale``."""
    downscaler = Downscaler(
        checkpoint,
        variables=variables,
        tiles=tiles,
        batch_size=batch_size,
        constraints=constraints,
        missing=missing,
        device=device,
    )
    checkpoint = downscaler.checkpoint
    entered = enter_with_earlier(ds, checkpoint.inputs, missing=missing)
    downscaler.check_grid(Grid.of(entered.ds))
    if entered.ds.chunks:
        grid = downscaler.fine_grid(Grid.of(entered.ds))
        block = max(1, BLOCK_FINE_CELLS // (grid.shape[0] * grid.shape[1]))
        coarse = entered.ds.chunk(latitude=-1, longitude=-1).unify_chunks()
        if max(coarse.chunksizes["time"]) > block:
            coarse = coarse.chunk(time=block)
        statics = downscaler.statics_source(grid)
        template = blank(downscaler.variables, coarse, grid, checkpoint, statics=statics)
        fine = xr.map_blocks(downscaler, coarse, template=template)
    else:
        if missing == "mask":
            gaps = {name: int(entered.ds[name].isnull().sum()) for name in checkpoint.inputs}
            check_some_values(gaps, entered.ds[checkpoint.inputs[0]].size)
        fine = downscaler(entered.ds)
    if downscaler.constraints:
        fine = fine.assign_attrs(orbitds_constraints=" ".join(downscaler.constraints))
    if missing == "mask":
        fine = fine.assign_attrs({POLICY: missing})
    return entered.layout.restore(fine, checkpoint.factor, checkpoint.model.placement)
