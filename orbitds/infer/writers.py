"""Write a fine dataset to NetCDF or Zarr: all of it, or nothing."""

import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import dask.base
import xarray as xr
from dask import config as dask_config
from dask.callbacks import Callback

from orbitds.output import check_place
from orbitds.progress import progress

SUFFIXES = (".nc", ".zarr")


def check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse an output that cannot be written, before anything is computed.

    Raises
    ------
    ValueError
        If the name ends in neither .nc nor .zarr.
    FileExistsError
        If it exists and may not be replaced.
    OSError
        If its folder does not exist or cannot be written to.
    """
    check_place(path, SUFFIXES)
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"Wanted a new output, got {path}, which exists. Choose another name, or replace it "
            "with --overwrite."
        )


def write(ds: xr.Dataset, path: Path, *, overwrite: bool = False) -> None:
    """Compute a lazy dataset block by block into a file, under a temporary name until it is whole.

    Raises
    ------
    OSError
        As ``check_output``, or if writing fails; the temporary file is removed.
    """
    check_output(path, overwrite=overwrite)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    save = _save_netcdf if path.suffix == ".nc" else _save_zarr
    try:
        _compute(lambda: save(ds, partial), path.name)
        replaced = path.with_name(f".{path.name}.replaced-{os.getpid()}")
        if path.exists():
            path.rename(replaced)
        partial.rename(path)
        _remove(replaced)
    finally:
        _remove(partial)


def _save_netcdf(ds: xr.Dataset, path: Path) -> object:
    time = _time_dimension(ds)
    encoding = {
        name: {
            "dtype": "float32",
            "zlib": True,
            "complevel": 1,
            "shuffle": True,
            "chunksizes": tuple(1 if dim == time else ds.sizes[dim] for dim in ds[name].dims),
        }
        for name in ds.data_vars
    }
    return ds.to_netcdf(
        path,
        engine="netcdf4",
        encoding=encoding | _plain_coordinates(ds),
        unlimited_dims=[time] if time else [],
        compute=False,
    )


def _save_zarr(ds: xr.Dataset, path: Path) -> object:
    encoding = {name: {"dtype": "float32"} for name in ds.data_vars}
    with warnings.catch_warnings():
        # An extension of Zarr 3 that other readers ignore; without it xr.open_zarr(path) warns.
        warnings.filterwarnings("ignore", "Consolidated metadata", category=UserWarning)
        return ds.to_zarr(
            path,
            zarr_format=3,
            consolidated=True,
            encoding=encoding | _plain_coordinates(ds),
            compute=False,
        )


def _plain_coordinates(ds: xr.Dataset) -> dict:
    """Return encodings by which coordinates carry no fill value: CF allows them none."""
    return {
        name: {"_FillValue": None}
        for name, coordinate in ds.coords.items()
        if coordinate.dtype.kind == "f"
    }


def _time_dimension(ds: xr.Dataset) -> str | None:
    first = ds[next(iter(ds.data_vars))]
    return str(first.dims[0]) if first.ndim > 2 else None


def _compute(plan: Callable[[], object], label: str) -> None:
    """Run a delayed write in this thread: the model uses all cores itself."""
    with dask_config.set(scheduler="synchronous"):
        delayed = plan()
        with _Progress(label):
            dask.base.compute(delayed)


class _Progress(Callback):
    """Progress over the tasks of a dask graph."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label

    def _start_state(self, dsk: object, state: dict) -> None:  # noqa: ARG002  dask's signature
        self.total = sum(len(state[key]) for key in ("ready", "waiting"))
        self.done = 0
        self.bar = progress(self.label, self.total)
        self.report = self.bar.__enter__()

    def _posttask(self, *_: object) -> None:
        self.done += 1
        self.report(min(self.done, self.total), "")

    def _finish(self, *_: object) -> None:
        self.bar.__exit__(None, None, None)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
