"""Datasets of the catalog: their descriptions, where their files are, and opening them lazily."""

import os
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from orbitds.resources import did_you_mean, locate, names, read_yaml, share
from orbitds.schema import Frozen, parse
from orbitds.sources import Credentials, check_address, open_address, open_files
from orbitds.variables import variable

DATASETS = "data_catalog/datasets"
FILES = "data_catalog/files"
# Folders of data that are not shipped.
ENVIRONMENT = "ORBITDS_DATA"

Whereabouts = Literal["shipped", "here", "absent", "network"]

_SECRET = re.compile(r"token|secret|passw|user|^key$|_key$|api_?key|login", re.IGNORECASE)
_WILD = re.compile(r"[*?\[]")


class TimesEntry(Frozen):
    """Dates for a dimension that has none."""

    dimension: str
    """Dimension of the data that becomes time."""
    dates: tuple[str, ...]
    """One date per field, in the order of the data and inside the period that it stands for."""


class DatasetEntry(Frozen):
    """A dataset: where it is, what it holds and under which terms."""

    title: str
    """One line for people."""
    path: str | None = None
    """NetCDF or GRIB file, Zarr store, or a pattern such as `era5/*.nc`, relative to the folders
    of the environment variable ORBITDS_DATA, or to the user's YAML file."""
    url: str | None = None
    """Address of a Zarr store, `gs://`, `s3://` or `https://`, in place of a path."""
    credentials: Credentials = "none"
    """Whether the address is public, or opened with what its client finds in the environment."""
    access: str = ""
    """What network, account, download or extra it takes, for people."""
    licence: str
    """Terms of use; what stands before the first colon, semicolon or comma is shown in lists."""
    citation: str
    """How to cite the data."""
    description: str = ""
    """What was done to the data, known defects."""
    resolution_deg: PositiveFloat
    """Width of a cell."""
    period: tuple[str, str] | None = None
    """First and last time."""
    step: str | None = None
    """What a value covers, as `1h`, `6h`, `1D` or `1ME`."""
    variables: tuple[str, ...]
    """Names in the vocabulary."""
    names: dict[str, str] = Field(default_factory=dict)
    """Name in the vocabulary: name in the data, where no alias says it."""
    units: dict[str, str] = Field(default_factory=dict)
    """Name in the vocabulary: unit, where the data state none or a wrong one."""
    select: dict[str, str | int | float] = Field(default_factory=dict)
    """Dimension: label to take along it, such as a member."""
    times: TimesEntry | None = None
    """Dates for a dimension that has none."""
    chunks: dict[str, PositiveInt] = Field(default_factory=dict)
    """Dimension: cells of a block, where the chunks of the store are too small or too large."""
    missing: Literal["error", "mask"] = "error"
    """Whether NaN is a mistake, or marks cells that the product does not cover."""

    @model_validator(mode="before")
    @classmethod
    def _without_credentials(cls, settings: dict[str, Any]) -> dict[str, Any]:
        if secret := [key for key in settings if _SECRET.search(str(key))]:
            raise ValueError(
                f"Wanted an entry without credentials, got {secret}. Take them out: the client of "
                "the store finds its own in the environment, with `credentials: environment`."
            )
        return settings

    @field_validator("url")
    @classmethod
    def _can_be_written_down(cls, url: str | None) -> str | None:
        return url if url is None else check_address(url)

    @field_validator("step")
    @classmethod
    def _is_a_step(cls, step: str | None) -> str | None:
        if step is not None and not re.fullmatch(r"[1-9]\d*(h|D|ME|YE)", step):
            raise ValueError("Wanted hours, days, months or years as `6h`, `1D`, `1ME` or `1YE`")
        return step

    @model_validator(mode="after")
    def _is_whole(self) -> "DatasetEntry":
        if (self.path is None) == (self.url is None):
            raise ValueError(
                f"Wanted either path or url, got path {self.path!r} and url {self.url!r}. Say "
                "where the data are, in one of the two."
            )
        for group in ("names", "units"):
            for name in getattr(self, group):
                if name not in self.variables:
                    raise ValueError(
                        f"Wanted {group} of variables of the entry, got {name!r}."
                        f"{did_you_mean(name, self.variables)} Add it to `variables`."
                    )
        return self


def dataset_names() -> list[str]:
    """Return the names of the shipped dataset entries."""
    return names(DATASETS)


def dataset_entry(name_or_path: str | Path) -> DatasetEntry:
    """Return the description of a dataset, by its name or the path of a YAML file."""
    path = locate(name_or_path, DATASETS)
    return parse(DatasetEntry, read_yaml(path), source=str(path))


