"""The table of contents of a state: its tensors, and size and hash of each of its files."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from orbitds.output import flush_folder
from orbitds.schema import Frozen

FORMAT = 1
MANIFEST = "manifest.json"
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""What safetensors calls them."""


class Damaged(Exception):  # noqa: N818  a finding, by which an older state is taken
    """A state is not what was written."""


class File(Frozen):
    """A file as it was written."""

    size: int
    """Bytes."""
    sha256: str
    """Hash of its bytes, in hexadecimal."""


class Part(Frozen):
    """A box of a tensor in a file, where it is called by ``key``."""

    file: str
    offset: tuple[int, ...]
    shape: tuple[int, ...]


class Whole(Frozen):
    """A tensor, in parts that cover it once."""

    dtype: str
    """As safetensors calls it."""
    shape: tuple[int, ...]
    parts: tuple[Part, ...]


class Manifest(Frozen):
    """What a state holds."""

    step: int
    """Optimiser steps taken."""
    world: int
    """Processes that wrote it."""
    facts: dict[str, Any]
    """What the run remembers besides tensors."""
    files: dict[str, File]
    tensors: dict[str, Whole]


def key(name: str, offset: Iterable[int]) -> str:
    """Return what a part of a tensor is called in its file."""
    return f"{name}@{','.join(map(str, offset))}"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a state, with its own hash.

    Raises
    ------
    OSError
        If it cannot be written; the message names it.
    """
    content = {"format": FORMAT, **manifest.model_dump(mode="json"), "facts": manifest.facts}
    told = {"sha256": _hash(content), "state": content}
    write_file(folder / MANIFEST, [json.dumps(told).encode()])


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a state.

    Raises
    ------
    Damaged
        If there is none, or it is not what was written.
    ValueError
        If it is of a format that this version does not know.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise Damaged(f"{MANIFEST} is missing")
    try:
        told = json.loads(path.read_bytes())
        content = told["state"]
        intact = _hash(content) == told["sha256"]
    except (ValueError, KeyError, TypeError):
        intact, content = False, {}
    if not intact:
        raise Damaged(f"{MANIFEST} is not as it was written")
    number = content.pop("format")
    if number != FORMAT:
        raise ValueError(
            f"Wanted a state of format {FORMAT}, got {number} in {path}. "
            "Go on with the version of orbitds that wrote it."
        )
    return Manifest.model_validate(content)


def fault(folder: Path, name: str, file: File) -> str | None:
    """Return what is wrong with a file of a state, in words; None if nothing is."""
    path = folder / name
    try:
        size = path.stat().st_size
        if size != file.size:
            return f"{name} has {size} bytes of {file.size}"
        with path.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
    except FileNotFoundError:
        return f"{name} is missing"
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}"
    return None if found == file.sha256 else f"{name} has other bytes than were written"


def write_file(path: Path, pieces: Iterable[bytes | memoryview]) -> File:
    """Write a file for good: its bytes lie on the disk when this returns.

    Raises
    ------
    OSError
        If that fails; the message names the file, which not all of the system's do.
    """
    digest = hashlib.sha256()
    size = 0
    try:
        with path.open("wb") as file:
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
                size += len(piece)
            file.flush()
            os.fsync(file.fileno())
        flush_folder(path.parent)
    except OSError as error:
        raise OSError(f"{path}: {error.strerror or error}") from error
    return File(size=size, sha256=digest.hexdigest())


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
