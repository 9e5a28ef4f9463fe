"""The door: a caller's dataset becomes canonical, or is refused with wanted, got, remedy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

from orbitds.data.layout import Layout, column_order, rising, row_order
from orbitds.grid import Grid
from orbitds.resources import did_you_mean
from orbitds.variables import Variable, table, variable

# Used where no CF attribute tells the axis.
_NAMES = {
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon"),
    "time": ("time", "valid_time"),
}
DIMENSIONS = ("time", "latitude", "longitude")


@dataclass(frozen=True, eq=False)
class Entered:
    """A canonical dataset, and how it was laid out before."""

    ds: xr.Dataset
    layout: Layout


def enter(
    ds: xr.Dataset, variables: Sequence[str], *, missing: Literal["error", "mask"] = "error"
) -> Entered:
    """Return the wanted variables in canonical form, lazily.

    Names and units become those of the vocabulary, dimensions (time, latitude, longitude), rows
    run from north to south, columns from west to east; a global grid starts at its first column
    east of Greenwich.

    Parameters
    ----------
    variables
        Names in the vocabulary; static ones need no time.
    missing
        Whether NaN is later an error or a mask; kept as the attribute ``missing``.

    Raises
    ------
    ValueError
        If a variable, a coordinate or a unit is missing or unusable; the message says what was
        wanted, what was found and what to do.
    """
    found = {name: _find_variable(ds, name) for name in dict.fromkeys(variables)}
    names = {axis: _require_axis(ds, axis) for axis in ("latitude", "longitude")}
    is_static = all(variable(name).kind == "static" for name in found)
    time = _find_axis(ds, "time")
    if not is_static and any(time in ds[theirs].dims for theirs in found.values()):
        names["time"] = str(time)
    for name, theirs in found.items():
        _check_dimensions(name, ds[theirs], names)
    fields = xr.Dataset(
        {name: _convert(ds[theirs], variable(name)) for name, theirs in found.items()},
        attrs=ds.attrs,
    )
    first = ds[found[next(iter(found))]]
    order = tuple(axis for dim in first.dims for axis, name in names.items() if name == dim)
    extra = _further_coordinates(ds, fields, names)
    fields = fields.drop_vars(set(fields.coords) - set(names.values()))
    fields = fields.rename({theirs: ours for ours, theirs in names.items() if ours != theirs})
    rows, columns = row_order(fields), column_order(fields)
    layout = Layout(names, order, rows, columns, fields["latitude"], fields["longitude"], extra)
    if not is_static and "time" not in fields.dims:
        fields = fields.assign_coords(time=_time_of_map(extra)).expand_dims("time")
    fields = fields.isel(latitude=rows, longitude=columns)
    fields = fields.assign_coords(longitude=rising(fields["longitude"]))
    for axis in set(DIMENSIONS) & set(fields.coords):
        fields[axis].attrs.pop("bounds", None)  # they stay outside
    fields = fields.transpose(*(dim for dim in DIMENSIONS if dim in fields.dims))
    Grid.of(fields)
    return Entered(fields.assign_attrs(missing=missing), layout)


def _further_coordinates(ds: xr.Dataset, fields: xr.Dataset, names: dict[str, str]) -> xr.Dataset:
    """Return the caller's coordinates that are not horizontal, with the bounds of time."""
    extra = fields.drop_dims([names["latitude"], names["longitude"]]).coords.to_dataset().copy()
    if "time" in names:
        time = extra[names["time"]]
        bounds = str(time.attrs.get("bounds", ""))
        if bounds in ds:
            extra = extra.assign_coords({bounds: ds[bounds]})
        else:
            time.attrs.pop("bounds", None)
    return extra


def _time_of_map(extra: xr.Dataset) -> xr.Variable:
    """Return the time that a single map carries as a scalar, 0 without one."""
    known = [name for name in _NAMES["time"] if name in extra.coords and not extra[name].ndim]
    return extra[known[0]].variable if known else xr.Variable((), 0)


def _check_dimensions(name: str, field: xr.DataArray, names: dict[str, str]) -> None:
    """Refuse a variable on more or on less than the axes."""
    for dim in field.dims:
        if dim not in names.values():
            raise ValueError(
                f"Wanted {name} on time, latitude and longitude, got the further dimension "
                f"{dim!r} of size {field.sizes[dim]}. Select one, as in "
                f"ds.isel({dim}=0), or loop over it."
            )
    if absent := {names["latitude"], names["longitude"]} - set(field.dims):
        raise ValueError(
            f"Wanted {name} on latitude and longitude, got it on {field.dims}, without "
            f"{sorted(absent)}. Give the whole field."
        )


