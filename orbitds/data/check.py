"""Look through a dataset: what it holds, what of it a run would accept, and why not the rest."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import xarray as xr

from orbitds.data.blocks import BLOCK_CELLS
from orbitds.data.door import enter
from orbitds.data.find import find_variable, nearest, recognised
from orbitds.data.report import GridCheck, Report, TimesCheck, Unknown, VariableCheck
from orbitds.data.times import cadence, is_dates, span
from orbitds.data.units import units_of
from orbitds.data.values import Missing, Tally
from orbitds.grid import Grid
from orbitds.variables import table, variable, without_steps


def check(
    ds: xr.Dataset,
    variables: Sequence[str] | None = None,
    *,
    missing: Missing = "error",
    units: Mapping[str, str] | None = None,
    fits: Callable[[Grid], Sequence[str]] | None = None,
) -> Report:
    """Look at everything that a run would look at, and report it instead of failing at the first.

    Values are read in blocks of bounded size.

    Parameters
    ----------
    variables
        Names in the vocabulary that a run wants, those of earlier steps (``@-1``) included, for
        which no step may be left out; by default whatever the dataset holds of it.
    missing, units
        As in :func:`~orbitds.data.door.enter`, which every run and this check pass.
    fits
        Raises ``ValueError`` for a grid that a run would refuse, and returns notes on others.

    Returns
    -------
    Report
        With all numbers in the units of the vocabulary.
    """
    wanted = [without_steps(name) for name in variables or ()]
    times: Literal["any", "unbroken"] = "unbroken" if any(k for _, k in wanted) else "any"
    names = recognised(ds) if variables is None else list(dict.fromkeys(n for n, _ in wanted))
    entered, rows = {}, []
    for name in names:
        try:
            entered[name] = enter(ds, [name], missing=missing, units=units, times=times)
        except (ValueError, KeyError) as error:
            rows.append(_row(ds, name, units, problem=_message(error)))
        else:
            row = _row(ds, name, units, notes=entered[name].notes)
            rows.append(row.model_copy(update=_values(entered[name].ds[name], name, missing)))
    problems, notes = [], []
    unknown = _unknown(ds, rows) if variables is None else ()
    if not names:
        problems.append(_nothing(ds, unknown))
    # what is wrong with all of them is wrong with the dataset
    if len(rows) > 1 and len({row.problem for row in rows}) == 1 and rows[0].problem:
        problems.append(rows[0].problem)
        rows = [row.model_copy(update={"problem": None}) for row in rows]
    grid, axis = None, None
    if entered:
        try:  # together, as a run does
            whole = enter(ds, list(entered), missing=missing, units=units, times=times).ds
            grid = Grid.of(whole)
            notes += fits(grid) if fits is not None else ()
        except ValueError as error:
            problems.append(_message(error))
            whole = next(iter(entered.values())).ds
        timed = [part.ds for part in entered.values() if "time" in part.ds.dims]
        grid = _grid(grid or Grid.of(whole))
        axis = _times(timed[0]["time"]) if timed else None
    return Report(
        variables=tuple(rows),
        grid=grid,
        times=axis,
        unknown=unknown,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _nothing(ds: xr.Dataset, unknown: Sequence[Unknown]) -> str:
    near = {entry.name: entry.nearest for entry in unknown if entry.nearest}
    return (
        "Wanted a variable of data_catalog/variables.yaml, got a dataset with "
        f"{[str(key) for key in ds.data_vars]}. Rename yours: "
        f"ds.rename({near or {'...': '...'}})."
    )


def _row(
    ds: xr.Dataset,
    name: str,
    units: Mapping[str, str] | None,
    *,
    problem: str | None = None,
    notes: Sequence[str] = (),
) -> VariableCheck:
    try:
        found = find_variable(ds, name)
    except (ValueError, KeyError):
        return VariableCheck(name=name, units=_units(name), problem=problem)
    stated = units_of(units, name, found.theirs) or ds[found.theirs].attrs.get("units")
    return VariableCheck(
        name=name,
        found_as=str(found),
        units_found=None if stated is None else str(stated),
        units=_units(name),
        problem=problem,
        notes=tuple(notes),
    )


def _units(name: str) -> str:
    try:
        return variable(name).units
    except KeyError:  # told as the problem of this variable
        return ""


def _values(field: xr.DataArray, name: str, missing: Missing) -> dict:
    """Read a canonical field in blocks, and return what its values are."""
    tally, total, weight, place, gap = Tally(name), 0.0, 0.0, None, None
    areas = xr.DataArray(Grid.of(field).area, dims=("latitude", "longitude"))
    for block, area in _blocks(field, areas):
        values = block.values
        strange = tally.add(values)
        valid = np.isfinite(values)
        shares = np.broadcast_to(area.values, values.shape)[valid]
        total += float(np.dot(shares, values[valid].astype(np.float64)))
        weight += float(shares.sum())
        if strange is not None and place is None:
            place = _place(block, strange)
        if gap is None and not valid.all():
            gap = _place(block, ~valid)
    notes = []
    if tally.low == tally.high and tally.cells > 1 and not tally.implausible:
        notes.append(f"all values are {tally.low:g} {variable(name).units}".removesuffix(" 1"))
    if tally.missing and missing == "mask":
        notes.append(f"{tally.missing} of {tally.cells} cells are missing, and masked")
    has_values = tally.missing < tally.cells
    return {
        "minimum": _number(tally.low) if has_values else None,
        "maximum": _number(tally.high) if has_values else None,
        "mean": total / weight if weight else None,
        "cells": tally.cells,
        "missing": tally.missing,
        "infinite": tally.infinite,
        "implausible": tally.implausible,
        "first_place": place or gap,
        "problem": tally.problem(missing),
        "notes": tuple(notes),
    }


def _number(value: float) -> float | None:
    """Return a value that JSON can hold."""
    return value if np.isfinite(value) else None


def _blocks(field: xr.DataArray, area: xr.DataArray) -> Iterator[tuple[xr.DataArray, xr.DataArray]]:
    """Yield blocks of bounded size with the areas of their cells, read into memory."""
    size = max(1, BLOCK_CELLS // max(1, field[{field.dims[0]: 0}].size))
    for start in range(0, field.shape[0], size):
        part = {field.dims[0]: slice(start, start + size)}
        block = field.isel(part)
        yield block.load(), area if field.dims[0] == "time" else area.isel(part)


def _place(block: xr.DataArray, chosen: np.ndarray) -> str:
    """Return the first of chosen cells as people say it."""
    at = dict(zip(block.dims, np.unravel_index(int(np.argmax(chosen)), chosen.shape), strict=True))
    cell = block.isel(at)
    place = f"{float(cell['latitude']):g} N, {float(cell['longitude']):g} E"
    return f"{span(cell['time'])[0]}, {place}" if "time" in cell.coords else place


def _grid(grid: Grid) -> GridCheck:
    return GridCheck(
        rows=grid.shape[0],
        columns=grid.shape[1],
        spacing_deg=grid.spacing_deg,
        spacing_km=grid.spacing_km,
        latitude=(float(grid.latitude_deg[0]), float(grid.latitude_deg[-1])),
        longitude=(float(grid.longitude_deg[0]), float(grid.longitude_deg[-1])),
        periodic=grid.periodic,
    )


def _times(time: xr.DataArray) -> TimesCheck:
    if not is_dates(time):
        return TimesCheck(count=time.size)
    first, last = span(time)
    found = cadence(time)
    return TimesCheck(
        count=time.size,
        first=first,
        last=last,
        calendar=time.dt.calendar,
        step=found and found.label,
        missing_steps=found.missing if found else 0,
        gap=found.gap if found else None,
    )


def _unknown(ds: xr.Dataset, rows: Sequence[VariableCheck]) -> tuple[Unknown, ...]:
    """Return the fields that are none of the vocabulary, with the nearest of its names."""
    taken = {alias for row in table().values() for alias in (row.name, *row.aliases)}
    taken |= {row.found_as.partition("[")[0] for row in rows if row.found_as}
    fields = [str(key) for key in ds.data_vars if ds[key].ndim > 1 and str(key) not in taken]
    fields = [key for key in fields if not key.endswith(("_bnds", "_bounds"))]
    near = {key: _nearest_of(key) for key in fields}
    return tuple(Unknown(name=key, nearest=near[key]) for key in fields)


def _nearest_of(key: str) -> str | None:
    return next((row.name for row in table().values() if nearest(row, [key])), None)


def _message(error: Exception) -> str:
    return str(error.args[0])
