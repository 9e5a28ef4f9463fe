"""The door: a caller's dataset becomes canonical, or is refused with wanted, got, remedy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import xarray as xr

from orbitds.catalog import dataset_entry, dataset_names
from orbitds.data.axes import DIMENSIONS, NAMES, find_axis, require_axis
from orbitds.data.find import find_variable, squeezed
from orbitds.data.layout import Layout, column_order, rising, row_order
from orbitds.data.times import check_times, check_unbroken
from orbitds.data.units import convert, units_of
from orbitds.data.values import Missing, check_values
from orbitds.grid import Grid
from orbitds.variables import variable

__all__ = ["DIMENSIONS", "Entered", "check_values", "declared_missing", "enter"]


@dataclass(frozen=True, eq=False)
class Entered:
    """A canonical dataset, and how it was laid out before."""

    ds: xr.Dataset
    layout: Layout
    notes: tuple[str, ...] = ()
    """What was left out on the way, for people."""


def enter(
    ds: xr.Dataset,
    variables: Sequence[str],
    *,
    missing: Missing = "error",
    units: Mapping[str, str] | None = None,
    times: Literal["any", "unbroken"] = "any",
    amounts: Literal["whole", "parts"] = "whole",
) -> Entered:
    """Return the wanted variables in canonical form, lazily.

    Names and units become those of the vocabulary, dimensions (time, latitude, longitude), rows
    run from north to south, columns from west to east; a global grid starts at its first column
    east of Greenwich. Variables at a pressure are taken from their level; further dimensions of
    size one are left out.

    Parameters
    ----------
    variables
        Names in the vocabulary; static ones need no time.
    missing
        Whether NaN is later an error or a mask; kept as the attribute ``missing``.
    units
        Units by variable, ours or the caller's name, where the data state none or a wrong one.
    times
        Whether steps may be left out of the time axis.
    amounts
        Whether sums such as precipitation are of the whole period of their row, or of the shorter
        steps of the data, to be summed up.

    Raises
    ------
    ValueError
        If a variable, a coordinate, a time or a unit is missing or unusable; the message says what
        was wanted, what was found and what to do.
    """
    found = {name: find_variable(ds, name) for name in dict.fromkeys(variables)}
    names = {axis: require_axis(ds, axis) for axis in ("latitude", "longitude")}
    is_static = all(variable(name).kind == "static" for name in found)
    time = find_axis(ds, "time")
    if not is_static and any(time in ds[of.theirs].dims for of in found.values()):
        names["time"] = str(time)
        check_times(ds[time])
        if times == "unbroken":
            check_unbroken(ds[time])
    dates = ds[names["time"]] if "time" in names else _scalar_time(ds)
    fields, notes = {}, []
    for name, of in found.items():
        field, single = squeezed(of.of(ds), names.values())
        notes += [f"{of.theirs}: the dimension {dim!r} of size one is left out" for dim in single]
        _check_dimensions(name, field, names)
        stated = units_of(units, name, of.theirs)
        fields[name] = convert(field, variable(name), time=dates, units=stated, amounts=amounts)
    first = fields[next(iter(found))]
    order = tuple(axis for dim in first.dims for axis, name in names.items() if name == dim)
    entered = xr.Dataset(fields, attrs=ds.attrs)
    extra = _further_coordinates(ds, entered, names)
    entered = entered.drop_vars(set(entered.coords) - set(names.values()))
    entered = entered.rename({theirs: ours for ours, theirs in names.items() if ours != theirs})
    rows, columns = row_order(entered), column_order(entered)
    layout = Layout(names, order, rows, columns, entered["latitude"], entered["longitude"], extra)
    if not is_static and "time" not in entered.dims:
        entered = entered.assign_coords(time=_time_of_map(extra)).expand_dims("time")
    entered = entered.isel(latitude=rows, longitude=columns)
    entered = entered.assign_coords(longitude=rising(entered["longitude"]))
    for axis in set(DIMENSIONS) & set(entered.coords):
        entered[axis].attrs.pop("bounds", None)  # they stay outside
    entered = entered.transpose(*(dim for dim in DIMENSIONS if dim in entered.dims))
    Grid.of(entered)
    notes = tuple(dict.fromkeys(notes))
    return Entered(entered.assign_attrs(missing=missing), layout, notes)


def declared_missing(name_or_path: str | Path) -> Missing:
    """Return what a catalog entry says of missing values; an error for bare files."""
    text = str(name_or_path)
    if Path(text).suffix in {".yaml", ".yml"} or text in dataset_names():
        return dataset_entry(name_or_path).missing
    return "error"


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


def _scalar_time(ds: xr.Dataset) -> xr.DataArray | None:
    """Return the time that a single map carries as a scalar, if it does."""
    known = [name for name in NAMES["time"] if name in ds.coords and not ds[name].ndim]
    return ds[known[0]] if known else None


def _time_of_map(extra: xr.Dataset) -> xr.Variable:
    """Return the time that a single map carries as a scalar, 0 without one."""
    time = _scalar_time(extra)
    return xr.Variable((), 0) if time is None else time.variable


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
