"""A coarse and a fine dataset of the same weather, aligned in time and space."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr

from orbitds.catalog import CoarsenEntry, dataset_entry, open_dataset, pair_entry
from orbitds.data.door import enter
from orbitds.data.fields import Fields
from orbitds.grid import Grid, block_mean

# Datasets up to this size are held in memory.
IN_MEMORY_BYTES = 2 * 2**30

# The attributes that hold the stacked arrays of a prepared store.
FIELDS = ("coarse_fields", "fine_fields")

Period = tuple[str, str]
Part = Literal["train", "validate", "test"]


@dataclass(frozen=True, eq=False)
class Pair:
    """Inputs on a coarse grid, targets and statics on a fine one, lazily.

    All datasets are canonical: dimensions (time, latitude, longitude), rows from north to south,
    names and units of the vocabulary.
    """

    name: str
    coarse: xr.Dataset
    """Input variables, dimensions (time, latitude, longitude)."""
    fine: xr.Dataset
    """Output variables on the fine grid, at the same times."""
    statics: xr.Dataset
    """Static fields on the fine grid, dimensions (latitude, longitude); may be empty."""
    split: dict[Part, Period] = field(default_factory=dict)
    """Periods, both ends included."""
    same_product: bool = False
    """Whether the coarse fields are block means of the product of the fine ones."""
    coarse_fields: Fields | None = None
    """The stacked inputs of a prepared store, whose values were checked when it was written."""
    fine_fields: Fields | None = None
    """The stacked outputs of a prepared store."""

    def __post_init__(self) -> None:
        if not self.coarse.indexes["time"].equals(self.fine.indexes["time"]):
            both = self.coarse.indexes["time"].intersection(self.fine.indexes["time"])
            raise ValueError(
                f"Wanted the same times in both datasets of {self.name}, got "
                f"{self.coarse.sizes['time']} coarse and {self.fine.sizes['time']} fine, "
                f"{len(both)} in common. Select the common period."
            )
        _ = self.factor

    @property
    def inputs(self) -> tuple[str, ...]:
        """Input variables."""
        return tuple(str(name) for name in self.coarse.data_vars)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Output variables."""
        return tuple(str(name) for name in self.fine.data_vars)

    @property
    def static_names(self) -> tuple[str, ...]:
        """Fine static fields."""
        return tuple(str(name) for name in self.statics.data_vars)

    @cached_property
    def coarse_grid(self) -> Grid:
        """Grid of the inputs."""
        return Grid.of(self.coarse)

    @cached_property
    def fine_grid(self) -> Grid:
        """Grid of the targets."""
        return Grid.of(self.fine)

    @cached_property
    def factor(self) -> int:
        """Fine cells along the edge of a coarse cell."""
        return self.coarse_grid.factor_to(self.fine_grid)

    def part(self, name: Part) -> "Pair":
        """Return the training, validation or test years alone.

        Raises
        ------
        ValueError
            If no time falls into the period.
        """
        start, stop = self.split[name]
        chosen = slice(start, stop)
        coarse, fine = self.coarse.sel(time=chosen), self.fine.sel(time=chosen)
        if coarse.sizes["time"] == 0:
            times = self.coarse["time"].values
            raise ValueError(
                f"Wanted times from {start} to {stop} for the {name} part of {self.name}, got "
                f"none; the data run from {times[0]} to {times[-1]}. Correct the split."
            )
        first = self.coarse.indexes["time"].slice_indexer(start, stop)
        fields = (self.coarse_fields, self.fine_fields)
        stored = (None if part is None else part.at(first) for part in fields)
        return replace(self, coarse=coarse, fine=fine, **dict(zip(FIELDS, stored, strict=True)))

    def held(self) -> "Pair":
        """Return the pair with those of its datasets in memory that fit there."""
        return replace(
            self, coarse=_held(self.coarse), fine=_held(self.fine), statics=_held(self.statics)
        )


def open_pair(name_or_path: str | Path) -> Pair:
    """Open a pair lazily, by its catalog name or the path of a YAML file.

    Raises
    ------
    FileNotFoundError
        If there is no such pair.
    ValueError
        If the datasets do not fit each other.
    """
    entry = pair_entry(name_or_path)
    masked = dataset_entry(entry.fine).missing
    fine = enter(open_dataset(entry.fine), entry.outputs, missing=masked).ds
    if isinstance(entry.coarse, CoarsenEntry):
        wanted = tuple(dict.fromkeys(entry.inputs))
        source = enter(open_dataset(entry.fine), wanted, missing=masked).ds
        coarse = block_mean(source, entry.coarse.coarsen)
    else:
        missing = dataset_entry(entry.coarse).missing
        coarse = enter(open_dataset(entry.coarse), entry.inputs, missing=missing).ds
    statics = xr.Dataset(coords={name: fine[name] for name in ("latitude", "longitude")})
    if entry.statics is not None:
        source = enter(open_dataset(entry.statics.dataset), entry.statics.variables).ds
        statics = on_grid(source, Grid.of(fine), fine)
    same_product = entry.same_product or isinstance(entry.coarse, CoarsenEntry)
    return Pair(str(name_or_path), coarse, fine, statics, dict(entry.split), same_product)


def on_grid(source: xr.Dataset, grid: Grid, like: xr.Dataset) -> xr.Dataset:
    """Return the cells of a dataset that make up a grid, with the coordinates of ``like``.

    Raises
    ------
    ValueError
        If the dataset does not hold exactly these cells; the message names both grids.
    """
    place = Grid.of(source).locate(grid)
    if place is None:
        raise ValueError(
            f"Wanted the cells {grid}, got a dataset of {Grid.of(source)}. "
            "Regrid it, or name a dataset on the right grid."
        )
    cut = source.isel(latitude=place[0], longitude=place[1])
    return cut.assign_coords(latitude=like["latitude"], longitude=like["longitude"])


def stack(ds: xr.Dataset, names: Sequence[str], dtype: type = np.float32) -> xr.DataArray:
    """Return variables as one array, the variable axis before latitude; lazy if the data are."""
    stacked = ds[list(names)].to_dataarray("variable").astype(dtype)
    return stacked.transpose(..., "variable", "latitude", "longitude")


def _held(ds: xr.Dataset) -> xr.Dataset:
    """Return a dataset in memory if it fits there: reading it step by step would cost more."""
    return ds.compute() if ds.nbytes <= IN_MEMORY_BYTES else ds