def open_entry(name_or_path: str | Path) -> xr.Dataset:
    """Open the dataset of an entry lazily, as the entry says it is to be read.

    Parameters
    ----------
    name_or_path
        A name from ``orbitds catalog list`` or the path of a catalog YAML file.

    Returns
    -------
    xarray.Dataset
        Backed by dask; renamed by ``names``, with the units of ``units``, at the labels of
        ``select`` and the dates of ``times``, with the attribute ``missing`` where the entry says
        ``mask``; otherwise as it is stored.

    Raises
    ------
    FileNotFoundError
        If there is no such entry, or its files are not here.
    ValueError
        If the data are not what the entry says.
    """
    entry = dataset_entry(name_or_path)
    if entry.url is not None:
        ds = open_address(entry.url, chunks=entry.chunks, credentials=entry.credentials)
    else:
        ds = open_files(find_files(entry, roots(name_or_path)), chunks=entry.chunks)
    return _as_described(ds, entry, str(name_or_path))


def roots(name_or_path: str | Path) -> list[Path]:
    """Return the folders that an entry's path is looked for in: its own first."""
    path = Path(name_or_path)
    own = path.parent if path.suffix in {".yaml", ".yml"} else share(FILES)
    others = os.environ.get(ENVIRONMENT, "").split(os.pathsep)
    return [own, *(Path(other) for other in others if other)]


def find_files(entry: DatasetEntry, folders: list[Path]) -> list[Path]:
    """Return the files of an entry, from the first folder that has them.

    Raises
    ------
    FileNotFoundError
        If none has; the message says what it takes to get them.
    ValueError
        If the path leaves the folder, by ``..`` or a link.
    """
    path = str(entry.path)
    for folder in folders:
        _inside(folder, path)
        found = [folder / path]
        if not found[0].exists():
            found = sorted(folder.glob(path)) if _WILD.search(path) else []
        if found:
            return [_inside(folder, str(one.relative_to(folder))) for one in found]
    raise FileNotFoundError(
        f"Wanted {path} ({entry.title}), got no such file in {[str(one) for one in folders]}. "
        f"{entry.access + ' ' if entry.access else ''}Copy it there, or set {ENVIRONMENT} to the "
        "folder that holds it."
    )


def whereabouts(name: str) -> Whereabouts:
    """Return whether the data of a name are shipped, on this machine, not here, or remote."""
    entry = dataset_entry(name)
    if entry.url is not None:
        return "network"
    try:
        own, *others = roots(name)
        found = find_files(entry, [own, *others])[0]
    except FileNotFoundError:
        return "absent"
    return "shipped" if found.is_relative_to(own.resolve()) else "here"


def _inside(root: Path, relative: str) -> Path:
    path = (root / relative).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ValueError(
            f"Wanted a path inside {root}, got {relative!r}, which leaves it. "
            "Move the YAML file beside its data, or open the data by their own path."
        )
    return path


def _as_described(ds: xr.Dataset, entry: DatasetEntry, source: str) -> xr.Dataset:
    known = [str(name) for name in ds.variables]
    for ours, theirs in entry.names.items():
        if theirs not in ds.variables:
            raise ValueError(
                f"Wanted the variable {theirs!r} for {ours} in {source}, got {known}."
                f"{did_you_mean(theirs, known)} Correct `names` of the entry."
            )
    ds = ds.rename({theirs: ours for ours, theirs in entry.names.items() if ours != theirs})
    if entry.missing == "mask":  # known where the entry's name no longer is
        ds = ds.assign_attrs(missing="mask")
    for ours, units in entry.units.items():
        name = next((one for one in (ours, *variable(ours).aliases) if one in ds.variables), None)
        if name is None:
            raise ValueError(
                f"Wanted {ours} in {source} to state its unit, got {known}. Say under `names` "
                "which of them it is."
            )
        ds = ds.assign({name: ds[name].assign_attrs(units=units)})
    for dim, label in entry.select.items():
        ds = _at(ds, dim, label, source)
    return ds if entry.times is None else _dated(ds, entry.times, source)


def _at(ds: xr.Dataset, dim: str, label: str | int | float, source: str) -> xr.Dataset:
    labels = ds.indexes[dim].tolist() if dim in ds.indexes else []
    if label not in labels:
        got = f"the labels {labels[:20]}" if labels else f"the dimensions {list(ds.sizes)}"
        raise ValueError(
            f"Wanted {label!r} along {dim!r} of {source}, got {got}. Correct `select` of the entry."
        )
    return ds.sel({dim: label})


def _dated(ds: xr.Dataset, times: TimesEntry, source: str) -> xr.Dataset:
    """Return the dataset with dates along a dimension that has none, in their order."""
    if ds.sizes.get(times.dimension) != len(times.dates):
        raise ValueError(
            f"Wanted {len(times.dates)} fields along {times.dimension!r} of {source}, one for each "
            f"date, got the dimensions {dict(ds.sizes)}. Correct `times` of the entry."
        )
    dates = np.array(times.dates, dtype="datetime64[ns]")
    ds = ds.drop_vars(times.dimension, errors="ignore").rename({times.dimension: "time"})
    return ds.assign_coords(time=dates).sortby("time")
