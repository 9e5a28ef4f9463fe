"""Where data lie: files, folders and addresses, opened lazily as xarray."""

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, cast

import xarray as xr

Credentials = Literal["none", "environment"]
Chunks = Mapping[str, int]

# What opens an address with the environment's credentials, and the options for a public store.
_CLIENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "gs": ("gcsfs", {}),
    "s3": ("s3fs", {"anon": True}),
    "http": ("aiohttp", {}),
    "https": ("aiohttp", {}),
    "memory": ("fsspec", {}),
}
# Public objects of Google Cloud are served over HTTPS too: a lighter client, which does not try
# for a minute where there is no network.
_GOOGLE = "https://storage.googleapis.com/"
_ADDRESS = re.compile(rf"(?P<scheme>{'|'.join(_CLIENTS)}):/+(?P<rest>.+)")
_SECRET = re.compile(
    r"://[^/]*@|[?&][^=&]*(token|secret|password|signature|credential|key|sig)[^=&]*=",
    re.IGNORECASE,
)
_NETCDF = {".nc", ".nc4", ".cdf", ".h5", ".hdf5"}
_held: dict[tuple, xr.Dataset] = {}
_GRIB = {".grib", ".grib1", ".grib2", ".grb", ".grb2"}


def address(source: str | Path) -> str | None:
    """Return the address that a source is, as ``scheme://rest``, or None if it is a path.

    A ``Path`` made of an address has lost one of its slashes; it is given back.
    """
    found = _ADDRESS.fullmatch(str(source))
    return f"{found['scheme']}://{found['rest']}" if found else None


def check_address(url: str) -> str:
    """Return the address, if it can be written down: of a known kind and without credentials.

    Raises
    ------
    ValueError
        If it is neither; credentials are not repeated in the message.
    """
    if address(url) is None:
        raise ValueError(
            f"Wanted an address that starts with one of {[f'{name}://' for name in _CLIENTS]}, "
            f"got {url.split('?')[0]!r}. Give files by their path."
        )
    if _SECRET.search(url):
        raise ValueError(
            "Wanted an address without credentials, got one with a user, a key or a signature in "
            "it. Take it out and put it where the client of the store looks for it (environment "
            "or its own settings); an entry then says `credentials: environment`."
        )
    return url


def open_address(
    url: str, *, chunks: Chunks | None = None, credentials: Credentials = "none"
) -> xr.Dataset:
    """Open a Zarr store, or a NetCDF4 file, behind an address lazily.

    Parameters
    ----------
    url
        ``gs://``, ``s3://``, ``http(s)://`` or ``memory://``; what ends in ``.nc`` is NetCDF.
    chunks
        Cells of a block by dimension; the store's own where absent.
    credentials
        Whether the store is public, or opened with what the client finds in the environment.

    Raises
    ------
    ImportError
        If the client of the address is not installed; the message names the extra.
    ConnectionError
        If nothing opens there; the message says what it needs.
    """
    target = check_address(url)
    if credentials == "none":
        target = re.sub("^gs://", _GOOGLE, target)
    client, public = _CLIENTS[target.partition("://")[0]]
    _require(client, "cloud", url)
    options = public if credentials == "none" else {}
    try:
        if Path(url).suffix in _NETCDF:
            _require("h5netcdf", "cloud", url)
            file = import_module("fsspec").open(target, **options).open()
            return xr.open_dataset(file, engine="h5netcdf", chunks=chunks or "auto")
        return _open_zarr(target, chunks, options)
    except ImportError:
        raise
    except Exception as error:  # each client has errors of its own
        told = (
            "as a public store" if credentials == "none" else "with the environment's credentials"
        )
        raise ConnectionError(
            f"Wanted a Zarr store or NetCDF4 file at {url}, asked for {told}, got "
            f"{type(error).__name__}: {error}. Check the address and the network; a store that is "
            "not public is opened by an entry of yours with `credentials: environment`."
        ) from error


