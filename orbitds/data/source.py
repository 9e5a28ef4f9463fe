"""What a training store is made from: days and grids of a pair's datasets, block by block."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from orbitds.catalog import (
    CoarsenEntry,
    PairEntry,
    StaticsEntry,
    dataset_entry,
    open_dataset,
    pair_entry,
)
from orbitds.data.align import in_region
from orbitds.data.daily import Days
from orbitds.data.door import enter
from orbitds.data.pair import open_pair, statics_on
from orbitds.data.recipe import Recipe
from orbitds.data.regrid import LEAST_SHARE, cell_grid, regrid
from orbitds.grid import TOLERANCE_CELLS, Grid
from orbitds.variables import without_steps


@dataclass(frozen=True, eq=False)
class Source:
    """A coarse and a fine dataset on the grids and times wanted, of which blocks are read."""

    times: pd.Index
    """Times of the store."""
    read: Callable[[slice], tuple[xr.Dataset, xr.Dataset]]
    """Coarse and fine data of some times, lazily; canonical."""
    statics: xr.Dataset
    entry: PairEntry
    same_product: bool
    chunk: int
    """Times of the store that a chunk of a source holds: fewer would read it more than once."""
    done: tuple[str, ...]
    """What was done to the data, for people."""
    fingerprints: dict[str, dict[str, Any]]
    """By dataset: what would differ if it were another."""


@dataclass(frozen=True, eq=False)
class _Stream:
    """One dataset over time."""

    times: pd.Index
    read: Callable[[slice | np.ndarray], xr.Dataset]
    chunk: int
    done: tuple[str, ...] = ()


def open_source(recipe: Recipe) -> Source:
    """Open what a recipe names, lazily.

    Raises
    ------
    FileNotFoundError
        If there is no such pair or dataset.
    ValueError
        If the datasets do not fit each other, or a grid cannot be made of them.
    """
    entry = pair_entry(recipe.pair)
    if entry.aggregate is None and recipe.resolution_deg is None and recipe.factor is None:
        return _as_it_is(recipe, entry)
    coarsen = entry.coarse.coarsen if isinstance(entry.coarse, CoarsenEntry) else None
    if coarsen is not None and recipe.factor is not None:
        raise ValueError(
            f"Wanted one factor, got {recipe.factor} and the pair's own {coarsen}. "
            "Leave --factor out, or change `coarsen` in the pair's YAML file."
        )
    factor = coarsen or recipe.factor
    fine = _stream(entry.fine, entry.outputs, entry, recipe)
    inputs = entry.fine if isinstance(entry.coarse, CoarsenEntry) else entry.coarse
    coarse = _stream(inputs, entry.inputs, entry, recipe)
    whole = Grid.of(fine.read(slice(0, 1)))
    grid = whole
    if recipe.resolution_deg is not None:
        grid = cell_grid(whole, recipe.resolution_deg, multiple=factor or 1)
    fine_grid = _of_cells(grid)
    given = Grid.of(coarse.read(slice(0, 1)))
    coarse_grid = given if factor is None else fine_grid.coarsen(factor)
    coarse_grid.factor_to(fine_grid)
    times, (coarse_at, fine_at) = _common(coarse.times, fine.times, recipe.pair)

    least = entry.coarse.least_valid if isinstance(entry.coarse, CoarsenEntry) else LEAST_SHARE

    def read(steps: slice) -> tuple[xr.Dataset, xr.Dataset]:
        first = regrid(coarse.read(coarse_at(steps)), coarse_grid, least_valid=least)
        second = regrid(fine.read(fine_at(steps)), fine_grid)
        # after regridding: the cells at the border of the region know what lies beyond it
        return (first, second) if entry.region is None else in_region(first, second, entry.region)

    done = [*dict.fromkeys((*fine.done, *coarse.done))]
    for side, old, new in (("fine", whole, fine_grid), ("coarse", given, coarse_grid)):
        if not old.matches(new):
            done.append(f"{side} data regridded conservatively from {old} to {new}")
    like = read(slice(0, 1))[1]
    if entry.region is not None:
        done.append(f"kept to the region: fine {Grid.of(like)}")
    return Source(
        times,
        read,
        _statics(entry, like),
        entry,
        entry.same_product or coarsen is not None,
        max(coarse.chunk, fine.chunk),
        tuple(done),
        _fingerprints(entry),
    )


def _as_it_is(recipe: Recipe, entry: PairEntry) -> Source:
    """Return the source of a pair that needs neither days nor another grid."""
    pair = open_pair(recipe.pair)

    def read(steps: slice) -> tuple[xr.Dataset, xr.Dataset]:
        return pair.coarse.isel(time=steps), pair.fine.isel(time=steps)

    chunk = max(_chunk(pair.coarse), _chunk(pair.fine))
    times, same = pair.fine.indexes["time"], pair.same_product
    done = pair.notes
    return Source(times, read, pair.statics, entry, same, chunk, done, _fingerprints(entry))


def _stream(name: str, variables: tuple[str, ...], entry: PairEntry, recipe: Recipe) -> _Stream:
    opened, missing = open_dataset(name), dataset_entry(name).missing
    # an earlier time of a variable is the same field: it is stored once
    variables = tuple(dict.fromkeys(without_steps(key)[0] for key in variables))
    if entry.aggregate is None:
        ds = enter(opened, variables, missing=missing).ds
        return _Stream(ds.indexes["time"], lambda steps: ds.isel(time=steps), _chunk(ds))
    days = Days.of(opened, variables, stamp=recipe.stamp, missing=missing)
    made = ", ".join(f"{key} = {how} of {of}" for key, (of, how) in days.methods.items())
    done = [
        f"{name}: UTC days of {days.per_day} times, {made}; amounts stamped at the {recipe.stamp}"
    ]
    if days.left_out:
        done.append(f"{name}: left out for missing times: {', '.join(days.left_out)}")
    chunk = -(-_chunk(days.ds) // days.per_day)
    return _Stream(days.times, days.read, chunk, tuple(done))


def _of_cells(grid: Grid) -> Grid:
    """Refuse rows of points that include a pole: half of such a cell is nowhere."""
    if np.abs(grid.latitude_bounds_deg).max() > 90 + TOLERANCE_CELLS * grid.spacing_deg[0]:
        raise ValueError(
            f"Wanted rows whose cells end at the poles, got {grid}, whose outer cells reach beyond "
            f"them. Regrid to cells: --resolution-deg {grid.spacing_deg[0]:g}."
        )
    return grid


def _common(
    coarse: pd.Index, fine: pd.Index, name: str
) -> tuple[pd.Index, tuple[Callable[[slice], slice | np.ndarray], ...]]:
    """Return the times that both have, and where each has them."""
    times = coarse.intersection(fine)
    if not len(times):
        raise ValueError(
            f"Wanted times that both datasets of {name} have, got coarse ones from {coarse[0]} to "
            f"{coarse[-1]} and fine ones from {fine[0]} to {fine[-1]}. Check the calendars."
        )
    return times, (_places(coarse.get_indexer(times)), _places(fine.get_indexer(times)))


def _places(at: np.ndarray) -> Callable[[slice], slice | np.ndarray]:
    """Return where some of the common times lie: as a slice where they adjoin."""

    def place(steps: slice) -> slice | np.ndarray:
        chosen = at[steps]
        adjoin = len(chosen) and (np.diff(chosen) == 1).all()
        return slice(int(chosen[0]), int(chosen[-1]) + 1) if adjoin else chosen

    return place


def _statics(entry: PairEntry, fine: xr.Dataset) -> xr.Dataset:
    """Return the static fields of a pair on the fine grid; the user's are regridded to it."""
    grid = Grid.of(fine)
    coordinates = {axis: fine[axis] for axis in ("latitude", "longitude")}
    cells = xr.Dataset(coords=coordinates)
    if not isinstance(entry.statics, StaticsEntry):
        return statics_on(entry.statics, cells)
    theirs = enter(open_dataset(entry.statics.dataset), entry.statics.variables).ds
    if Grid.of(theirs).locate(grid) is not None:
        return statics_on(entry.statics, cells)
    return regrid(theirs, grid).assign_coords(coordinates)


