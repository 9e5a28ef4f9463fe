"""Which times and cells of an input a job is about, by label."""

import re

import numpy as np
import xarray as xr

from orbitds.catalog import RegionEntry
from orbitds.data.align import cells_of
from orbitds.data.axes import find_axis, is_dates, require_axis
from orbitds.data.layout import column_order, rising, row_order
from orbitds.grid import Grid, unwrap_longitude
from orbitds.schema import parse

# A date of ISO 8601, cut off wherever one likes.
_DATE = r"-?\d{4,}(?:-\d\d(?:-\d\d(?:[T ]\d\d(?::\d\d(?::\d\d)?)?)?)?)?"
_DATES = re.compile(rf"(?P<first>{_DATE})?(?P<colon>:)?(?P<last>{_DATE})?")
_NUMBER = r"-?\d+(?:\.\d+)?"
_NUMBERS = re.compile(rf"(?P<first>{_NUMBER})?(?P<colon>:)?(?P<last>{_NUMBER})?")
_REGION = re.compile(rf"({_NUMBER}):({_NUMBER}),({_NUMBER}):({_NUMBER})")


def selected(ds: xr.Dataset, *, time: str | None = None, region: str | None = None) -> xr.Dataset:
    """Return the wanted times and cells of a caller's dataset, in its own layout.

    Parameters
    ----------
    time
        First and last time by label, both ends included as xarray has it: ``2001-05:2001-09``.
    region
        ``south:north,west:east`` in degrees; the cells that lie wholly inside.

    Raises
    ------
    ValueError
        If they say nothing that can be selected, or nothing is left.
    """
    if time is not None:
        ds = _at_times(ds, time)
    return ds if region is None else _in_region(ds, region)


def _at_times(ds: xr.Dataset, text: str) -> xr.Dataset:
    axis = find_axis(ds, "time")
    if axis is None:
        raise ValueError(
            f"Wanted a time axis to select {text!r} from, got an input without one. "
            "Leave --time out."
        )
    dated = is_dates(ds[axis])
    found = (_DATES if dated else _NUMBERS).fullmatch(text)
    if found is None or not (found["first"] or found["last"]):
        example = "2001-05:2001-09" if dated else "0:11"
        raise ValueError(
            f"Wanted times as first:last such as {example}, got {text!r}. Give labels of the "
            f"input, {ds.indexes[axis][0]} to {ds.indexes[axis][-1]}."
        )
    first, last = found["first"], found["last"]
    if not found["colon"]:
        last = first  # all of a year, month or day
    if not dated:
        first, last = (None if end is None else float(end) for end in (first, last))
    cut = ds.sel({axis: slice(first, last)})
    if not cut.sizes[axis]:
        raise ValueError(
            f"Wanted times in {text!r}, got an input from {ds.indexes[axis][0]} to "
            f"{ds.indexes[axis][-1]}. Choose a period within."
        )
    return cut


def _in_region(ds: xr.Dataset, text: str) -> xr.Dataset:
    found = _REGION.fullmatch(text)
    if found is None:
        raise ValueError(
            "Wanted a region as south:north,west:east in degrees such as 30:60,-10:40, got "
            f"{text!r}. Give it so."
        )
    south, north, west, east = map(float, found.groups())
    ends = {"south": south, "north": north, "west": west, "east": east}
    entry = parse(RegionEntry, ends, source="--region")
    names = {axis: require_axis(ds, axis) for axis in ("latitude", "longitude")}
    axes = xr.Dataset(coords={axis: (axis, ds[name].values) for axis, name in names.items()})
    rows, columns = row_order(axes), column_order(axes)
    canonical = axes.isel(latitude=rows, longitude=columns)
    canonical = canonical.assign_coords(longitude=rising(canonical["longitude"]))
    inside = cells_of(Grid.of(canonical), entry)
    chosen_rows, chosen_columns = np.sort(rows[inside[0]]), columns[inside[1]]
    longitude = unwrap_longitude(axes["longitude"].values)
    if longitude[0] > longitude[-1]:
        chosen_columns = chosen_columns[::-1]
    return ds.isel({names["latitude"]: chosen_rows, names["longitude"]: chosen_columns})
