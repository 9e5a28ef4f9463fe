"""The training store: a pair in Zarr, laid out for training to read one time at a time."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from orbitds.data.fields import Fields
from orbitds.data.packing import Packing
from orbitds.data.pair import Pair
from orbitds.data.stats import Summary
from orbitds.normalize import Statistics
from orbitds.variables import variable

FORMAT = 1
# The attribute of the root that tells what the store is.
ABOUT = "orbitds"
STATISTICS, MANIFEST = "statistics.json", "manifest.json"
GROUPS = ("coarse", "fine")


def open_store(path: str | Path) -> Pair:
    """Open a training store lazily.

    Returns
    -------
    Pair
        ``coarse`` and ``fine`` lazily in physical units; ``coarse_fields`` and ``fine_fields`` read
        single times as they are stored; ``summary`` has the statistics of the training period.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If it is no training store, of an unknown format, or not complete; the message says what
        to do.
    """
    import zarr

    path = Path(path)
    about = read_about(path)
    if not about["complete"]:
        raise ValueError(
            f"Wanted a complete training store, got {path}, of which some is not written yet. "
            f"Run it again, and it goes on: orbitds prepare --pair {about['recipe']['pair']} "
            f"--output {path}, with the options of the first time."
        )
    root = zarr.open_group(path, mode="r")
    datasets, fields = {}, {}
    for name in GROUPS:
        array = root[f"{name}/values"]
        assert isinstance(array, zarr.Array)
        fields[name] = _fields(array, tuple(_open(path, name)["variable"].values.tolist()))
        datasets[name] = _physical(fields[name], _open(path, name), about["sha256"])
    split = {part: tuple(period) for part, period in about["split"].items()}
    times = datasets["fine"].indexes["time"]
    training = times[times.slice_indexer(*split["train"])]
    return Pair(
        name=str(path),
        **datasets,
        statics=_open(path, "statics")[about["statics"]].load(),  # Zarr keeps no order
        split=split,
        same_product=about["same_product"],
        coarse_fields=fields["coarse"],
        fine_fields=fields["fine"],
        summary=Summary(training, store_statistics(path)),
    )


def store_statistics(path: str | Path) -> dict[str, Statistics]:
    """Return the statistics of a store's training period, taken when it was written."""
    rows = json.loads((Path(path) / STATISTICS).read_text(encoding="utf-8"))
    return {name: Statistics(**row) for name, row in rows.items()}


def read_about(path: Path) -> dict[str, Any]:
    """Return what a store says of itself: recipe, sources, what was done, whether it is complete.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If it is no training store, or of an unknown format.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"Wanted a training store, got {path}, which does not exist. Make it: orbitds prepare."
        )
    try:
        about = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["attributes"][ABOUT]
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"Wanted a training store of `orbitds prepare`, got {path}, which is none. Name it in "
            "a pair's YAML file, or prepare one from it."
        ) from error
    if about["format"] != FORMAT:
        raise ValueError(
            f"Wanted a training store of format {FORMAT}, got {path} of format "
            f"{about['format']}. Prepare it again, or use the orbitds that made it."
        )
    return about


def _open(path: Path, group: str) -> xr.Dataset:
    return xr.open_zarr(path, group=group, consolidated=True, chunks=None)


def _fields(array: Any, names: tuple[str, ...]) -> Fields:  # noqa: ANN401  a Zarr array
    packed = array.attrs["packing"]
    # as written: the plausible intervals of the vocabulary may have changed since
    packing = packed and Packing(*(np.array(packed[key]) for key in ("low", "high", "is_log")))
    return Fields(array, names, packing)


def _physical(fields: Fields, ds: xr.Dataset, sha256: str) -> xr.Dataset:
    """Return the variables behind stacked fields, lazily, a shard at a time."""
    import dask.array

    array = fields.array
    chunks: Any = (array.shards[0], *array.shape[1:])
    lazy = dask.array.from_array(array, chunks=chunks, name=f"{array.name}-{sha256}")
    if fields.packing is not None:
        lazy = lazy.map_blocks(_unpack, fields.packing, dtype=np.float32, meta=np.empty((0,) * 4))
    coords = {key: ds[key] for key in ("time", "latitude", "longitude")}
    variables = {
        name: (("time", "latitude", "longitude"), lazy[:, place], _attributes(name, array))
        for place, name in enumerate(fields.names)
    }
    return xr.Dataset(variables, coords, {"missing": array.attrs["missing"]})


def _unpack(stored: np.ndarray, packing: Packing) -> np.ndarray:
    return packing.unpack(torch.from_numpy(stored)).numpy()


def _attributes(name: str, array: Any) -> dict[str, str]:  # noqa: ANN401  a Zarr array
    row = variable(name)
    attrs = {"units": array.attrs["units"][name], "long_name": row.long_name}
    return attrs | ({"standard_name": row.standard_name} if row.standard_name else {})
