"""The door: a caller's dataset becomes canonical, or is refused with wanted, got, remedy."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

from orbitds.grid import Grid, refine_centres, unwrap_longitude
from orbitds.resources import did_you_mean
from orbitds.variables import Variable, variable

# Used where no CF attribute tells the axis.
_NAMES = {
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon"),
    "time": ("time", "valid_time"),
}
DIMENSIONS = ("time", "latitude", "longitude")


@dataclass(frozen=True, eq=False)
class Layout:
    """How the caller's dataset was laid out, to give the answer back the same way."""

    names: dict[str, str]
    """The caller's name of each canonical dimension that the caller has."""
    order: tuple[str, ...]
    """The caller's dimension order, in canonical names."""
    rows: np.ndarray
    """The caller's coarse row of each canonical row."""
    columns: np.ndarray
    """The caller's coarse column of each canonical column."""
    latitude: xr.DataArray
    """The caller's latitudes."""
    longitude: xr.DataArray
    """The caller's longitudes."""
    extra: xr.Dataset
    """Further coordinates, those on latitude or longitude aside."""

    def restore(self, fine: xr.Dataset, factor: int) -> xr.Dataset:
        """Return a canonical fine dataset with the caller's names, order and conventions."""
        fine = fine.isel(
            latitude=_children(self.rows, factor), longitude=_children(self.columns, factor)
        )
        axes = {
            "latitude": refine_centres(self.latitude.values, factor),
            "longitude": _refine_longitude(self.longitude.values, factor),
        }
        for axis, values in axes.items():
            fine = fine.assign_coords({axis: (axis, values, fine[axis].attrs)})
            if bounds := fine[axis].attrs.get("bounds"):
                half = (values[1] - values[0]) / 2
                edges = np.stack([values - half, values + half], axis=-1)
                if axis == "latitude":
                    edges = edges.clip(-90, 90)
                fine = fine.assign_coords({bounds: ((axis, "bnds"), edges, fine[bounds].attrs)})
        if "time" not in self.names:
            fine = fine.isel(time=0, drop=True)
        fine = fine.transpose(*self.order, ...)
        fine = fine.assign_coords(self.extra.coords)
        renamed = {ours: theirs for ours, theirs in self.names.items() if ours != theirs}
        for axis in ("latitude", "longitude"):
            if (bounds := fine[axis].attrs.get("bounds")) and axis in renamed:
                renamed[bounds] = f"{renamed[axis]}_bnds"
                fine[axis].attrs["bounds"] = renamed[bounds]
        return fine.rename(renamed)


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
    if time is not None and not is_static:
        names["time"] = time
    fields = xr.Dataset(
        {name: _convert(ds[theirs], variable(name)) for name, theirs in found.items()}
    )
    first = ds[found[next(iter(found))]]
    order = tuple(axis for dim in first.dims for axis, name in names.items() if name == dim)
    fields = fields.rename({theirs: ours for ours, theirs in names.items() if ours != theirs})
    allowed = {"latitude", "longitude"} if is_static else set(DIMENSIONS)
    for name, field in fields.items():
        for dim in field.dims:
            if dim not in allowed:
                raise ValueError(
                    f"Wanted {name} on time, latitude and longitude, got the further dimension "
                    f"{dim!r} of size {field.sizes[dim]}. Select one, as in "
                    f"ds.isel({dim}=0), or loop over it."
                )
    extra = fields.drop_vars(["latitude", "longitude"]).coords.to_dataset()
    extra = extra.drop_dims(["latitude", "longitude"], errors="ignore")
    rows, columns = _row_order(fields), _column_order(fields)
    layout = Layout(names, order, rows, columns, fields["latitude"], fields["longitude"], extra)
    if not is_static and "time" not in fields.dims:
        fields = fields.expand_dims("time")
        if "time" not in fields.coords:
            fields = fields.assign_coords(time=[0])
    fields = fields.isel(latitude=rows, longitude=columns)
    fields = fields.drop_vars(set(fields.coords) - set(DIMENSIONS))
    fields = fields.assign_coords(longitude=_rising(fields["longitude"]))
    fields = fields.transpose(*(dim for dim in DIMENSIONS if dim in fields.dims))
    Grid.of(fields)
    return Entered(fields.assign_attrs(missing=missing), layout)


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
        hint = did_you_mean(name, known)
        if not hint:
            near = next((h for a in row.aliases if (h := did_you_mean(a, known))), "")
            hint = near
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
            f"standard_name: {axis}; if it is a scalar, select a larger region."
        )
    return name


