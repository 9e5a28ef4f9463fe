"""The output dataset around its values: coordinates, bounds and CF attributes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from orbitds.checkpoint import Checkpoint
from orbitds.data.axes import DIMENSIONS, NAMES, is_dates
from orbitds.data.layout import MEMBER
from orbitds.grid import Grid
from orbitds.infer.distribution import SPREAD
from orbitds.infer.provenance import provenance
from orbitds.variables import Variable, variable

# Calendars of CF in which clocks may have leap seconds.
_OF_CLOCKS = {"standard", "gregorian", "proleptic_gregorian", "julian"}
_MEMBER = {"standard_name": "realization", "long_name": "ensemble member", "units": "1"}


def dress(
    fields: Mapping[str, Any],
    coarse: xr.Dataset,
    grid: Grid,
    checkpoint: Checkpoint,
    *,
    statics: str | None = None,
) -> xr.Dataset:
    """Return arrays [T, Hf, Wf] or [T, M, Hf, Wf] as a canonical dataset a reader understands.

    Parameters
    ----------
    fields
        Physical values by variable, numpy or dask; those of M members have a second axis, and what
        ends in ``_spread`` is the standard deviation of the variable before it.
    coarse
        The canonical input: its times and global attributes come along.
    grid
        The fine grid.
    statics
        Where the static fields are from that the model was given, if that is known.
    """
    coords: dict[str, Any] = {
        "time": coarse["time"],
        "latitude": ("latitude", grid.latitude_deg, _axis("latitude", "north", "Y")),
        "longitude": ("longitude", grid.longitude_deg, _axis("longitude", "east", "X")),
        "latitude_bnds": (("latitude", "bnds"), grid.latitude_bounds_deg.clip(-90, 90)),
        "longitude_bnds": (("longitude", "bnds"), grid.longitude_bounds_deg),
    }
    members = {values.shape[1] for values in fields.values() if values.ndim == 4}
    if members:
        (count,) = members
        coords[MEMBER] = (MEMBER, np.arange(count, dtype=np.int32), _MEMBER)
    time, *space = DIMENSIONS
    ds = xr.Dataset(
        {
            name: (
                DIMENSIONS if values.ndim == 3 else (time, MEMBER, *space),
                values,
                _attributes(name, coarse, fields),
            )
            for name, values in fields.items()
        },
        coords=coords,
    )
    return ds.assign_attrs(provenance(coarse.attrs, checkpoint, statics))


def with_time_told(fine: xr.Dataset, time: str | None) -> xr.Dataset:
    """Return an answer under the caller's names whose dates have what CF wants of a time axis.

    What they say of themselves already is left as it is.

    Parameters
    ----------
    time
        The caller's name of the time dimension; None where the time is a scalar, if there is one.
    """
    for name in {time} if time else set(NAMES["time"]) & set(fine.coords):
        if is_dates(fine[name]):
            fine = fine.assign_coords({name: _as_time(fine[name])})
    return fine


def _as_time(time: xr.DataArray) -> xr.DataArray:
    """Return dates with the attributes of a time axis that they lack."""
    told = {"standard_name": "time", "long_name": "time"}
    if time.ndim:
        told["axis"] = "T"
    if time.dt.calendar in _OF_CLOCKS:
        told["units_metadata"] = "leap_seconds: unknown"  # CF 1.11, section 4.4.4
    return time.assign_attrs(told | time.attrs)


def _attributes(name: str, coarse: xr.Dataset, fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the CF attributes of a variable, or of its spread.

    The spread has the standard name of its variable with the modifier ``standard_error``, which CF
    (appendix C) gives to the uncertainty of a value, and the variable names it as ancillary.
    """
    of = name.removesuffix(SPREAD)
    is_spread = of != name
    row = variable(of)
    attributes = {"long_name": row.long_name, "units": row.units}
    if is_spread:
        attributes["long_name"] = f"standard deviation of the predicted {row.long_name}"
    if row.standard_name:
        attributes["standard_name"] = row.standard_name + (" standard_error" if is_spread else "")
    if row.units == "K":  # CF 1.11, section 3.1.2
        attributes["units_metadata"] = f"temperature: {'difference' if is_spread else 'on_scale'}"
    if methods := _cell_methods(row, coarse[of].attrs if of in coarse else {}):
        attributes["cell_methods"] = methods
    if f"{name}{SPREAD}" in fields:
        attributes["ancillary_variables"] = f"{name}{SPREAD}"
    return attributes


def _cell_methods(row: Variable, stated: Mapping[str, Any]) -> str | None:
    """Return what a value is of its cells: as the input says, else as the vocabulary does."""
    methods = stated.get("cell_methods", row.cell_methods)
    if methods and row.period is not None:
        # a mean rate has become an amount on the way in
        return str(methods).replace("time: mean", "time: sum")
    return methods


def _axis(name: str, direction: str, axis: str) -> dict[str, str]:
    return {
        "standard_name": name,
        "long_name": name,
        "units": f"degrees_{direction}",
        "axis": axis,
        "bounds": f"{name}_bnds",
    }
