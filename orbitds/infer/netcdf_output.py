"""NetCDF files that are put together of finished units: one, or one for each year or month."""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import dask.array
import netCDF4
import numpy as np
import xarray as xr
from xarray.backends import NetCDF4DataStore

from orbitds.infer.claims import Claims
from orbitds.infer.job import Job
from orbitds.infer.manifest import Manifest
from orbitds.infer.notes import LocalNotes
from orbitds.infer.units import Unit
from orbitds.infer.writers import beside, has_form, note_file
from orbitds.output import file_size, flush_folder, naming, remove
from orbitds.sources import open_files

PARTS, ASSEMBLED = "parts", "assembled"


class NetcdfOutput:
    """NetCDF files, whose units lie as plain arrays by the notes until all are there.

    Parameters
    ----------
    job
        Whose output.

    Raises
    ------
    ValueError
        If it is to be split by dates that the input has not.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        path = job.config.output
        self.notes = LocalNotes(beside(path, "job"))
        self._periods = _periods(job)
        self.targets = list(self._periods)

    def claims(self) -> Claims:
        """Make room for the notes; return the locks of this process."""
        return Claims.within(self.notes.path)

    def exists(self) -> str | None:
        """Return what lies already where the output belongs, if something does."""
        return next((str(path) for path in self.targets if path.exists()), None)

    def is_whole(self, fine: xr.Dataset) -> bool:
        """Whether what lies there already has the form of the output: axes and attributes."""
        if not all(path.is_file() for path in self.targets):
            return False
        try:
            with open_files(self.targets) as found:
                return has_form(found, fine)
        except ValueError:  # something else under that name
            return False

    def create(self, fine: xr.Dataset) -> None:  # noqa: ARG002  the protocol's
        """Make room for the units; what was left of an earlier job is removed."""
        remove([beside(path, "partial") for path in self.targets])
        remove([self.notes.path / PARTS, self.notes.path / ASSEMBLED])
        (self.notes.path / PARTS).mkdir()

    def write(self, unit: Unit, fields: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
        """Bring the values of a unit to the disk; return bytes and hash of each file.

        Raises
        ------
        OSError
            If that fails; it names the file.
        """
        files = {}
        for name, values in fields.items():
            key = _key(unit.number, name)
            path = self.notes.path / key
            with naming(path):
                _save(path, values)
                files[key] = note_file(path, self.notes.path)
        return files

    def size(self, name: str) -> int | None:
        """Return the bytes of a file of values; None if it is not there."""
        return file_size(self.notes.path / name)

    def finish(self, fine: xr.Dataset, manifest: Manifest, *, overwrite: bool) -> None:
        """Put the files together and in their places; goes on where it was interrupted."""
        is_first = not manifest.is_ending
        manifest.end()
        for path, times in self._periods.items():
            partial, note = beside(path, "partial"), f"{ASSEMBLED}/{path.name}"
            if self.notes.read(note) is None:
                if path.exists() and is_first and not overwrite:
                    raise FileExistsError(
                        f"Wanted {path} for the finished output, got a name that has been taken "
                        "meanwhile. Move it away, and go on with --resume."
                    )
                self._assemble(partial, fine, times)
                note_file(partial, partial.parent)
                self.notes.write(note, b"")
            elif not partial.exists():
                continue  # it was renamed before the end came
            partial.replace(path)
            flush_folder(path.absolute().parent)

    def discard(self) -> None:
        """Remove the unfinished output and the notes."""
        remove([beside(path, "partial") for path in self.targets])
        self.notes.remove()

    def _assemble(self, path: Path, fine: xr.Dataset, times: range) -> None:
        """Write a file: time by time, in their order, so that its bytes are always the same."""
        time = self._job.time
        if time is not None:
            fine = fine.isel({time: slice(times.start, times.stop)})
        with naming(path):
            _write_skeleton(path, fine, time)
            with netCDF4.Dataset(path, "r+") as file:
                for unit in self._job.units:
                    if unit.times.start < times.stop and unit.times.stop > times.start:
                        self._insert(file, unit, times)

    def _insert(self, file: netCDF4.Dataset, unit: Unit, times: range) -> None:
        factor = self._job.engine.factor
        rows = slice(unit.rows.start * factor, unit.rows.stop * factor)
        for name in self._job.fine.data_vars:
            part = np.load(
                self.notes.path / _key(unit.number, str(name)), mmap_mode="r", allow_pickle=False
            )
            dims = [str(dim) for dim in self._job.fine[name].dims]
            variable = file[str(name)]
            variable.set_auto_maskandscale(False)
            for place in range(
                max(unit.times.start, times.start), min(unit.times.stop, times.stop)
            ):
                there = {self._job.time: place - times.start, self._job.rows: rows}
                here = {self._job.time: place - unit.times.start}
                to = tuple(there.get(dim, slice(None)) for dim in dims)
                variable[to] = part[tuple(here.get(dim, slice(None)) for dim in dims)]


def _save(path: Path, values: np.ndarray) -> None:
    """Write an array as ``numpy.save`` does, with the system's error where that does not go."""
    with path.open("wb") as file:
        header = np.lib.format.header_data_from_array_1_0(values)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(values.data.cast("B"))


def _write_skeleton(path: Path, fine: xr.Dataset, time: str | None) -> None:
    """Write everything but the values: variables, coordinates, attributes, as encoded."""
    empty = fine.assign(
        {
            name: field.copy(data=dask.array.zeros(field.shape, np.float32, chunks=-1))
            for name, field in fine.data_vars.items()
        }
    )
    remove([path])
    # Not `to_netcdf(compute=False)`: that keeps the file open until all that hangs on it is
    # collected, which takes longer than the rest. The zeros are never written.
    store = NetCDF4DataStore.open(path, mode="w")
    try:
        empty.dump_to_store(store, unlimited_dims=[time] if time else [])
    finally:
        store.close()


def _periods(job: Job) -> dict[Path, range]:
    """Return the files of an output, each with its times."""
    path, split, count = job.config.output, job.config.split, job.units.times
    if split is None:
        return {path: range(count)}
    dates: Any = None if job.time is None else job.fine.indexes[job.time]
    if dates is None or not hasattr(dates, "year"):
        raise ValueError(
            f"Wanted dates to split the output by {split}, got an input without them. "
            "Leave --split out."
        )
    labels = [f"{year:04d}" for year in dates.year]
    if split == "month":
        labels = [f"{label}-{month:02d}" for label, month in zip(labels, dates.month, strict=True)]
    periods: dict[Path, range] = {}
    for label, places in groupby(range(count), key=labels.__getitem__):
        found = list(places)
        periods[path.with_stem(f"{path.stem}_{label}")] = range(found[0], found[-1] + 1)
    return periods


def _key(number: int, name: str) -> str:
    return f"{PARTS}/{number:08d}-{name}.npy"
