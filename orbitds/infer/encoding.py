"""How an answer lies on disk if nobody says otherwise: types, compression, chunks, fill values."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from xarray.conventions import encode_cf_variable

from orbitds.data.axes import is_dates
from orbitds.data.layout import MEMBER

# Cells of a chunk along rows and columns at most: one time of a quarter of a degree is one chunk.
LARGEST_CHUNK = 1440
_UNITS = ("days", "hours", "minutes", "seconds", "microseconds", "nanoseconds")
_MIDNIGHT = re.compile(r" since (?P<day>\d{4}-\d\d?-\d\d?)([T ][0:.]*)?( ?(Z|UTC))?$")
# Whole numbers from here on are not all float64.
EXACT = 2**53


def encoded(ds: xr.Dataset, time: str | None) -> xr.Dataset:
    """Return an answer whose ``encoding`` makes plain ``to_netcdf`` and ``to_zarr`` write it well.

    Values are float32, compressed, one time of a field a chunk, time unlimited. Cells without a
    value are NaN, also where a file is not whole yet; coordinates and bounds, to which CF allows no
    missing values, have no fill value. Dates are whole numbers since the caller's reference.

    Parameters
    ----------
    time
        The caller's name of the time dimension, None where there is none.
    """
    ds, dates = ds.copy(), dict(_dates(ds))
    ds.encoding = {"unlimited_dims": {time}} if time else {}
    for name, variable in ds.variables.items():
        variable.encoding = _field(variable, time) if name in ds.data_vars else _plain(variable)
        variable.encoding |= dates.get(name, {})
    return ds


def _field(variable: xr.Variable, time: str | None) -> dict[str, Any]:
    return {
        "dtype": np.dtype("float32"),
        "_FillValue": np.float32("nan"),
        "zlib": True,
        "complevel": 1,
        "shuffle": True,
        "chunksizes": tuple(
            1 if dim in (time, MEMBER) else _chunk(size) for dim, size in variable.sizes.items()
        ),
    }


def _plain(variable: xr.Variable) -> dict[str, Any]:
    return {"_FillValue": None} if variable.dtype.kind == "f" else {}


def _chunk(cells: int) -> int:
    """Return the cells of as few equal chunks as there may be."""
    parts = -(-cells // LARGEST_CHUNK)
    return -(-cells // parts)


def _dates(ds: xr.Dataset) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield the encodings of dates, bounds in the unit of their time."""
    names = {name for name in ds.coords if is_dates(ds[name])}
    bounds = {name: ds[name].attrs.get("bounds") for name in names}
    for name in sorted(names - set(bounds.values()), key=str):
        pair = bounds[name] if bounds[name] in names else None
        dates = [ds[key] for key in (name, pair) if key is not None]
        encoding = {} if any(field.isnull().any() for field in dates) else _whole_numbers(dates)
        yield name, encoding
        if pair is not None:
            yield pair, encoding


def _whole_numbers(dates: list[xr.DataArray]) -> dict[str, Any]:
    """Return an encoding by which dates are whole numbers since midnight of a day, without loss.

    Day and unit are those that the first of them came with, where that can be.
    """
    first = dates[0]
    given = str(first.encoding.get("units", ""))
    unit = max([_finest(field) for field in dates] + [_rank(given.partition(" since ")[0])])
    midnight = _MIDNIGHT.search(given)
    day = midnight["day"] if midnight else str(first.dt.strftime("%Y-%m-%d").values.flat[0])
    calendar = str(first.dt.calendar)
    if (
        calendar == "proleptic_gregorian"
        and int(min(field.dt.year.min() for field in dates)) > 1582
    ):
        theirs = first.encoding.get("calendar", calendar)
        calendar = "standard" if theirs in {"standard", "gregorian"} else calendar
    encoding = {"units": f"{_UNITS[unit]} since {day}", "calendar": calendar}
    return encoding | {"dtype": _smallest([_numbers(field, encoding) for field in dates])}


def _numbers(dates: xr.DataArray, encoding: dict[str, Any]) -> np.ndarray:
    """Return the whole numbers that dates are in an encoding."""
    plain = xr.Variable(dates.dims, dates.values, encoding=encoding | {"dtype": np.dtype("int64")})
    return encode_cf_variable(plain).values


def _smallest(numbers: list[np.ndarray]) -> np.dtype:
    """Return a type that holds whole numbers exactly and that old tools read: few know int64."""
    largest = max((int(np.abs(some).max(initial=0)) for some in numbers), default=0)
    if largest <= np.iinfo(np.int32).max:
        return np.dtype("int32")
    return np.dtype("float64" if largest < EXACT else "int64")


def _finest(dates: xr.DataArray) -> int:
    """Return the place of the unit of which dates are whole numbers since a midnight."""
    parts = ["hour", "minute", "second", "microsecond"]
    if dates.dtype.kind == "M":
        parts.append("nanosecond")
    return max(
        (rank for rank, part in enumerate(parts, 1) if getattr(dates.dt, part).any()), default=0
    )


def _rank(unit: str) -> int:
    """Return the place of a unit, the coarsest for one that is unknown."""
    known = [name for name in _UNITS if unit.strip().lower().rstrip("s") == name.rstrip("s")]
    return _UNITS.index(known[0]) if known else 0
