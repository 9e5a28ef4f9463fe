"""What `orbitds prepare` will write, known before anything is read."""

import hashlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy as np
import xarray as xr

from orbitds.data.packing import Packing
from orbitds.data.recipe import Recipe
from orbitds.data.skeleton import Layout, Skeleton
from orbitds.data.source import Source, open_source
from orbitds.grid import Grid
from orbitds.periods import chosen, each, told

# What the values of a block take as float32, about; a block is a shard, which is a file.
BLOCK_BYTES = 64 * 2**20
# A block grows to this size so that a chunk of the source is read once.
LARGEST_BLOCK_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class Plan:
    """What is written, known before anything is read."""

    source: Source
    skeleton: Skeleton
    blocks: list[slice]
    identity: dict[str, str]
    """By part: the hash of what the store is made of and how; a restart needs the same."""

    @property
    def step_bytes(self) -> int:
        """Size of one time of both datasets in float32."""
        return _step_bytes(self.skeleton.coarse, self.skeleton.fine)

    def describe(self) -> str:
        """Return the plan for people."""
        layout, times = self.skeleton.layout, self.source.times
        width = np.dtype(layout.dtype).itemsize
        block = layout.times * self.step_bytes
        lines = [f"{len(times)} times, {times[0]} to {times[-1]}"]
        for name, ds in (("coarse", self.skeleton.coarse), ("fine", self.skeleton.fine)):
            shape = (len(times), len(ds.data_vars), ds.sizes["latitude"], ds.sizes["longitude"])
            lines += [
                f"{name}: {', '.join(map(str, ds.data_vars))} on {Grid.of(ds)}",
                f"  {_sizes(shape)} {layout.dtype}, {_bytes(width * math.prod(shape))} before "
                f"compression; chunks {_sizes(layout.chunks(shape))}, shards "
                f"{_sizes(layout.shards(shape))}",
            ]
        statics = ", ".join(map(str, self.skeleton.statics.data_vars)) or "none"
        reads = -(-self.source.chunk // layout.times)
        lines += [
            f"statics: {statics}",
            *self.source.done,
            *_packing_error(self.skeleton),
            f"{len(self.blocks)} blocks of {layout.times} times, {_bytes(block)} each in memory, "
            "beside some chunks of the sources",
        ]
        if reads > 1:
            lines.append(f"each chunk of the sources is read {reads} times: a block cannot hold it")
        return "\n".join(lines)


def plan(recipe: Recipe) -> Plan:
    """Open the sources of a recipe and lay out the store; nothing is read but coordinates.

    Raises
    ------
    FileNotFoundError, ValueError
        As ``open_source``, and where no time lies in the training period.
    """
    source = open_source(recipe)
    for part, periods in source.entry.split.items():
        if len(each(periods)) > 1:
            raise ValueError(
                f"Wanted one period for each part of a training store, got {told(periods)} for "
                f"{part}. Train on the pair itself, or choose one period."
            )
    coarse, fine = (_all_times(ds, source.times) for ds in source.read(slice(0, 1)))
    count = len(source.times)
    size = min(_block_times(_step_bytes(coarse, fine), source.chunk), count)
    layout = Layout(dtype=recipe.dtype, times=size, tiles=recipe.tiles)
    entry = source.entry.model_dump(mode="json")
    about = {
        "recipe": recipe.model_dump(mode="json"),
        "pair": entry,
        "sources": source.fingerprints,
        "done": list(source.done),
        "split": {part: list(period) for part, period in source.entry.split.items()},
        "same_product": source.same_product,
        "versions": {name: metadata.version(name) for name in ("orbitds", "xarray", "zarr")},
        "created": _now(),
    }
    identity = {
        "recipe": _hash([about["recipe"] | {"pair": None}, layout.model_dump()]),
        "pair": _hash(entry),
        **{f"dataset {name}": _hash(found) for name, found in source.fingerprints.items()},
    }
    skeleton = Skeleton(coarse, fine, source.statics, layout, about | {"identity": identity})
    blocks = [slice(at, min(at + size, count)) for at in range(0, count, size)]
    if not training_times(source).any():
        raise ValueError(
            f"Wanted times in the training period {told(source.entry.split['train'])}, got "
            f"none from {source.times[0]} to {source.times[-1]}. Correct the split."
        )
    return Plan(source, skeleton, blocks, identity)


def training_times(source: Source) -> np.ndarray:
    """Return whether each time of a source lies in the training period, [T]."""
    inside = np.zeros(len(source.times), dtype=bool)
    inside[chosen(source.times, source.entry.split["train"])] = True
    return inside


def _all_times(ds: xr.Dataset, times: Any) -> xr.Dataset:  # noqa: ANN401  an index of pandas
    """Return a dataset's shape over all times; the values are not there."""
    fields = {
        str(name): (
            field.dims,
            np.broadcast_to(np.float32(np.nan), (len(times), *field.shape[1:])),
            field.attrs,
        )
        for name, field in ds.data_vars.items()
    }
    coords = {name: ds[name] for name in ("latitude", "longitude")}
    return xr.Dataset(fields, coords | {"time": ("time", times, ds["time"].attrs)}, ds.attrs)


def _step_bytes(*datasets: xr.Dataset) -> int:
    """Return the size of one time of datasets in float32."""
    return sum(
        4 * ds.sizes["latitude"] * ds.sizes["longitude"] * len(ds.data_vars) for ds in datasets
    )


def _block_times(step_bytes: int, chunk: int) -> int:
    """Return the times of a block: whole chunks of the source where they fit."""
    times = max(1, BLOCK_BYTES // step_bytes)
    if chunk <= times:
        return times // chunk * chunk
    parts = -(-chunk * step_bytes // LARGEST_BLOCK_BYTES)
    return -(-chunk // parts)


def _packing_error(skeleton: Skeleton) -> Iterator[str]:
    if skeleton.layout.dtype != "int16":
        return
    both = {**skeleton.coarse.data_vars, **skeleton.fine.data_vars}
    names = [str(name) for name in both]
    packing = Packing.of(names)
    for name, step, is_log in zip(names, packing.step, packing.is_log, strict=True):
        unit = both[name].attrs["units"]
        told = f"{50 * step:.2g} % of (1 + value)" if is_log else f"{step / 2:.2g} {unit}"
        yield f"int16: error of {name} at most {told}"


def _now() -> str:
    """Return the time of making; SOURCE_DATE_EPOCH stands in for it where bytes must agree."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    now = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(int(epoch), UTC)
    return now.isoformat(timespec="seconds")


def _hash(plain: object) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
