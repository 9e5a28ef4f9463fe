"""What the data are: descriptions of datasets and pairs, opened lazily as xarray."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import xarray as xr
from pydantic import Field, PositiveInt, field_validator, model_validator

from orbitds.datasets import (
    DatasetEntry,
    dataset_entry,
    dataset_names,
    open_entry,
    roots,
    whereabouts,
)
from orbitds.periods import Periods, each, overlap
from orbitds.resources import did_you_mean, locate, names, read_yaml
from orbitds.schema import Frozen, parse
from orbitds.sources import address, open_address, open_files

FOLDER = "data_catalog"

__all__ = [
    "CoarsenEntry",
    "DatasetEntry",
    "PairEntry",
    "RegionEntry",
    "StaticsEntry",
    "dataset_entry",
    "dataset_names",
    "describe",
    "files_of",
    "open_dataset",
    "open_datasets",
    "pair_entry",
    "pair_names",
]


class CoarsenEntry(Frozen):
    """A coarse dataset made from the fine one by block means."""

    coarsen: PositiveInt
    """Fine cells along the edge of a coarse cell; what is left in the south and east is cut."""
    least_valid: float = Field(default=0.5, ge=0, le=1)
    """Share of a coarse cell that must have values: its mean is over these, below it is missing.

    Of the US land of nClimGrid, half keeps 99.5 % at 4x and 99.1 % at 8x, whole cells alone keep
    96.7 and 92.9 %; and a few pixels of a shore do not speak for their cell. Islands smaller than
    a coarse cell want less.
    """


class StaticsEntry(Frozen):
    """Fields that do not change in time, on the fine grid."""

    dataset: str
    """Dataset that holds them."""
    variables: tuple[str, ...]
    """Names in the vocabulary."""


class RegionEntry(Frozen):
    """Part of the globe; the coarse cells that lie wholly inside belong to it."""

    north: float = Field(ge=-90, le=90)
    """Northern edge, degrees north."""
    south: float = Field(ge=-90, le=90)
    """Southern edge, degrees north."""
    west: float = Field(ge=-360, le=360)
    """Western edge, degrees east."""
    east: float = Field(ge=-360, le=360)
    """Eastern edge, degrees east; west 170 and east -170 is across the date line."""

    @model_validator(mode="after")
    def _is_a_region(self) -> "RegionEntry":
        if self.north <= self.south or self.west == self.east:
            raise ValueError(
                f"Wanted a region with its north above its south and of some width, got {self!r}. "
                "Exchange them."
            )
        return self


class PairEntry(Frozen):
    """A coarse and a fine dataset, what is learned from them, and on which years."""

    title: str
    """One line for people."""
    fine: str
    """Dataset of the targets."""
    coarse: str | CoarsenEntry
    """Dataset of the inputs, or how to make it from the fine one."""
    same_product: bool = False
    """Whether a coarse dataset holds block means of the fine product; so by nature if coarsened."""
    aggregate: Literal["day"] | None = None
    """Make daily values of hourly or 6-hourly datasets: what `orbitds prepare` does."""
    inputs: tuple[str, ...]
    """Input variables."""
    outputs: tuple[str, ...]
    """Output variables."""
    statics: StaticsEntry | tuple[str, ...] | None = None
    """Fine static fields: a dataset of yours, or names of what ships; both of these if left out.

    `none` is none.
    """
    region: RegionEntry | None = None
    """Part of the common region to which the pair is kept; the whole if left out."""
    split: dict[Literal["train", "validate", "test"], Periods]
    """Periods for training, validation and test, one or several each, both ends included; they may
    not overlap. Where no time can be spared, validation may be the training periods themselves."""

    @field_validator("statics", mode="before")
    @classmethod
    def _none_is_none(cls, statics: object) -> object:
        return () if statics == "none" else statics

    @model_validator(mode="after")
    def _split_is_whole(self) -> "PairEntry":
        if set(self.split) != {"train", "validate", "test"}:
            raise ValueError(f"Wanted train, validate and test periods, got {sorted(self.split)}.")
        periods = [(part, one) for part, some in self.split.items() for one in each(some)]
        for part, (start, end) in periods:
            if start[: len(end)] > end[: len(start)]:
                raise ValueError(
                    f"Wanted periods that end after they begin, got {part} from {start} to {end}. "
                    "Exchange the two."
                )
        if self.split["validate"] == self.split["train"]:
            periods = [(part, one) for part, one in periods if part != "validate"]
        ordered = sorted(periods, key=lambda item: item[1])
        for (earlier, one), (later, other) in itertools.pairwise(ordered):
            if overlap(one, other):
                raise ValueError(
                    f"Wanted periods that do not overlap, got {earlier} to {one[1]} and {later} "
                    f"from {other[0]}: a model would be scored on what it has seen."
                )
        return self


def pair_names() -> list[str]:
    """Return the names of the shipped pair entries."""
    return names(f"{FOLDER}/pairs")


def pair_entry(name_or_path: str | Path) -> PairEntry:
    """Return the description of a pair, by its name or the path of a YAML file."""
    path = locate(name_or_path, f"{FOLDER}/pairs")
    return parse(PairEntry, read_yaml(path), source=str(path))


def open_dataset(name_or_path: str | Path) -> xr.Dataset:
    """Open a dataset lazily, by its catalog name, its path or its address.

    Parameters
    ----------
    name_or_path
        A name from ``orbitds catalog list``, the path of a catalog YAML file, or the data
        themselves: a NetCDF or GRIB file, a Zarr store, a pattern such as ``era5/*.nc``, or an
        address such as ``https://...`` or ``gs://...``.

    Returns
    -------
    xarray.Dataset
        Backed by dask, with the names and coordinates of the file; an entry may change names and
        units and select along further dimensions.

    Raises
    ------
    FileNotFoundError
        If there is no such name or file.
    ValueError
        If the file is neither NetCDF nor Zarr nor GRIB, or not what its entry says.
    ConnectionError
        If an address does not open.
    ImportError
        If an extra is missing; the message names it.
    """
    path, text = Path(name_or_path), str(name_or_path)
    if url := address(text):
        return open_address(url)
    if path.suffix in {".yaml", ".yml"} or text in dataset_names():
        return open_entry(name_or_path)
    return open_files(files_of(text))


def open_datasets(names_or_paths: Sequence[str]) -> xr.Dataset:
    """Open one dataset as ``open_dataset`` does, or several files and patterns as one.

    Raises
    ------
    ValueError
        If several are given and one is no file: addresses and catalog names stand alone.
    """
    if len(names_or_paths) == 1:
        return open_dataset(names_or_paths[0])
    for text in names_or_paths:
        if address(text) or text in dataset_names() or Path(text).suffix in {".yaml", ".yml"}:
            raise ValueError(
                f"Wanted files where there are several inputs, got {text!r}: an address or a "
                "catalog name stands alone. Give it by itself."
            )
    return open_files([path for text in names_or_paths for path in files_of(text)])


def files_of(text: str) -> list[Path]:
    """Return the files of a path or a pattern.

    Raises
    ------
    FileNotFoundError
        If there are none.
    """
    path = Path(text)
    pattern = str(path.relative_to(path.anchor))
    paths = [path] if path.exists() else sorted(Path(path.anchor).glob(pattern))
    if not paths:
        raise FileNotFoundError(
            f"Wanted a NetCDF file, a Zarr store or one of {dataset_names()}, got {text!r}, which "
            "does not exist. Check the path." + did_you_mean(text, dataset_names())
        )
    return paths


def describe(name: str) -> dict:
    """Return the description behind a catalog name, dataset or pair, as plain values.

    Raises
    ------
    FileNotFoundError
        If the name is not in the catalog; the message names the nearest one.
    """
    if name in dataset_names():
        entry = dataset_entry(name)
        told = entry.model_dump(mode="json", exclude_defaults=True) | {"missing": entry.missing}
        where: dict[str, str | list[str]] = {"data": whereabouts(name)}
        if where["data"] == "absent":
            where["looked_in"] = [str(folder) for folder in roots(name)]
        return told | where
    if name in pair_names():
        entry = pair_entry(name)
        statics = entry.statics.dataset if isinstance(entry.statics, StaticsEntry) else None
        sources = (entry.fine, entry.coarse, statics)
        terms = {
            source: dataset_entry(source).model_dump(include={"licence", "citation"})
            for source in sources
            if isinstance(source, str)
        }
        return entry.model_dump(mode="json") | {"terms": terms}
    known = [*dataset_names(), *pair_names()]
    raise FileNotFoundError(
        f"Wanted a name of the catalog, one of {known}, got {name!r}." + did_you_mean(name, known)
    )
