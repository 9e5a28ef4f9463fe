"""A coarse and a fine dataset of the same weather, aligned in time and space."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr

from orbitds.catalog import (
    CoarsenEntry,
    StaticsEntry,
    dataset_entry,
    open_dataset,
    pair_entry,
)
from orbitds.data.align import common_times, in_order_of_time, in_region, whole_blocks, whole_cells
from orbitds.data.door import enter
from orbitds.data.statics import USUAL, statics_for
from orbitds.data.values import missing_of
from orbitds.grid import Grid, block_mean
from orbitds.periods import Periods, chosen, told

if TYPE_CHECKING:
    from orbitds.data.fields import Fields
    from orbitds.data.stats import Summary

# Datasets up to this size are held in memory.
IN_MEMORY_BYTES = 2 * 2**30

Part = Literal["train", "validate", "test"]


@dataclass(frozen=True, eq=False)
class Pair:
    """Inputs on a coarse grid, targets and statics on a fine one, lazily.

    All datasets are canonical: dimensions (time, latitude, longitude), rows from north to south,
    names and units of the vocabulary. Their attribute ``missing`` is ``mask`` where NaN marks cells
    that the product does not cover, else ``error``.
    """

    name: str
    coarse: xr.Dataset
    """Input variables, dimensions (time, latitude, longitude)."""
    fine: xr.Dataset
    """Output variables on the fine grid, at the same times."""
    statics: xr.Dataset
    """Static fields on the fine grid, dimensions (latitude, longitude); may be empty.

    The attribute ``source`` says where they are from.
    """
    split: dict[Part, Periods] = field(default_factory=dict)
    """Periods, both ends included."""
    same_product: bool = False
    """Whether the coarse fields are block means of the product of the fine ones."""
    coarse_fields: "Fields | None" = None
    """What ``coarse`` holds as stored in a training store, [T, V, H, W]; None elsewhere."""
    fine_fields: "Fields | None" = None
    """What ``fine`` holds as stored in a training store, [T, U, Hf, Wf]; None elsewhere."""
    summary: "Summary | None" = None
    """What a training store holds of its training period; None elsewhere."""
    notes: tuple[str, ...] = ()
    """What was left out when the two were aligned, a sentence each."""

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
        places = chosen(self.coarse.indexes["time"], self.split[name])
        coarse, fine = self.coarse.isel(time=places), self.fine.isel(time=places)
        if coarse.sizes["time"] == 0:
            times = self.coarse["time"].values
            raise ValueError(
                f"Wanted times from {told(self.split[name])} for the {name} part of {self.name}, "
                f"got none; the data run from {times[0]} to {times[-1]}. Correct the split."
            )
        coarse_fields, fine_fields = (
            fields.at(places) if fields is not None and isinstance(places, slice) else None
            for fields in (self.coarse_fields, self.fine_fields)
        )
        return replace(
            self,
            coarse=coarse,
            fine=fine,
            coarse_fields=coarse_fields,
            fine_fields=fine_fields,
        )

    def held(self) -> "Pair":
        """Return the pair with those of its datasets in memory that fit there.

        A training store stays where it is: its fields are read as they are stored.
        """
        if self.coarse_fields is not None and self.fine_fields is not None:
            return self
        return replace(
            self, coarse=_held(self.coarse), fine=_held(self.fine), statics=_held(self.statics)
        )


def open_pair(name_or_path: str | Path) -> Pair:
    """Open a pair lazily: its catalog name, the path of a YAML file, or of a training store.

    Two products are cut to their common times and to the whole coarse cells that both cover;
    ``Pair.notes`` says what was left out.

    Raises
    ------
    FileNotFoundError
        If there is no such pair.
    ValueError
        If the datasets do not fit each other.
    """
    if Path(name_or_path).suffix == ".zarr":
        from orbitds.data.store import open_store  # the store is made of pairs

        return open_store(Path(name_or_path))
    entry = pair_entry(name_or_path)
    whole = _entered(entry.fine, entry.outputs)
    if isinstance(entry.coarse, CoarsenEntry):
        fine = whole_blocks(whole, entry.coarse.coarsen)
        coarse = _block_means(entry.fine, entry.inputs, entry.coarse)
        notes = _left_out("fine", whole, fine)
    else:
        source = _entered(entry.coarse, entry.inputs)
        coarse, fine = whole_cells(*common_times(source, whole))
        notes = _left_out("coarse", source, coarse) + _left_out("fine", whole, fine)
    if entry.region is not None:
        coarse, fine = in_region(coarse, fine, entry.region)
    return Pair(
        str(name_or_path),
        coarse,
        fine,
        statics_on(entry.statics, fine),
        dict(entry.split),
        entry.same_product or isinstance(entry.coarse, CoarsenEntry),
        notes=notes,
    )


def _entered(dataset: str, names: Sequence[str]) -> xr.Dataset:
    """Return variables of a dataset of the catalog in canonical form, in the order of time."""
    missing = dataset_entry(dataset).missing
    ds = enter(open_dataset(dataset), tuple(dict.fromkeys(names)), missing=missing).ds
    return in_order_of_time(ds)


def _block_means(dataset: str, names: Sequence[str], how: CoarsenEntry) -> xr.Dataset:
    """Return block means of a fine dataset; over valid cells where it declares missing ones."""
    source = _entered(dataset, names)
    least = how.least_valid if missing_of(source) == "mask" else 1.0
    return block_mean(whole_blocks(source, how.coarsen), how.coarsen, least_valid=least)


def _left_out(side: str, whole: xr.Dataset, cut: xr.Dataset) -> tuple[str, ...]:
    """Return a sentence for the times and one for the cells that were left out, if any were."""
    times, kept_times = whole.indexes["time"], cut.indexes["time"]
    cells, kept_cells = (f"{ds.sizes['latitude']} x {ds.sizes['longitude']}" for ds in (whole, cut))
    notes = []
    if len(kept_times) < len(times):
        span = f"{str(kept_times[0])[:10]} to {str(kept_times[-1])[:10]}"
        notes.append(f"{side}: {len(kept_times)} of {len(times)} times kept, {span}")
    if kept_cells != cells:
        notes.append(f"{side}: {kept_cells} of {cells} cells kept, {Grid.of(cut)}")
    return tuple(notes)


def statics_on(wanted: StaticsEntry | tuple[str, ...] | None, fine: xr.Dataset) -> xr.Dataset:
    """Return static fields on the fine grid: the user's, or those that ship."""
    if isinstance(wanted, StaticsEntry):
        theirs = enter(open_dataset(wanted.dataset), wanted.variables).ds
        statics = on_grid(theirs, Grid.of(fine), fine).assign_attrs(source=wanted.dataset)
        for field in statics.data_vars.values():
            field.attrs["source"] = wanted.dataset
        return statics
    statics = statics_for(Grid.of(fine), USUAL if wanted is None else wanted)
    return statics.assign_coords(latitude=fine["latitude"], longitude=fine["longitude"])


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