def check_values(name: str, values: np.ndarray, *, missing: str = "error") -> None:
    """Refuse values that are missing where none may be, infinite, or implausible.

    Raises
    ------
    ValueError
        With the count and the extremes.
    """
    row = variable(name)
    absent = int(np.isnan(values).sum())
    if absent and missing == "error":
        raise ValueError(
            f"Wanted {name} without missing values, got NaN in {absent} of {values.size} cells. "
            "Fill them, cut the region to valid cells, or declare `missing: mask` in the catalog."
        )
    low, high = row.plausible
    strange = int(((values < low) | (values > high)).sum())
    if strange:
        raise ValueError(
            f"Wanted {name} between {low:g} and {high:g} {row.units}, got "
            f"{np.nanmin(values):g} to {np.nanmax(values):g}, outside in {strange} of "
            f"{values.size} cells. Check the unit and undecoded fill values."
        )


def _find_variable(ds: xr.Dataset, name: str) -> str:
    row = variable(name)
    known = [str(key) for key in ds.data_vars]
    matches = [key for key in (row.name, *row.aliases) if key in known]
    if len(matches) > 1:
        raise ValueError(
            f"Wanted one variable for {name}, got {matches}. Drop or rename the others."
        )
    if not matches:
        # what has the name of another variable is that variable
        taken = {alias for other in table().values() for alias in (other.name, *other.aliases)}
        free = [key for key in known if key not in taken]
        hints = (did_you_mean(own, free) for own in (name, *row.aliases))
        hint = next(filter(None, hints), "")
        raise ValueError(
            f"Wanted the variable {name!r} ({row.long_name}; also known as "
            f"{', '.join(row.aliases)}), got a dataset with {known}.{hint} "
            f"Rename yours: ds.rename({{'...': {name!r}}})."
        )
    return matches[0]


def _require_axis(ds: xr.Dataset, axis: str) -> str:
    name = _find_axis(ds, axis)
    if name is None:
        raise ValueError(
            f"Wanted a {axis} axis with at least two cells, got the coordinates "
            f"{[str(key) for key in ds.coords]}. Name it {axis!r} or give it the CF attribute "
            f"standard_name: {axis}; if it is a scalar, select a larger region; if it lies on a "
            "dimension of another name, use ds.swap_dims."
        )
    return name


def _find_axis(ds: xr.Dataset, axis: str) -> str | None:
    """Return the caller's name of an axis: by CF attributes, then by its usual names."""
    import cf_xarray  # noqa: F401  registers ds.cf; half a second that a bare import saves

    by_attribute = [str(name) for name in ds.cf.coordinates.get(axis, [])]
    by_name = [name for name in _NAMES[axis] if name in ds.variables]
    axes = [[name for name in some if ds[name].dims == (name,)] for some in (by_attribute, by_name)]
    candidates = axes[0] or axes[1] or by_attribute[:1] or by_name[:1]
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


def _convert(field: xr.DataArray, row: Variable) -> xr.DataArray:
    """Convert to the unit of the vocabulary, lazily."""
    units = field.attrs.get("units")
    if units is None:
        raise ValueError(
            f"Wanted {row.name} with its unit, got no `units` attribute. "
            f"State it: ds[{str(field.name)!r}].attrs['units'] = {row.units!r}, if that is it."
        )
    if units == row.units:
        return field
    scale, offset = _affine(str(units), row)
    if (scale, offset) != (1.0, 0.0):
        # integers would lose what stands behind the point
        dtype = field.dtype if field.dtype.kind == "f" else np.float32
        field = (field * scale + offset).astype(dtype)
    return field.assign_attrs(units=row.units)


def _affine(units: str, row: Variable) -> tuple[float, float]:
    from cf_xarray.units import units as registry

    try:
        zero, one = (
            registry.Quantity(value, units).to(row.units).magnitude for value in (0.0, 1.0)
        )
    except Exception as error:  # pint lets errors of Python's tokenizer through
        raise ValueError(
            f"Wanted {row.name} in {row.units!r} or a unit that converts to it, got {units!r}. "
            "Correct the `units` attribute, or convert the data."
        ) from error
    return float(one - zero), float(zero)