def _chunk(ds: xr.Dataset) -> int:
    """Return the times in the largest chunk of a dataset's variables; 1 where nothing is lazy."""
    return max((max(field.chunksizes.get("time", (1,))) for field in ds.values()), default=1)


def _fingerprints(entry: PairEntry) -> dict[str, dict[str, Any]]:
    names = [entry.fine, entry.coarse, entry.statics and getattr(entry.statics, "dataset", None)]
    return {name: _fingerprint(name) for name in dict.fromkeys(names) if isinstance(name, str)}


def _fingerprint(name: str) -> dict[str, Any]:
    """Return what would differ if a dataset were another: description, metadata, file."""
    ds = open_dataset(name)
    found: dict[str, Any] = {"entry": dataset_entry(name).model_dump(mode="json")}
    described = {
        str(key): [field.dims, field.shape, str(field.dtype), str(dict(field.attrs))]
        for key, field in ds.variables.items()
    }
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
    for index in ds.indexes.values():
        values = index.to_numpy()
        plain = values.dtype.kind != "O"  # objects: dates of other calendars
        digest.update(values.tobytes() if plain else " ".join(map(str, values)).encode())
    found["metadata"] = digest.hexdigest()
    path = Path(str(ds.encoding.get("source", "")))
    file = path / "zarr.json" if path.is_dir() else path
    if file.is_file():
        status = file.stat()
        found["file"] = {"bytes": status.st_size, "changed_ns": status.st_mtime_ns}
    return found