def _find_axis(ds: xr.Dataset, axis: str) -> str | None:
    """Return the caller's name of an axis: by CF attributes, then by its usual names."""
    import cf_xarray  # noqa: F401  registers ds.cf; half a second that a bare import saves

    by_attribute = [str(name) for name in ds.cf.coordinates.get(axis, [])]
    one_dimensional = [name for name in by_attribute if ds[name].dims == (name,)]
    candidates = one_dimensional or [name for name in _NAMES[axis] if name in ds.variables]
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
        field = (field * scale + offset).astype(field.dtype)
    return field.assign_attrs(units=row.units)


def _affine(units: str, row: Variable) -> tuple[float, float]:
    from cf_xarray.units import units as registry
    from pint.errors import PintError

    try:
        zero, one = (
            registry.Quantity(value, units).to(row.units).magnitude for value in (0.0, 1.0)
        )
    except (PintError, AttributeError, ValueError, TypeError) as error:
        raise ValueError(
            f"Wanted {row.name} in {row.units!r} or a unit that converts to it, got {units!r}. "
            "Correct the `units` attribute, or convert the data."
        ) from error
    return float(one - zero), float(zero)


def _row_order(ds: xr.Dataset) -> np.ndarray:
    latitude = ds["latitude"].values
    order = np.arange(latitude.size)
    return order[::-1].copy() if latitude[0] < latitude[-1] else order


def _column_order(ds: xr.Dataset) -> np.ndarray:
    longitude = unwrap_longitude(ds["longitude"].values)
    order = np.arange(longitude.size)
    if longitude[0] > longitude[-1]:
        order = order[::-1].copy()
    rising = longitude[order]
    step = (rising[-1] - rising[0]) / max(rising.size - 1, 1)
    if abs(rising.size * step - 360) < step / 2:
        # the same globe from any start is the same field to the model
        order = np.roll(order, -int(np.argmin(np.round(rising % 360, 6))))
    return order


def _rising(longitude: xr.DataArray) -> xr.DataArray:
    """Return longitudes that rise without a jump, the first in [-180, 360)."""
    values = unwrap_longitude(longitude.values)
    if values[0] >= 360 or values[0] < -180:
        values = values - 360 * np.floor(values[0] / 360)
    return longitude.copy(data=values)


def _refine_longitude(longitude: np.ndarray, factor: int) -> np.ndarray:
    """Refine the caller's longitudes and keep to their range where they jump by a turn."""
    smooth = unwrap_longitude(longitude)
    fine = refine_centres(smooth, factor)
    if np.abs(smooth - longitude).max() < 180:
        return fine
    west = -180 if np.min(longitude) < 0 else 0
    return (fine - west) % 360 + west


def _children(order: np.ndarray, factor: int) -> np.ndarray:
    """Return, for each of the caller's fine cells, its place on the canonical fine axis."""
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    offsets: Iterable[int] = np.arange(factor)
    if order.size > 1 and _falls(order):
        offsets = np.arange(factor)[::-1]
    return (place[:, None] * factor + np.asarray(offsets)).reshape(-1)


def _falls(order: np.ndarray) -> bool:
    """Whether the caller's axis runs against the canonical one, one step of a roll aside."""
    return bool(np.sum(np.diff(order) < 0) > order.size // 2)
