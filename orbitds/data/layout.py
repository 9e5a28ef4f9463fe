"""How a caller's dataset is laid out, and how the answer is given back the same way."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from orbitds.grid import Placement, refine_centres, row_placement, unwrap_longitude

# The dimension of an answer's members: after time, or first where there is none.
MEMBER = "member"
# Decimals of the edges of cells, in degrees: what is less is rounding, as in an edge at -4e-15.
EDGE_DECIMALS = 12
# Attributes of the caller's axis that need not hold for a finer one.
_OF_THEIR_CELLS = {
    "bounds",
    "valid_min",
    "valid_max",
    "valid_range",
    "actual_range",
    "missing_value",
    "_FillValue",
}


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
    """Further coordinates, those on latitude or longitude aside, under the caller's names."""

    def without_first(self, times: int) -> "Layout":
        """Return the layout of the dataset without its first times."""
        if not times:
            return self
        return replace(self, extra=self.extra.isel({self.names["time"]: slice(times, None)}))

    def fine_order(self, factor: int) -> dict[str, np.ndarray]:
        """Return the canonical place of each of the caller's fine rows and columns."""
        return {
            "latitude": _children(self.rows, factor, falls=not _falls(self.latitude)),
            "longitude": _children(self.columns, factor, falls=_falls(self.longitude)),
        }

    def restore(self, fine: xr.Dataset, factor: int, placement: Placement = "around") -> xr.Dataset:
        """Return a canonical fine dataset with the caller's names, order and conventions."""
        fine = fine.isel(self.fine_order(factor))
        axes = {
            "latitude": refine_centres(
                self.latitude.values, factor, row_placement(self.latitude.values, placement)
            ),
            "longitude": _refine_longitude(self.longitude.values, factor, placement),
        }
        for axis, values in axes.items():
            ours, theirs = fine[axis].attrs, getattr(self, axis).attrs
            fine = fine.assign_coords({axis: (axis, values, _merged(ours, theirs))})
            if bounds := ours.get("bounds"):
                edges = ((axis, "bnds"), _edges(values, axis), fine[bounds].attrs)
                fine = fine.assign_coords({bounds: edges})
        if "time" not in self.names:
            fine = fine.isel(time=0, drop=True)
        return self._named(fine.transpose(*self.order_of(fine), ...))

    def order_of(self, fine: xr.Dataset) -> list[str]:
        """Return the order of dimensions in canonical names, that of members included."""
        order = list(self.order)
        if MEMBER in fine.dims:
            order.insert(order.index("time") + 1 if "time" in order else 0, MEMBER)
        return order

    def _named(self, fine: xr.Dataset) -> xr.Dataset:
        """Return an answer under the caller's names, with the caller's further coordinates."""
        renamed = {ours: theirs for ours, theirs in self.names.items() if ours != theirs}
        for name, field in fine.data_vars.items():
            if methods := field.attrs.get("cell_methods"):
                fine[name].attrs["cell_methods"] = _renamed(methods, renamed)
        for axis in ("latitude", "longitude"):
            if (bounds := fine[axis].attrs.get("bounds")) and axis in renamed:
                renamed[bounds] = f"{renamed[axis]}_bnds"
                fine[axis].attrs["bounds"] = renamed[bounds]
        if MEMBER in fine.dims and MEMBER in self.extra.coords:
            raise ValueError(
                f"Wanted the name {MEMBER!r} for the dimension of members, got an input with a "
                f"coordinate of that name. Rename it: ds.rename({{{MEMBER!r}: 'input_{MEMBER}'}})."
            )
        return fine.rename(renamed).assign_coords(self.extra.coords)


def row_order(ds: xr.Dataset) -> np.ndarray:
    """Return the caller's rows from north to south."""
    order = np.arange(ds.sizes["latitude"])
    return order if _falls(ds["latitude"]) else order[::-1].copy()


def column_order(ds: xr.Dataset) -> np.ndarray:
    """Return the caller's columns from west to east; a globe starts at Greenwich."""
    longitude = unwrap_longitude(ds["longitude"].values)
    order = np.arange(longitude.size)
    if _falls(ds["longitude"]):
        order = order[::-1].copy()
    rising = longitude[order]
    step = (rising[-1] - rising[0]) / max(rising.size - 1, 1)
    if abs(rising.size * step - 360) < step / 2:
        # the same globe from any start is the same field to the model
        order = np.roll(order, -int(np.argmin(np.round(rising, 6) % 360)))
    return order


def rising(longitude: xr.DataArray) -> xr.DataArray:
    """Return longitudes that rise without a jump, the first in [-180, 360)."""
    values = unwrap_longitude(longitude.values)
    if values[0] >= 360 or values[0] < -180:
        values = values - 360 * np.floor(values[0] / 360)
    return longitude.copy(data=values)


def _merged(ours: Mapping[Any, Any], theirs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return what an axis says of itself: CF's words are ours, further ones the caller's."""
    kept = {key: value for key, value in theirs.items() if key not in _OF_THEIR_CELLS}
    return kept | dict(ours) | {key: kept[key] for key in ("long_name",) if key in kept}


def _edges(values: np.ndarray, axis: str) -> np.ndarray:
    """Return both edges of each cell; neighbours share theirs to the last bit."""
    smooth = unwrap_longitude(values)
    between = (smooth[1:] + smooth[:-1]) / 2
    outer = smooth[[0, -1]] + (smooth[0] - between[0], smooth[-1] - between[-1])
    edges = np.round([outer[0], *between, outer[1]], EDGE_DECIMALS) + 0.0  # no -0.0
    pairs = np.stack([edges[:-1], edges[1:]], axis=-1)
    if axis == "latitude":
        return pairs.clip(-90, 90)
    return pairs + np.round(values - smooth)[:, None]  # whole turns


def _renamed(methods: str, names: Mapping[str, str]) -> str:
    """Return cell methods with other names of dimensions."""
    return re.sub(r"\b(\w+):", lambda match: f"{names.get(match[1], match[1])}:", methods)


def _refine_longitude(longitude: np.ndarray, factor: int, placement: Placement) -> np.ndarray:
    """Refine the caller's longitudes and keep to their range where they jump by a turn."""
    smooth = unwrap_longitude(longitude)
    fine = refine_centres(smooth, factor, placement)
    if np.abs(smooth - longitude).max() < 180:
        return fine
    west = -180 if np.min(longitude) < 0 else 0
    return (fine - west) % 360 + west


def _children(order: np.ndarray, factor: int, *, falls: bool) -> np.ndarray:
    """Return, for each of the caller's fine cells, its place on the canonical fine axis."""
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    offsets = np.arange(factor)
    return (place[:, None] * factor + (offsets[::-1] if falls else offsets)).reshape(-1)


def _falls(axis: xr.DataArray) -> bool:
    """Whether coordinates fall, jumps of a whole turn aside."""
    values = unwrap_longitude(axis.values)
    return bool(values[0] > values[-1])
