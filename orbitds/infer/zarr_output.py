"""A Zarr store that comes into being unit by unit: each unit is a shard of each variable."""

import asyncio
import errno
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import xarray as xr

from orbitds.data.skeleton import quiet
from orbitds.infer.claims import Claims
from orbitds.infer.encoding import LARGEST_CHUNK
from orbitds.infer.job import Job
from orbitds.infer.manifest import Manifest
from orbitds.infer.notes import LocalNotes, Notes, RemoteNotes
from orbitds.infer.units import Unit
from orbitds.infer.writers import beside, has_form, note_file
from orbitds.output import file_size, flush_folder, naming, remove
from orbitds.sources import address, open_file

# Shards of a unit that are written at once: compressing and hashing keep a core busy each.
SHARDS_AT_ONCE = 4


class ZarrOutput:
    """A Zarr store under a temporary name, or behind an address.

    Behind an address nothing can be renamed: the store is written under its own name, and its job
    is beside it until it is whole.

    Parameters
    ----------
    job
        Whose output.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._opening = threading.Lock()
        path = job.config.output
        self._url = address(path)
        if self._url is None:
            self._path, self._partial = path, beside(path, "partial")
            self._store = str(self._partial)
            self.notes: Notes = LocalNotes(beside(path, "job"))
            self.targets = [path]
        else:
            import fsspec

            self._files, self._root = fsspec.core.url_to_fs(self._url)
            self._store = self._url
            self.notes = RemoteNotes(self._files, f"{self._root}.job")
            self.targets = []

    def claims(self) -> Claims:
        """Make room for the notes; return the locks of this process."""
        if not isinstance(self.notes, LocalNotes):
            return Claims(None)
        return Claims.within(self.notes.path)

    def exists(self) -> str | None:
        """Return what lies already where the output belongs, if something does."""
        if self._url is None:
            return str(self._path) if self._path.exists() else None
        return self._url if self._files.exists(self._root) else None

    def is_whole(self, fine: xr.Dataset) -> bool:
        """Whether what lies there already has the form of the output: axes and attributes."""
        if self._url is not None:
            return has_form(xr.open_zarr(self._url), fine)
        return self._path.is_dir() and has_form(open_file(self._path), fine)

    def create(self, fine: xr.Dataset) -> None:
        """Write everything but the values; what was left of an earlier job is removed."""
        if self._url is None:
            remove([self._partial])
        elif self._files.exists(self._root):
            self._files.rm(self._root, recursive=True)
        encoding = {name: self._encoding(fine[name]) for name in fine.data_vars}
        empty = fine.assign(
            {
                name: field.copy(data=dask.array.zeros(field.shape, np.float32, chunks=-1))
                for name, field in fine.data_vars.items()
            }
        )
        with quiet(), naming(Path(self._store)):
            empty.to_zarr(
                self._store,
                zarr_format=self._job.config.zarr_format,
                consolidated=False,
                encoding=encoding,
                compute=False,
                safe_chunks=False,  # the zeros are never written
            )

    def write(self, unit: Unit, fields: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
        """Bring the shards of a unit to the disk; return bytes and hash of each.

        Raises
        ------
        OSError
            If that fails; it names the file.
        """
        with ThreadPoolExecutor(min(len(fields), SHARDS_AT_ONCE), "shard") as pool:
            return dict(
                pool.map(partial(self._write_shard, unit), *zip(*fields.items(), strict=True))
            )

    def size(self, name: str) -> int | None:
        """Return the bytes of a file of values; None if it is not there."""
        if self._url is None:
            return file_size(self._partial / name)
        try:
            return int(self._files.size(f"{self._root}/{name}"))
        except FileNotFoundError:
            return None

    def finish(self, fine: xr.Dataset, manifest: Manifest, *, overwrite: bool) -> None:  # noqa: ARG002  the protocol's
        """Put the whole store in its place; goes on where it was interrupted."""
        if self._url is not None:
            self._consolidate()
            return
        replaced = beside(self._path, "replaced")
        if not manifest.is_ending or self._partial.exists():
            remove(self._partial.rglob("*.partial"))  # of killed processes
            self._consolidate()
            manifest.end()
            if self._path.exists():
                if not overwrite:
                    raise FileExistsError(
                        f"Wanted {self._path} for the finished output, got a name that has been "
                        "taken meanwhile. Move it away, and go on with --resume."
                    )
                remove([replaced])
                self._path.rename(replaced)
            self._partial.rename(self._path)
            flush_folder(self._path.absolute().parent)
        remove([replaced])

    def discard(self) -> None:
        """Remove the unfinished output and the notes."""
        if self._url is None:
            remove([self._partial])
        elif self._files.exists(self._root):
            self._files.rm(self._root, recursive=True)
        self.notes.remove()

    def _write_shard(self, unit: Unit, name: str, values: np.ndarray) -> tuple[str, dict[str, Any]]:
        blocks, region = self._place(name, unit)
        array = self._array(name)
        key = f"{name}/{array.metadata.encode_chunk_key(blocks)}"
        with naming(Path(self._store) / key):
            self._forget(key)  # a shard that a killed process left is read otherwise
            if self._url is None:
                # in an event loop of this thread: that of Zarr copies for all threads, one by one
                asyncio.run(array.async_array.setitem(region, values))
            else:
                array[region] = values
            return key, self._noted(key)

    def _array(self, name: str) -> Any:  # noqa: ANN401  of Zarr, imported late
        import zarr

        # each unit is a file, also where it has no value; arrays take this up when they are opened
        with self._opening, zarr.config.set({"array.write_empty_chunks": True}):
            try:
                return zarr.open_array(self._store, path=name, mode="r+")
            except FileNotFoundError as error:  # which says neither its number nor a file
                path = f"{self._store}/{name}"
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error

    def _forget(self, key: str) -> None:
        if self._url is None:
            remove([self._partial / key])
        elif self._files.exists(f"{self._root}/{key}"):
            self._files.rm_file(f"{self._root}/{key}")

    def _noted(self, key: str) -> dict[str, Any]:
        if self._url is None:
            return note_file(self._partial / key, self._partial)
        return {"bytes": int(self._files.size(f"{self._root}/{key}"))}

    def _place(self, name: str, unit: Unit) -> tuple[tuple[int, ...], tuple[slice, ...]]:
        """Return the shard and the cells of a unit in the array of a variable."""
        units, factor = self._job.units, self._job.engine.factor
        blocks, region = [], []
        for dim in self._job.fine[name].dims:
            if dim == self._job.time:
                blocks.append(unit.times.start // units.block_times)
                region.append(slice(unit.times.start, unit.times.stop))
            elif dim == self._job.rows:
                blocks.append(unit.rows.start // units.block_rows)
                region.append(slice(unit.rows.start * factor, unit.rows.stop * factor))
            else:
                blocks.append(0)
                region.append(slice(None))
        return tuple(blocks), tuple(region)

    def _encoding(self, field: xr.DataArray) -> dict[str, Any]:
        units, factor = self._job.units, self._job.engine.factor
        chunks, shards = [], []
        for dim, size in field.sizes.items():
            if dim == self._job.time:
                chunk, shard = 1, units.block_times
            elif dim == self._job.rows:
                chunk, shard = _chunk(units.block_rows * factor, whole=units.bands == 1)
            elif dim == self._job.columns:
                chunk, shard = _chunk(size, whole=True)
            else:
                chunk, shard = 1, size
            chunks.append(chunk)
            shards.append(shard)
        plain = {"dtype": "float32"}
        # the fastest to read of those that shrink smooth fields: eval/results/prepare.md
        if self._job.config.zarr_format == 2:
            from numcodecs import Blosc

            codec = Blosc(cname="lz4", clevel=5, shuffle=Blosc.SHUFFLE)
            return plain | {"chunks": tuple(shards), "compressors": codec}
        from zarr.codecs import BloscCodec

        codec = BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=4)
        return plain | {"chunks": tuple(chunks), "shards": tuple(shards), "compressors": codec}

    def _consolidate(self) -> None:
        import zarr

        with quiet(), naming(Path(self._store)):
            zarr.consolidate_metadata(self._store)


def _chunk(cells: int, *, whole: bool) -> tuple[int, int]:
    """Return cells of a chunk and of a shard along an axis; the shard is as long as it is told.

    Parameters
    ----------
    whole
        Whether the shard is the whole axis: then it may reach beyond, for chunks of one size.
    """
    parts = -(-cells // LARGEST_CHUNK)
    if whole:
        chunk = -(-cells // parts)
        return chunk, chunk * parts
    while cells % parts:
        parts += 1
    return cells // parts, cells
