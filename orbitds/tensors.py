"""Tensors in the safetensors files of strangers: looked through before memory is taken for them.

Such a file has eight bytes that say how long its header is, the header in JSON (of each tensor its
type, its shape and where its bytes begin and end), and the bytes. Nothing in it can be executed;
but a header may promise more than there is. It is read once, from front to back, and hashed on the
way, so what was checked is what was loaded.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orbitds.resources import shown

# Bytes of a header; that of the largest model has a tenth of a million.
HEADER_BYTES = 2**24
# Bytes that are read and hashed at a time: what a processor's cache holds.
CHUNK_BYTES = 2**22
MOST_AXES = 8
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
_ENTRY = {"dtype", "shape", "data_offsets"}

Shape = tuple[int, ...]


class UnfitError(ValueError):
    """What is wrong with a file: the middle of a message that says wanted, got, remedy."""


@contextmanager
def open_tensors(path: Path, sha256: str, *, wanted: str) -> "Iterator[TensorFile]":
    """Open a safetensors file whose hash is known.

    Parameters
    ----------
    path
        A regular file.
    sha256
        Of the file. It is compared when all tensors have been read, or when something is wrong with
        them: that the file is not the described one explains the rest.
    wanted
        What the file should hold, for the message.

    Raises
    ------
    ValueError
        If the file is another one, is damaged, or ``UnfitError`` was raised inside.
    """
    with path.open("rb") as stream:
        file = TensorFile(stream, path.stat().st_size)
        try:
            file.read_header()
            yield file
        except UnfitError as error:
            _compare(path, file.whole_digest(), sha256)
            raise ValueError(
                f"Wanted {wanted}, got {error}. Export the run again, or copy the checkpoint again "
                "from a source that you trust."
            ) from error
        _compare(path, file.whole_digest(), sha256)


class TensorFile:
    """A safetensors file, read once from front to back.

    Parameters
    ----------
    stream
        The file at its beginning.
    size_bytes
        Of the whole file.
    """

    def __init__(self, stream: BufferedReader, size_bytes: int) -> None:
        self._stream = stream
        self._size = size_bytes
        self._digest = hashlib.sha256()
        self._types: dict[str, torch.dtype] = {}
        self.shapes: dict[str, Shape] = {}
        """Shape of each tensor by name, in the order in which they lie."""

    def read_header(self) -> None:
        """Read and check what the file says of itself.

        Raises
        ------
        UnfitError
            If it is longer than the file or than any header, is no header, or its tensors overlap,
            leave gaps or reach beyond the end.
        """
        length = int.from_bytes(self._take(8), "little")
        if self._size < 8 or length > min(self._size - 8, HEADER_BYTES):
            raise UnfitError(
                f"a header of {length} bytes in a file of {self._size}, which is no safetensors "
                f"file (a header has at most {HEADER_BYTES})"
            )
        end = 0
        for begin, stop, name, entry in sorted(_entries(self._take(length)), key=_place):
            dtype, shape = DTYPES.get(entry["dtype"]), tuple(entry["shape"])
            if dtype is None:
                raise UnfitError(
                    f"{shown(name)} of type {shown(entry['dtype'])}, not {', '.join(DTYPES)}"
                )
            if begin != end or stop - begin != math.prod(shape) * dtype.itemsize:
                raise UnfitError(
                    f"{shown(name)} of shape {list(shape)} in bytes {begin} to {stop} of a file of "
                    f"{self._size}, where {end} is next"
                )
            end = stop
            self._types[name], self.shapes[name] = dtype, shape
        if 8 + length + end != self._size:
            raise UnfitError(f"{self._size} bytes where the header tells of {8 + length + end}")

    def read(self) -> Iterator[tuple[str, Tensor]]:
        """Yield each tensor by name, in memory of its own and in the type that was stored.

        Raises
        ------
        UnfitError
            If a value is NaN or infinite.
        """
        for name, shape in self.shapes.items():
            tensor = torch.empty(shape, dtype=self._types[name], device="cpu")
            self._fill(tensor.flatten().view(torch.uint8).numpy().data)
            # the extremes of a tensor with NaN are NaN, and they need no memory
            if tensor.numel() and not torch.stack(tensor.aminmax()).isfinite().all():
                raise UnfitError(f"NaN or infinite values in {shown(name)}")
            yield name, tensor

    def whole_digest(self) -> str:
        """Return the sha256 of the file, of which the rest is read."""
        while self._take(CHUNK_BYTES):
            pass
        return self._digest.hexdigest()

    def _take(self, count: int) -> bytes:
        content = self._stream.read(count)
        self._digest.update(content)
        return content

    def _fill(self, memory: memoryview) -> None:
        for start in range(0, len(memory), CHUNK_BYTES):
            part = memory[start : start + CHUNK_BYTES]
            if self._stream.readinto(part) != len(part):
                raise UnfitError("a file that grew shorter while it was read")
            self._digest.update(part)


def _entries(header: bytes) -> list[tuple[int, int, str, dict[str, Any]]]:
    """Return begin, end, name and entry of each tensor of a header."""
    try:
        content = json.loads(header, object_pairs_hook=_each_once)
    except UnfitError:
        raise
    except (ValueError, RecursionError) as error:
        raise UnfitError(f"a header that is no JSON ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise UnfitError(f"a header that is a {type(content).__name__}")
    content.pop("__metadata__", None)
    found = []
    for name, entry in content.items():
        if not _is_entry(entry):
            raise UnfitError(f"a header that says of {shown(name)} {shown(entry)}")
        found.append((*entry["data_offsets"], name, entry))
    return found


def _is_entry(entry: object) -> bool:
    if not (isinstance(entry, dict) and entry.keys() == _ENTRY and isinstance(entry["dtype"], str)):
        return False
    shape, offsets = entry["shape"], entry["data_offsets"]
    return (
        _are_sizes(shape) and len(shape) <= MOST_AXES and _are_sizes(offsets) and len(offsets) == 2
    )


def _are_sizes(numbers: object) -> bool:
    """Tell whether these are whole numbers that may count bytes; True is none."""
    return isinstance(numbers, list) and all(
        type(number) is int and 0 <= number < 2**63 for number in numbers
    )


def _place(entry: tuple[int, int, str, dict[str, Any]]) -> tuple[int, int, str]:
    return entry[:3]


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if pairs:
        name, count = Counter(name for name, _ in pairs).most_common(1)[0]
        if count > 1:
            raise UnfitError(f"a header with {shown(name)} twice")
    return dict(pairs)


def _compare(path: Path, got: str, wanted: str) -> None:
    if got != wanted:
        raise ValueError(
            f"Wanted {path} with sha256 {wanted:.64}, got {got}: the file is damaged or was "
            "replaced. Copy or export the checkpoint again."
        )
