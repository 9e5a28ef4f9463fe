"""What the data are: descriptions of datasets and pairs, opened lazily as xarray."""

import itertools
import json
from pathlib import Path
from typing import Literal

import xarray as xr
from pydantic import PositiveInt, model_validator

from orbitds.resources import did_you_mean, locate, names, read_yaml, share
from orbitds.schema import Frozen, parse

FOLDER = "data_catalog"


class DatasetEntry(Frozen):
    """A dataset: where it is, what it holds and under which terms."""

    title: str
    """One line for people."""
    path: str
    """NetCDF file or Zarr store, relative to `data_catalog/files` or to the user's YAML file."""
    licence: str
    """Terms of use."""
    citation: str
    """How to cite the data."""
    description: str = ""
    """What was done to the data, known defects."""
    resolution_deg: float
    """Width of a cell."""
    period: tuple[str, str] | None = None
    """First and last time."""
    variables: tuple[str, ...]
    """Names in the vocabulary."""
    missing: Literal["error", "mask"] = "error"
    """Whether NaN is a mistake, or marks cells that the product does not cover."""


class CoarsenEntry(Frozen):
    """A coarse dataset made from the fine one by block means."""

    coarsen: PositiveInt
    """Fine cells along the edge of a coarse cell."""


class StaticsEntry(Frozen):
    """Fields that do not change in time, on the fine grid."""

    dataset: str
    """Dataset that holds them."""
    variables: tuple[str, ...]
    """Names in the vocabulary."""


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
    statics: StaticsEntry | None = None
    """Fine static fields."""
    split: dict[Literal["train", "validate", "test"], tuple[str, str]]
    """Periods for training, validation and test, both ends included; they may not overlap."""

    @model_validator(mode="after")
    def _split_is_whole(self) -> "PairEntry":
        if set(self.split) != {"train", "validate", "test"}:
            raise ValueError(f"Wanted train, validate and test periods, got {sorted(self.split)}.")
        ordered = sorted(self.split.items(), key=lambda item: item[1])
        for (earlier, (_, end)), (later, (start, _)) in itertools.pairwise(ordered):
            # a period's end holds all of its year, month or day: compare to that precision
            if start[: len(end)] <= end:
                raise ValueError(
                    f"Wanted periods that do not overlap, got {earlier} to {end} and {later} from "
                    f"{start}: a model would be scored on what it has seen."
                )
        return self


def dataset_names() -> list[str]:
    """Return the names of the shipped dataset entries."""
    return names(f"{FOLDER}/datasets")


def pair_names() -> list[str]:
    """Return the names of the shipped pair entries."""
    return names(f"{FOLDER}/pairs")


def dataset_entry(name_or_path: str | Path) -> DatasetEntry:
    """Return the description of a dataset, by its name or the path of a YAML file."""
    path = locate(name_or_path, f"{FOLDER}/datasets")
    return parse(DatasetEntry, read_yaml(path), source=str(path))


def pair_entry(name_or_path: str | Path) -> PairEntry:
    """Return the description of a pair, by its name or the path of a YAML file."""
    path = locate(name_or_path, f"{FOLDER}/pairs")
    return parse(PairEntry, read_yaml(path), source=str(path))


def open_dataset(name_or_path: str | Path) -> xr.Dataset:
    """Open a dataset lazily, by its catalog name or as a NetCDF file or Zarr store.

    Parameters
    ----------
    name_or_path
        A name from ``orbitds catalog list``, the path of a catalog YAML file, or the path of the
        data themselves.

    Returns
    -------
    xarray.Dataset
        Backed by dask, with the names and coordinates of the file.

    Raises
    ------
    FileNotFoundError
        If there is no such name or file.
    ValueError
        If the file is neither NetCDF nor Zarr.
    """
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} or str(name_or_path) in dataset_names():
        entry = dataset_entry(name_or_path)
        return open_file(_inside(_root(name_or_path), entry.path))
    if path.exists():
        return open_file(path)
    raise FileNotFoundError(
        f"Wanted a NetCDF file, a Zarr store or one of {dataset_names()}, got "
        f"{str(name_or_path)!r}, which does not exist. Check the path."
        + did_you_mean(str(name_or_path), dataset_names())
    )


def open_file(path: Path) -> xr.Dataset:
    """Open a NetCDF file or a Zarr store lazily.

    Raises
    ------
    ValueError
        If the content is neither.
    """
    is_zarr = path.is_dir() and ((path / "zarr.json").exists() or (path / ".zgroup").exists())
    try:
        if is_zarr:
            return xr.open_zarr(path, consolidated=_is_consolidated(path), chunks={})
        # `auto`: the whole of a variable that the file does not chunk may not fit in memory
        return xr.open_dataset(path, engine="netcdf4", chunks="auto")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"Wanted a NetCDF file or a Zarr store, got {path}, which opens as neither "
            f"({error}). Check the path, and that the file is complete."
        ) from error


def _is_consolidated(store: Path) -> bool:
    """Whether a local store has consolidated metadata; xarray warns where it has to find out."""
    group = store / "zarr.json"
    if group.exists():
        return "consolidated_metadata" in json.loads(group.read_text(encoding="utf-8"))
    return (store / ".zmetadata").exists()


def describe(name: str) -> dict:
    """Return the description behind a catalog name, dataset or pair, as plain values.

    Raises
    ------
    FileNotFoundError
        If the name is not in the catalog; the message names the nearest one.
    """
    if name in dataset_names():
        return dataset_entry(name).model_dump(mode="json")
    if name in pair_names():
        entry = pair_entry(name)
        sources = (entry.fine, entry.coarse, entry.statics and entry.statics.dataset)
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


def _root(name_or_path: str | Path) -> Path:
    """Folder that an entry's path is relative to, and may not leave."""
    path = Path(name_or_path)
    return path.parent if path.suffix in {".yaml", ".yml"} else share(f"{FOLDER}/files")


def _inside(root: Path, relative: str) -> Path:
    path = (root / relative).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ValueError(
            f"Wanted a path inside {root}, got {relative!r}, which leaves it. "
            "Move the YAML file beside its data, or open the data by their own path."
        )
    return path