def open_files(paths: Sequence[Path], *, chunks: Chunks | None = None) -> xr.Dataset:
    """Open files lazily as one dataset, joined along their coordinates.

    Raises
    ------
    ValueError
        If one does not open, or they do not fit together.
    """
    if len(paths) == 1:
        return open_file(paths[0], chunks=chunks)
    datasets = [open_file(path, chunks=chunks) for path in paths]
    try:
        joined = xr.combine_by_coords(
            datasets,
            # what does not lie along time, as orography, is the same in all files
            data_vars="minimal",
            coords="minimal",
            compat="override",
            join="exact",
            combine_attrs="override",
        )
        for name, index in joined.indexes.items():
            if not index.is_unique:
                raise ValueError(f"{name} {index[index.duplicated()][0]} stands twice")  # noqa: TRY301  told below
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"Wanted {len(paths)} files that follow each other in time on one grid, got {paths[0]} "
            f"to {paths[-1]}, which do not fit together ({error}). Open fewer of them, and look "
            "for one that is of another grid or given twice."
        ) from error
    return cast("xr.Dataset", joined)  # datasets in, dataset out


def open_file(path: Path, *, chunks: Chunks | None = None) -> xr.Dataset:
    """Open a NetCDF or GRIB file or a Zarr store lazily.

    Raises
    ------
    ImportError
        If it is GRIB and cfgrib is not installed.
    ValueError
        If the content is none of these.
    """
    wanted = "GRIB file" if _is_grib(path) else "NetCDF file or a Zarr store"
    try:
        if path.is_dir() and any((path / key).exists() for key in ("zarr.json", ".zgroup")):
            return _open_zarr(str(path), chunks, None)
        if wanted == "GRIB file":
            _require("cfgrib", "grib", str(path))
            # no index file beside data that may not be ours
            keywords: dict[str, Any] = {"engine": "cfgrib", "backend_kwargs": {"indexpath": ""}}
            return xr.open_dataset(path, chunks=chunks or "auto", **keywords)
        return _open_netcdf(path, chunks)
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise ValueError(
            f"Wanted a {wanted}, got {path}, which opens as neither ({error}). "
            "Check the path, and that the file is complete."
        ) from error


def _open_netcdf(path: Path, chunks: Chunks | None) -> xr.Dataset:
    """Open a NetCDF file, one with text variables once and for good.

    The handles of a file share its variables, and the fill value of text points to the handle that
    was opened last: once that is closed, the next one to open the file crashes the process (seen
    with HDF5 1.14 and 2.2). So there is one, which stays open.
    """
    status = path.stat()
    key = (path.resolve(), status.st_mtime_ns, status.st_ino, tuple(dict(chunks or {}).items()))
    if key in _held:
        return _held[key].copy()
    # `auto`: the whole of a variable that the file does not chunk may not fit in memory
    ds = xr.open_dataset(path, chunks=chunks or "auto", engine="netcdf4")
    if not any(variable.dtype.kind in "OUT" for variable in ds.variables.values()):
        return ds
    _held[key] = ds
    return ds.copy()


def _open_zarr(store: str, chunks: Chunks | None, options: dict[str, Any] | None) -> xr.Dataset:
    zarr = import_module("zarr")  # not at the top: `import orbitds` does without it
    group = zarr.open_group(store, mode="r", storage_options=options or None)
    # xarray warns where it has to find out
    is_consolidated = group.metadata.consolidated_metadata is not None
    return xr.open_zarr(
        store, consolidated=is_consolidated, chunks=dict(chunks or {}), storage_options=options
    )


def _is_grib(path: Path) -> bool:
    if path.suffix.lower() in _GRIB:
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"GRIB"


def _require(module: str, extra: str, source: str) -> None:
    """Import what only some sources need, or say which extra brings it."""
    try:
        import_module(module)
    except ImportError as error:
        raise ImportError(
            f"Wanted {module} to open {source}, got {error}. Install the extra: "
            f"pip install 'orbitds[{extra}]'."
        ) from error
