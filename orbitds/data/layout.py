"""How a caller's dataset is laid out, and how the answer is given back the same way."""

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from orbitds.grid import Placement, refine_centres, row_placement, unwrap_longitude


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
            fine = fine.assign_coords({axis: (axis, values, fine[axis].attrs)})
            if bounds := fine[axis].attrs.get("bounds"):
                half = (unwrap_longitude(values[:2])[1] - values[0]) / 2
                edges = np.stack([values - half, values + half], axis=-1)
                if axis == "latitude":
                    edges = edges.clip(-90, 90)
                fine = fine.assign_coords({bounds: ((axis, "bnds"), edges, fine[bounds].attrs)})
        if "time" not in self.names:
            fine = fine.isel(time=0, drop=True)
        fine = fine.transpose(*self.order, ...)
        renamed = {ours: theirs for ours, theirs in self.names.items() if ours != theirs}
        for axis in ("latitude", "longitude"):
            if (bounds := fine[axis].attrs.get("bounds")) and axis in renamed:
                renamed[bounds] = f"{renamed[axis]}_bnds"
                fine[axis].attrs["bounds"] = renamed[bounds]
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
