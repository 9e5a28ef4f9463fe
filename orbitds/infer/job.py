"""A job before anything is computed: its output, its units, and what it is made of."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from orbitds.catalog import dataset_entry, dataset_names, files_of
from orbitds.checkpoint import load_checkpoint
from orbitds.config import InferConfig
from orbitds.data.history import enter_with_earlier
from orbitds.data.values import Missing
from orbitds.datasets import find_files, roots
from orbitds.description import DESCRIPTION, file_hash, find_checkpoint
from orbitds.device import choose_device
from orbitds.infer.choice import part_for
from orbitds.infer.engine import Engine
from orbitds.infer.lazy import downscale
from orbitds.infer.selection import selected
from orbitds.infer.tiling import Tiles
from orbitds.infer.units import UNIT_BYTES, Units, plan_units
from orbitds.sources import address

# What decides on the last bits of values.
_PACKAGES = ("orbitds", "torch", "numpy", "zarr", "netCDF4")
# Files by whose time of change a Zarr store is known.
_METADATA = ("zarr.json", ".zmetadata", ".zattrs", ".zgroup")


@dataclass(frozen=True, eq=False)
class Job:
    """What is computed, and from what."""

    config: InferConfig
    fine: xr.Dataset
    """The output with its coordinates and attributes, as the accessor gives it; lazy."""
    engine: Engine
    units: Units
    identity: dict[str, Any]
    """By part: what the output is made of and how; whoever goes on needs the same."""

    @property
    def time(self) -> str | None:
        """The caller's name of the time dimension; None if the output has none."""
        return self.engine.layout.names.get("time")

    @property
    def rows(self) -> str:
        """The caller's name of the rows."""
        return self.engine.layout.names["latitude"]

    @property
    def columns(self) -> str:
        """The caller's name of the columns."""
        return self.engine.layout.names["longitude"]


def plan_job(
    config: InferConfig,
    coarse: xr.Dataset,
    *,
    missing: Missing,
    device: str | None,
    tiles: tuple[int, int] | None = None,
) -> Job:
    """Lay out a job; nothing is read but coordinates and samples of the input.

    Parameters
    ----------
    coarse
        The caller's dataset, lazy.
    device
        Device to compute on, if not the first.
    tiles
        Those of a job that was begun, where the config leaves them to chance.

    Raises
    ------
    ValueError
        If input, checkpoint and options do not fit together.
    """
    ds = selected(coarse, time=config.time, region=config.region)
    checkpoint = part_for(load_checkpoint(config.checkpoint), ds, config.factor)
    options = {
        "checkpoint": checkpoint,
        "variables": config.variables,
        "tiles": tiles or parse_tiles(config.tiles),
        "halo": config.halo,
        "batch_size": config.batch_size,
        "constraints": config.constraints,
        "missing": missing,
        "members": config.members,
        "spread": config.spread,
        "device": device,
        "dtype": None if config.dtype == "auto" else config.dtype,
        "compile": config.compile,
    }
    fine = downscale(ds.chunk(), **options)  # lazily: for its coordinates and attributes
    # written before the values, which are computed later
    fine = fine.assign_coords(xr.Dataset(coords=fine.coords).load(scheduler="synchronous").coords)
    # in the chunks of the store: of larger ones all would be read again for each unit within
    entered = enter_with_earlier(ds.chunk(), checkpoint.inputs, missing=missing)
    engine = Engine(entered.ds, entered.layout, options)
    times = entered.ds.sizes["time"]
    cells = sum(field.size for field in fine.data_vars.values())
    row_bytes = 4 * cells // (times * engine.grid.shape[0])
    units = plan_units(times, row_bytes, engine.row_edges, UNIT_BYTES)
    return Job(config, fine, engine, units, _identity(config, engine, units, missing))


def parse_tiles(text: str | None) -> Tiles:
    """Return tiles from ``auto`` or ``RxC``.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if text is None or text == "auto":
        return text
    rows, cross, columns = text.partition("x")
    if cross and rows.isdigit() and columns.isdigit() and int(rows) and int(columns):
        return int(rows), int(columns)
    raise ValueError(f"Wanted tiles as `auto` or rows x columns such as `2x4`, got {text!r}.")


def _identity(
    config: InferConfig, engine: Engine, units: Units, missing: Missing
) -> dict[str, Any]:
    kept = ("time", "region", "tiles", "halo", "batch_size", "constraints", "members", "spread")
    kept = (*kept, "compile", "split", "zarr_format")
    options = config.model_dump(mode="json", include=set(kept))
    folder = find_checkpoint(config.checkpoint)
    return {
        "files of the input": _files(config.input),
        "values of the input": _sampled(engine.coarse),
        "checkpoint": file_hash(folder / DESCRIPTION),
        "variables": list(engine.downscaler.variables),
        "factor": engine.factor,
        **options,
        "missing": missing,
        "dtype": engine.downscaler.dtype,
        "device": choose_device(engine.downscaler.device).type,
        "versions": {name: metadata.version(name) for name in _PACKAGES},
        "units": [units.times, units.rows, units.block_times, units.block_rows],
    }


def _files(inputs: Sequence[str]) -> str:
    """Return a hash of name, size and time of change of the files of an input."""
    found: list[Any] = []
    for text in inputs:
        if address(text):
            found.append(text)
            continue
        if text in dataset_names() or Path(text).suffix in {".yaml", ".yml"}:
            entry = dataset_entry(text)
            found.append(entry.model_dump(mode="json"))
            paths = [] if entry.url is not None else find_files(entry, roots(text))
        else:
            paths = files_of(text)
        for path in paths:
            told = [path / name for name in _METADATA] if path.is_dir() else [path]
            stats = [file.stat() for file in told if file.exists()]
            found.append([path.name, *([stat.st_size, stat.st_mtime_ns] for stat in stats)])
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def _sampled(coarse: xr.Dataset) -> str:
    """Return a hash of names, times, grid and the first, middle and last fields of an input.

    The other values are not hashed: all of them would be read for it.
    """
    digest = hashlib.sha256(json.dumps([str(name) for name in coarse.data_vars]).encode())
    digest.update(json.dumps([str(time) for time in coarse.indexes["time"]]).encode())
    for axis in ("latitude", "longitude"):
        digest.update(np.ascontiguousarray(coarse[axis].values, dtype=np.float64).tobytes())
    last = coarse.sizes["time"] - 1
    sample = coarse.isel(time=sorted({0, last // 2, last})).load(scheduler="synchronous")
    for name in coarse.data_vars:
        digest.update(np.ascontiguousarray(sample[name].values, dtype=np.float32).tobytes())
    return digest.hexdigest()
