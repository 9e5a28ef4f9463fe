"""Which of a caller's variables is the one that is wanted: by name, and by level."""

import re
from collections.abc import Collection, Hashable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from orbitds.resources import did_you_mean
from orbitds.variables import Variable, table, variable

# A level is the one that is wanted if it is this near.
LEVEL_TOLERANCE_HPA = 0.5
# Pressures above this are in Pa where no unit is given: the surface is near 1000 hPa.
_HIGHEST_HPA = 2000.0
_LEVELS = ("level", "pressure_level", "isobaricinhpa", "plev", "lev", "pressure", "isobaric")


@dataclass(frozen=True)
class Found:
    """A caller's variable, and its place along the levels."""

    theirs: str
    dimension: str | None = None
    place: int = 0

    def of(self, ds: xr.Dataset) -> xr.DataArray:
        """Return the field, without its level."""
        field = ds[self.theirs]
        if self.dimension is None:
            return field
        if self.dimension not in field.dims:
            return field.drop_vars(self.dimension)
        return field.isel({self.dimension: self.place}, drop=True)

    def __str__(self) -> str:
        return self.theirs if self.dimension is None else f"{self.theirs}[{self.dimension}]"


def find_variable(ds: xr.Dataset, name: str) -> Found:
    """Return the caller's variable of a name of the vocabulary.

    Found by our name, its aliases, and, for variables at a pressure such as ``temperature_850``,
    by the name of the quantity (``temperature``, ``t``, ``ta``) and its level.

    Raises
    ------
    ValueError
        If there is none, or more than one; or the quantity is there, but not at the level.
    """
    row = variable(name)
    known = [str(key) for key in ds.data_vars]
    matches = [Found(key) for key in (row.name, *row.aliases) if key in known]
    if not matches:
        matches = _at_level(ds, row)
    if len(matches) > 1:
        raise ValueError(
            f"Wanted one variable for {name}, got {[found.theirs for found in matches]}. "
            "Drop or rename the others."
        )
    if not matches:
        hint = nearest(row, known)
        raise ValueError(
            f"Wanted the variable {name!r} ({row.long_name}; also known as "
            f"{', '.join(row.aliases)}), got a dataset with {known}.{hint} "
            f"Rename yours: ds.rename({{'...': {name!r}}})."
        )
    return matches[0]


def nearest(row: Variable, known: Collection[str]) -> str:
    """Return a hint at the caller's variable that may be meant."""
    # what has the name of another variable is that variable
    taken = {alias for other in table().values() for alias in (other.name, *other.aliases)}
    free = [key for key in known if key not in taken]
    hints = (did_you_mean(own, free) for own in (row.name, *row.aliases))
    return next(filter(None, hints), "")


def recognised(ds: xr.Dataset) -> list[str]:
    """Return the names of the vocabulary that a dataset seems to hold, usable or not."""
    known = {str(key) for key in ds.data_vars}
    rows = table().values()
    by_name = [row.name for row in rows if known & {row.name, *row.aliases}]
    at_level = [row.name for row in rows if row.name not in by_name and _holds(ds, row)]
    return [name for name in table() if name in by_name or name in at_level]


def level_dimension(ds: xr.Dataset, name: str) -> str | None:
    """Return the coordinate of a variable that holds pressures, or levels of another kind."""
    for key in (*ds[name].dims, *ds[name].coords):
        if str(key).lower() in _LEVELS and ds[name].coords.get(key) is not None:
            return str(key)
        if key in ds.coords and ds[key].attrs.get("standard_name") == "air_pressure":
            return str(key)
    return None


def levels_hpa(level: xr.DataArray) -> np.ndarray:
    """Return pressures in hPa, by their unit or, without one, by their size.

    Raises
    ------
    ValueError
        If the levels are no pressures: numbers of model levels, sigma.
    """
    values = np.atleast_1d(np.asarray(level.values, dtype=np.float64))
    units = level.attrs.get("units")
    if units is None or str(units) == "millibars":
        is_count = np.array_equal(np.sort(values), np.arange(1, values.size + 1))
        if not (is_count or "model" in str(level.attrs.get("standard_name", ""))):
            return values / 100 if values.max() > _HIGHEST_HPA else values
    else:
        from cf_xarray.units import units as registry

        try:
            return registry.Quantity(values, str(units)).to("hPa").magnitude
        except Exception:
            pass
    raise ValueError(
        f"Wanted pressure levels, got {level.name!r} of {_listed(values)}"
        f"{'' if units is None else f' in {units!r}'}, which are none. Give it the attribute "
        "units: hPa, if they are; interpolate model levels to pressure otherwise."
    )


def _at_level(ds: xr.Dataset, row: Variable) -> list[Found]:
    """Return where a quantity lies at the pressure of the row."""
    wanted, quantities = _quantities(row)
    found = []
    for key in (key for key in quantities if key in ds.data_vars):
        dimension = level_dimension(ds, key)
        if dimension is None:
            continue
        levels = levels_hpa(ds[dimension])
        places = np.flatnonzero(np.abs(levels - wanted) <= LEVEL_TOLERANCE_HPA)
        if places.size != 1:
            raise ValueError(
                f"Wanted {row.name} at {wanted:g} hPa once, got {key!r} on {dimension!r} with "
                f"{_listed(levels)} hPa. Give data at this level, or interpolate them to it."
            )
        found.append(Found(key, dimension, int(places[0])))
    return found


def _holds(ds: xr.Dataset, row: Variable) -> bool:
    """Whether a quantity is there at the pressure of the row."""
    try:
        return bool(_at_level(ds, row))
    except ValueError:  # of another level
        return False


def _quantities(row: Variable) -> tuple[float, list[str]]:
    """Return the pressure in a row's name, and the names of its quantity without it."""
    level = re.search(r"_(\d+)$", row.name)
    if level is None:
        return 0.0, []
    names = (row.name.removesuffix(level[0]), *row.aliases)
    without = [name.removesuffix(level[1]).removesuffix("_") for name in names]
    return float(level[1]), list(dict.fromkeys(name for name in without if name))


def _listed(values: np.ndarray) -> str:
    told = ", ".join(f"{value:g}" for value in values[:12])
    return told + (", ..." if values.size > 12 else "")


def squeezed(field: xr.DataArray, axes: Collection[Hashable]) -> tuple[xr.DataArray, list[str]]:
    """Return a field without further dimensions of size one, and their names."""
    single = [dim for dim in field.dims if dim not in axes and field.sizes[dim] == 1]
    return field.squeeze(single), [str(dim) for dim in single]
