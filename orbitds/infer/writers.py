"""What is written by a job: an output that comes into being unit by unit, under another name."""

import hashlib
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import xarray as xr

from orbitds.infer.claims import Claims
from orbitds.infer.manifest import Manifest
from orbitds.infer.notes import Notes
from orbitds.infer.units import Unit
from orbitds.output import check_place, flush_folder
from orbitds.sources import address

SUFFIXES = (".nc", ".zarr")


@runtime_checkable
class Output(Protocol):
    """An output of a job."""

    @property
    def notes(self) -> Notes:
        """Where the job's notes lie: there once it is entered."""
        ...

    @property
    def targets(self) -> list[Path]:
        """What will be there at the end; empty behind an address."""
        ...

    def claims(self) -> Claims:
        """Make room for the notes; return the locks of this process."""
        ...

    def exists(self) -> str | None:
        """Return what lies already where the output belongs, if something does."""
        ...

    def is_whole(self, fine: xr.Dataset) -> bool:
        """Whether what lies there already has the form of the output: axes and attributes."""
        ...

    def create(self, fine: xr.Dataset) -> None:
        """Write everything but the values; what was left of an earlier job is removed."""
        ...

    def write(self, unit: Unit, fields: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
        """Bring the values of a unit to the disk; return bytes and hash of each file."""
        ...

    def size(self, name: str) -> int | None:
        """Return the bytes of a file of values; None if it is not there."""
        ...

    def finish(self, fine: xr.Dataset, manifest: Manifest, *, overwrite: bool) -> None:
        """Put the whole output in its place; goes on where it was interrupted."""
        ...

    def discard(self) -> None:
        """Remove the unfinished output and the notes."""
        ...


def check_output(path: Path, split: str | None = None) -> None:
    """Refuse an output that cannot be written, before anything is computed.

    Raises
    ------
    ValueError
        If the name ends in neither .nc nor .zarr, or its format does not fit.
    OSError
        If its folder does not exist or cannot be written to.
    """
    if url := address(path):
        scheme = url.partition("://")[0]
        if scheme in {"http", "https"} or not url.endswith(".zarr"):
            raise ValueError(
                "Wanted an address that can be written to and ends in .zarr, such as "
                f"s3://bucket/fine.zarr, got {url}. Change it, or write to a file system."
            )
    else:
        check_place(path, SUFFIXES)
    if split is not None and path.suffix != ".nc":
        raise ValueError(
            f"Wanted an output that ends in .nc for files by {split}, got {path}. Leave --split "
            "out: a Zarr store is many files already."
        )


def beside(path: Path, what: str) -> Path:
    """Return the hidden name beside a path of what belongs to its coming about."""
    return path.with_name(f".{path.name}.{what}")


def note_file(path: Path, root: Path) -> dict[str, Any]:
    """Bring a file and its folders up to a root onto the disk; return its size and hash."""
    with path.open("rb") as file:
        # in one piece: reading it in pieces would ask for the interpreter before each
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            digest, size = hashlib.sha256(content).hexdigest(), len(content)
        os.fsync(file.fileno())
    for folder in path.parents:
        flush_folder(folder)
        if folder == root:
            break
    return {"bytes": size, "sha256": digest}


def has_form(found: xr.Dataset, fine: xr.Dataset) -> bool:
    """Whether a dataset has the variables, axes and attributes of an output."""
    return (
        set(found.data_vars) == set(fine.data_vars)
        and dict(found.sizes) == dict(fine.sizes)
        and all(found[axis].equals(fine[axis]) for axis in fine.indexes)
        and _texts(found.attrs) == _texts(fine.attrs)
    )


def _texts(attrs: Mapping[Any, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in attrs.items()}
