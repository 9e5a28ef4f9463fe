"""The axes of a caller's dataset: which of its coordinates are time, latitude and longitude."""

import numpy as np
import xarray as xr

from orbitds.grid import TOLERANCE_CELLS, unwrap_longitude

DIMENSIONS = ("time", "latitude", "longitude")
# Used, in lower case, where no CF attribute tells the axis.
NAMES = {
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon"),
    "time": ("time", "valid_time"),
}
_LETTERS = {"latitude": "Y", "longitude": "X", "time": "T"}


def find_axis(ds: xr.Dataset, axis: str) -> str | None:
    """Return the caller's name of an axis: by CF attributes, by its usual names, by its dates.

    Returns
    -------
    str or None
        None where there is no such coordinate, or it is a scalar.

    Raises
    ------
    ValueError
        If several coordinates are that axis, or it has two dimensions.
    """
    import cf_xarray  # noqa: F401  registers ds.cf; half a second that a bare import saves

    by_name = [str(name) for name in ds.variables if str(name).lower() in NAMES[axis]]
    # an axis attribute alone may belong to a projection, a rotated pole included
    by_letter = [
        str(name)
        for name in ds.cf.axes.get(_LETTERS[axis], [])
        if axis == "time" or _may_be_degrees(ds[name])
    ]
    by_attribute = [str(name) for name in ds.cf.coordinates.get(axis, [])]
    ways = [by_attribute, by_name, by_letter]
    if axis == "time":
        ways.append([str(name) for name in ds.dims if name in ds.coords and is_dates(ds[name])])
    axes = [[name for name in way if ds[name].dims == (name,)] for way in ways]
    candidates = next(filter(None, axes), [])
    # what lies on other dimensions is told, if there is no axis
    candidates = candidates or by_attribute[:1] or by_name[:1]
    if len(candidates) > 1:
        raise ValueError(
            f"Wanted one {axis} axis, got {candidates}. Drop the others: "
            f"ds.drop_vars({candidates[1]!r})."
        )
    if not candidates:
        return None
    name = candidates[0]
    if ds[name].ndim > 1:
        raise ValueError(
            f"Wanted a {axis} axis of one dimension, got {name!r} on {ds[name].dims}: a "
            "curvilinear grid. Regrid the data to a regular latitude-longitude grid."
        )
    return name if name in ds.dims else None


def require_axis(ds: xr.Dataset, axis: str) -> str:
    """Return the caller's name of a horizontal axis, whose values must be degrees on a globe.

    Raises
    ------
    ValueError
        If there is none, or its values are no degrees.
    """
    name = find_axis(ds, axis)
    if name is None:
        raise ValueError(
            f"Wanted a {axis} axis with at least two cells, got the coordinates "
            f"{[str(key) for key in ds.coords]}{_planes(ds, axis)}. Name it {axis!r} or give it "
            f"the CF attribute standard_name: {axis}; if it is a scalar, select a larger region; "
            "if it lies on a dimension of another name, use ds.swap_dims."
        )
    _check_degrees(ds[name], axis)
    return name


def is_dates(coordinate: xr.DataArray) -> bool:
    """Whether a coordinate holds dates of any calendar."""
    if coordinate.dtype.kind == "M":
        return True
    first = coordinate.values.flat[0] if coordinate.dtype == object and coordinate.size else None
    return hasattr(first, "calendar")


def _may_be_degrees(coordinate: xr.DataArray) -> bool:
    units = str(coordinate.attrs.get("units", "degrees"))
    return "standard_name" not in coordinate.attrs and units.startswith("degree")


def _planes(ds: xr.Dataset, axis: str) -> str:
    """Name a curvilinear coordinate that goes by another name, where there is one."""
    part = NAMES[axis][1]
    found = [name for name in ds.variables if part in str(name).lower() and ds[name].ndim == 2]
    return f" and {found[0]!r} on {ds[found[0]].dims}, a curvilinear grid" if found else ""


def _check_degrees(coordinate: xr.DataArray, axis: str) -> None:
    """Refuse coordinates that are radians or metres, or go round the globe more than once."""
    name, values = coordinate.name, np.asarray(coordinate.values)
    if values.dtype.kind not in "fiu":
        raise ValueError(
            f"Wanted {axis} in degrees, got {name!r} of type {values.dtype}. Give the centres of "
            "the cells as numbers."
        )
    units = str(coordinate.attrs.get("units", ""))
    largest, limit = float(np.abs(values).max(initial=0)), 90 if axis == "latitude" else 1080
    if units.lower().startswith(("rad", "m", "km")) or largest > limit + 1e-3:
        raise ValueError(
            f"Wanted {axis} in degrees, got {name!r} from {values.min():g} to {values.max():g}"
            f"{f' {units}' if units else ''}. Convert radians with np.rad2deg; Regrid projected "
            "data to a regular latitude-longitude grid."
        )
    if axis == "longitude" and values.size > 2 and np.isfinite(values).all():
        smooth = unwrap_longitude(values)
        step = abs(smooth[-1] - smooth[0]) / (values.size - 1)
        if abs(smooth[-1] - smooth[0]) + step > 360 + step * (0.5 + TOLERANCE_CELLS):
            raise ValueError(
                f"Wanted columns that go round the globe once at most, got {name!r} from "
                f"{values[0]:g} to {values[-1]:g}, {values.size} columns of {step:g} degrees. "
                f"Drop the repeated ones, as in ds.isel({name}=slice(None, -1))."
            )
