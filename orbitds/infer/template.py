"""The output dataset around its values: coordinates, bounds, CF attributes, provenance."""

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import dask.array
import numpy as np
import xarray as xr

from orbitds.checkpoint import MADE_WITH, Checkpoint
from orbitds.data.axes import DIMENSIONS
from orbitds.grid import Grid
from orbitds.infer.distribution import SPREAD
from orbitds.variables import variable

# Attribute of the answer: where the static fields are from, "none" where the model did without.
STATICS = "orbitds_statics"
_MEMBER = {"standard_name": "realization", "long_name": "ensemble member", "units": "1"}


def dress(
    fields: Mapping[str, Any],
    coarse: xr.Dataset,
    grid: Grid,
    checkpoint: Checkpoint,
    *,
    statics: str | None = None,
) -> xr.Dataset:
    """Return arrays [T, (M,) Hf, Wf] as a canonical dataset with everything a reader needs.

    Parameters
    ----------
    fields
        Physical values by variable, numpy or dask; those of M members have a second axis, and what
        ends in ``_spread`` is the standard deviation of the variable before it.
    coarse
        The canonical input: its times and global attributes come along.
    grid
        The fine grid.
    statics
        Where the static fields are from that the model was given, if that is known.
    """
    time, *space = DIMENSIONS
    members = {values.shape[1] for values in fields.values() if values.ndim == 4}
    ds = xr.Dataset(
        {
            name: (
                DIMENSIONS if values.ndim == 3 else (time, "member", *space),
                values,
                _attributes(name, coarse),
            )
            for name, values in fields.items()
        },
        coords={"member": ("member", np.arange(max(members), dtype=np.int32), _MEMBER)}
        if members
        else {},
    )
    ds = ds.assign_coords(
        {
            "time": coarse["time"],
            "latitude": ("latitude", grid.latitude_deg, _axis("latitude", "north", "Y")),
            "longitude": ("longitude", grid.longitude_deg, _axis("longitude", "east", "X")),
            "latitude_bnds": (("latitude", "bnds"), grid.latitude_bounds_deg.clip(-90, 90)),
            "longitude_bnds": (("longitude", "bnds"), grid.longitude_bounds_deg),
        },
    )
    return ds.assign_attrs(_provenance(coarse, checkpoint, statics))


def blank(
    names: Sequence[str],
    coarse: xr.Dataset,
    grid: Grid,
    checkpoint: Checkpoint,
    *,
    statics: str | None = None,
) -> xr.Dataset:
    """Return the output dataset before its values: lazy, chunked in time as the input is."""
    shape = (coarse.sizes["time"], *grid.shape)
    chunks = (coarse.chunksizes["time"], grid.shape[0], grid.shape[1])
    values = dask.array.zeros(shape, chunks=chunks, dtype=np.float32)
    return dress(dict.fromkeys(names, values), coarse, grid, checkpoint, statics=statics)


def _attributes(name: str, coarse: xr.Dataset) -> dict[str, str]:
    of = name.removesuffix(SPREAD)
    row = variable(of)
    attributes = {"long_name": row.long_name, "units": row.units}
    if of != name:
        return attributes | {"long_name": f"standard deviation of the predicted {row.long_name}"}
    if row.standard_name:
        attributes["standard_name"] = row.standard_name
    if name in coarse and "cell_methods" in coarse[name].attrs:
        attributes["cell_methods"] = coarse[name].attrs["cell_methods"]
    return attributes


def _axis(name: str, direction: str, axis: str) -> dict[str, str]:
    return {
        "standard_name": name,
        "long_name": name,
        "units": f"degrees_{direction}",
        "axis": axis,
        "bounds": f"{name}_bnds",
    }


def _provenance(coarse: xr.Dataset, checkpoint: Checkpoint, statics: str | None) -> dict[str, str]:
    version = metadata.version("orbitds")
    done = (
        f"downscaled {checkpoint.factor}x by orbitds {version} with the checkpoint "
        f"{checkpoint.name} (weights sha256 {checkpoint.fingerprint})"
    )
    left_out = {"missing", STATICS}  # ours of the input, and of an earlier answer
    kept = {key: value for key, value in coarse.attrs.items() if key not in left_out}
    earlier = kept.get("history")
    used = {} if statics is None else {STATICS: statics}
    return (
        kept
        | used
        | {
            "Conventions": "CF-1.11",
            "history": f"{earlier}\n{done}" if earlier else done,
            "orbitds_version": version,
            MADE_WITH: checkpoint.name,
            "orbitds_checkpoint_sha256": checkpoint.fingerprint,
        }
    )
