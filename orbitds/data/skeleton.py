"""A training store before its values: groups, coordinates, chunks and what it says of itself."""

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from pydantic import PositiveInt

from orbitds.data.packing import MISSING, Packing
from orbitds.data.recipe import DType
from orbitds.data.store import ABOUT, FORMAT
from orbitds.data.values import missing_of
from orbitds.schema import Frozen


class Layout(Frozen):
    """How the arrays of a store are cut and coded."""

    dtype: DType = "float32"
    """Of what is stored: int16 over the plausible interval of each variable takes half the room."""
    times: PositiveInt
    """Times in a shard, which is a file; a chunk has one."""
    tiles: tuple[PositiveInt, PositiveInt] = (1, 1)
    """Chunks along rows and columns."""

    def chunks(self, shape: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """Return the chunk of an array [T, V, H, W]: one time, all variables, a tile."""
        rows, columns = (-(-shape[2 + axis] // self.tiles[axis]) for axis in range(2))
        return 1, shape[1], rows, columns

    def shards(self, shape: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """Return the shard of an array [T, V, H, W]: some times, the whole field."""
        _, count, rows, columns = self.chunks(shape)
        return self.times, count, rows * self.tiles[0], columns * self.tiles[1]


@dataclass(frozen=True, eq=False)
class Skeleton:
    """What a store is before its values."""

    coarse: xr.Dataset
    """Coordinates, names and attributes of all times; values are not looked at."""
    fine: xr.Dataset
    statics: xr.Dataset
    layout: Layout
    about: Mapping[str, Any]
    """Root attribute: plain values."""


def create_store(path: Path, skeleton: Skeleton) -> None:
    """Write everything but the values; the store is incomplete then."""
    import zarr
    from zarr.codecs import BloscCodec

    root = zarr.create_group(path, zarr_format=3)
    for name, ds in (("coarse", skeleton.coarse), ("fine", skeleton.fine)):
        names = tuple(str(key) for key in ds.data_vars)
        coordinates = xr.Dataset(coords={key: ds[key] for key in ("time", "latitude", "longitude")})
        _save(coordinates.assign_coords(variable=np.array(names, dtype=object)), path, name)
        shape = (ds.sizes["time"], len(names), ds.sizes["latitude"], ds.sizes["longitude"])
        packed = skeleton.layout.dtype == "int16"
        group = root[name]
        assert isinstance(group, zarr.Group)
        group.create_array(
            "values",
            shape=shape,
            dtype=skeleton.layout.dtype,
            chunks=skeleton.layout.chunks(shape),
            shards=skeleton.layout.shards(shape),
            # the fastest to read of those that shrink smooth fields: eval/results/prepare.md
            compressors=BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"),
            fill_value=MISSING if packed else np.nan,
            dimension_names=("time", "variable", "latitude", "longitude"),
            attributes={
                "units": {key: ds[key].attrs["units"] for key in names},
                "missing": missing_of(ds),
                "packing": _packing_attributes(names) if packed else None,
            },
        )
    _save(skeleton.statics.astype(np.float32), path, "statics")
    statics = [str(name) for name in skeleton.statics.data_vars]
    about = dict(skeleton.about) | {"statics": statics}
    write_about(path, about | {"format": FORMAT, "complete": False})


def finish_store(path: Path, about: Mapping[str, Any]) -> None:
    """Consolidate the metadata for other readers, and say that the store is whole."""
    import zarr

    with quiet():
        zarr.consolidate_metadata(str(path), zarr_format=3)
    write_about(path, dict(about) | {"format": FORMAT, "complete": True})


def write_about(path: Path, about: Mapping[str, Any]) -> None:
    """Replace what a store says of itself, at once."""
    meta = path / "zarr.json"
    content = json.loads(meta.read_text(encoding="utf-8"))
    content["attributes"] = {ABOUT: dict(about)}
    replace_file(meta, json.dumps(content, indent=2))


def replace_file(path: Path, text: str) -> None:
    """Write a file whole or not at all, and onto the disk."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _save(ds: xr.Dataset, path: Path, group: str) -> None:
    plain = {str(key): {"_FillValue": None} for key in ds.variables if ds[key].dtype.kind == "f"}
    with quiet():
        ds.to_zarr(path, group=group, mode="a", zarr_format=3, consolidated=False, encoding=plain)


def _packing_attributes(names: tuple[str, ...]) -> dict[str, list]:
    packing = Packing.of(names)
    return {
        "low": packing.low.tolist(),
        "high": packing.high.tolist(),
        "is_log": packing.is_log.tolist(),
    }


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what Zarr says of strings and of consolidated metadata: extensions of format 3."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata", category=UserWarning)
        warnings.filterwarnings("ignore", "Object at .* is not recognized as a component")
        warnings.filterwarnings("ignore", "The data type .* does not have a Zarr V3 specification")
        yield
