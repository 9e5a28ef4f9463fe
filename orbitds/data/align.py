"""Two products cut to the times and the whole coarse cells that both have."""

import numpy as np
import xarray as xr

from orbitds.catalog import RegionEntry
from orbitds.data.layout import rising
from orbitds.grid import TOLERANCE_CELLS, Grid

Datasets = tuple[xr.Dataset, xr.Dataset]


def whole_cells(coarse: xr.Dataset, fine: xr.Dataset) -> Datasets:
    """Return both on their largest common region of whole coarse cells, lazily.

    Both are canonical. Columns are counted around the globe, so the two may start on either side
    of Greenwich and on different turns; the result starts with a coarse column. What fits already
    is returned as it is.

    Raises
    ------
    ValueError
        If the cells do not nest, or no coarse cell lies wholly on the fine grid.
    """
    grids = Grid.of(coarse), Grid.of(fine)
    factor = _factor(*grids)
    rows, columns = _children(*grids, "latitude"), _children(*grids, "longitude")
    if rows is None or columns is None:
        raise _no_nesting(*grids)
    chosen_rows = _longest_run(_inside(rows, factor, grids[1].shape[0]))
    width = grids[1].shape[1]
    # behind the last column of a globe comes its first
    covered = _inside(columns, factor, width + factor if grids[1].periodic else width)
    chosen_columns = _longest_run(covered, periodic=grids[0].periodic)
    if chosen_rows.size < 2 or chosen_columns.size < 2:
        raise ValueError(
            f"Wanted a common region of at least 2 x 2 whole coarse cells, got "
            f"{chosen_rows.size} x {chosen_columns.size}: coarse {grids[0]} and fine {grids[1]}. "
            "Give data of one region."
        )
    offsets = np.arange(factor)
    cut = take(coarse, chosen_rows, chosen_columns)
    fine = take(
        fine,
        (rows[chosen_rows][:, None] + offsets).reshape(-1),
        (columns[chosen_columns][:, None] + offsets).reshape(-1) % width,
    )
    return cut, _on_the_turn_of(cut, fine, factor)


def in_region(coarse: xr.Dataset, fine: xr.Dataset, region: RegionEntry) -> Datasets:
    """Return the coarse cells that lie wholly in a region, and their fine cells, lazily.

    Parameters
    ----------
    coarse, fine
        As ``whole_cells`` returns them.

    Raises
    ------
    ValueError
        If fewer than 2 x 2 coarse cells do.
    """
    grid = Grid.of(coarse)
    factor = grid.factor_to(Grid.of(fine))
    rows, columns = cells_of(grid, region)
    offsets = np.arange(factor)
    children = ((cells[:, None] * factor + offsets).reshape(-1) for cells in (rows, columns))
    cut = take(coarse, rows, columns)
    return cut, _on_the_turn_of(cut, take(fine, *children), factor)


def cells_of(grid: Grid, region: RegionEntry) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the cells that lie wholly in a region, from west to east.

    Raises
    ------
    ValueError
        If fewer than 2 x 2 cells do.
    """
    slack = np.array(grid.spacing_deg) * TOLERANCE_CELLS * 10
    north, south = grid.latitude_bounds_deg.T
    rows = np.flatnonzero((north <= region.north + slack[0]) & (south >= region.south - slack[0]))
    width = (region.east - region.west) % 360 or 360.0
    from_west = (grid.longitude_bounds_deg[:, 0] - region.west + slack[1]) % 360 - slack[1]
    inside = from_west + grid.spacing_deg[1] <= width + slack[1]
    columns = _longest_run(inside, periodic=grid.periodic)
    if rows.size < 2 or columns.size < 2:
        raise ValueError(
            f"Wanted a region that holds at least 2 x 2 whole coarse cells, got {rows.size} x "
            f"{columns.size} of {grid}. Choose a larger region, or one where the data are."
        )
    return rows, columns


def whole_blocks(ds: xr.Dataset, factor: int) -> xr.Dataset:
    """Return a dataset cut in the south and east to whole blocks of ``factor x factor`` cells.

    Raises
    ------
    ValueError
        If fewer than 2 x 2 blocks remain.
    """
    rows, columns = (ds.sizes[axis] // factor for axis in ("latitude", "longitude"))
    if rows < 2 or columns < 2:
        raise ValueError(
            f"Wanted at least 2 x 2 blocks of {factor} x {factor} cells, got {rows} x {columns} "
            f"of {Grid.of(ds)}. Choose a smaller factor."
        )
    return take(ds, np.arange(rows * factor), np.arange(columns * factor))


def common_times(coarse: xr.Dataset, fine: xr.Dataset) -> Datasets:
    """Return both at the times that both have.

    Both are canonical: each time is there once.

    Raises
    ------
    ValueError
        If there are none; the message says which each has.
    """
    times = coarse.indexes["time"], fine.indexes["time"]
    if times[0].equals(times[1]):
        return coarse, fine
    both = times[0].intersection(times[1]).sort_values()
    if both.empty:
        spans = ", ".join(
            f"{side} {index[0]} to {index[-1]} ({index.size}, calendar {calendar})"
            for side, index, calendar in zip(
                ("coarse", "fine"),
                times,
                (ds["time"].dt.calendar for ds in (coarse, fine)),
                strict=True,
            )
        )
        raise ValueError(
            f"Wanted common times of both datasets, got none: {spans}. Choose one period and one "
            "calendar (ds.convert_calendar), and date months and days alike, by their first hour."
        )
    return coarse.sel(time=both), fine.sel(time=both)


def in_order_of_time(ds: xr.Dataset) -> xr.Dataset:
    """Return a dataset whose times rise; a set of mean fields may be listed in any order."""
    times = ds.indexes["time"]
    return ds if times.is_monotonic_increasing else ds.isel(time=times.argsort())


def start_with(ds: xr.Dataset, coarse: Grid) -> xr.Dataset:
    """Start the columns of a globe with the first coarse cell, which may span Greenwich."""
    grid = Grid.of(ds)
    if not (coarse.periodic and grid.periodic):
        return ds
    west = coarse.longitude_bounds_deg[0, 0] - grid.longitude_bounds_deg[0, 0]
    steps = round(west / grid.spacing_deg[1])
    rolled = ds.roll(longitude=-steps, roll_coords=True)
    return rolled.assign_coords(longitude=rising(rolled["longitude"]))


def take(ds: xr.Dataset, rows: np.ndarray, columns: np.ndarray) -> xr.Dataset:
    """Return rows and columns of a dataset, by slices where they are neighbours."""
    chosen = {}
    for axis, indices in (("latitude", rows), ("longitude", columns)):
        is_run = (np.diff(indices) == 1).all()
        if not (is_run and indices.size == ds.sizes[axis]):
            chosen[axis] = slice(indices[0], indices[-1] + 1) if is_run else indices
    cut = ds.isel(chosen)
    if isinstance(chosen.get("longitude"), np.ndarray):
        cut = cut.assign_coords(longitude=rising(cut["longitude"]))
    return cut


def _factor(coarse: Grid, fine: Grid) -> int:
    """Return the number of fine cells along the edge of a coarse one, if it is whole."""
    ratios = np.array(coarse.spacing_deg) / np.array(fine.spacing_deg)
    factor = round(ratios[0])
    # over the whole axis the cells may drift apart by a part of a fine cell only
    drift = np.abs(ratios - factor) * np.minimum(coarse.shape, np.array(fine.shape) / ratios)
    if factor < 1 or drift.max() > 20 * TOLERANCE_CELLS * factor:
        raise _no_nesting(coarse, fine)
    return factor


def _children(coarse: Grid, fine: Grid, axis: str) -> np.ndarray | None:
    """Return the first fine cell of each coarse one, by their edges; None if edges do not meet."""
    if axis == "latitude":
        size, spacing = fine.shape[0], fine.spacing_deg[0]
        away = fine.latitude_bounds_deg[0, 0] - coarse.latitude_bounds_deg[:, 0]
    else:
        size, spacing = fine.shape[1], fine.spacing_deg[1]
        away = coarse.longitude_bounds_deg[:, 0] - fine.longitude_bounds_deg[0, 0]
        away = (away + spacing / 2) % 360 - spacing / 2
    place = away / spacing
    near = np.rint(place)
    # only where the fine grid is: coordinates in single precision drift over many cells
    there = (near >= 0) & (near < size)
    tolerance = 20 * TOLERANCE_CELLS * coarse.spacing_deg[0] / fine.spacing_deg[0]
    if there.any() and np.abs(place - near)[there].max() > tolerance:
        return None
    return near.astype(int)


def _inside(first: np.ndarray, factor: int, size: int) -> np.ndarray:
    return (first >= 0) & (first + factor <= size)


def _longest_run(mask: np.ndarray, *, periodic: bool = False) -> np.ndarray:
    """Return the indices of the longest run of true values; it may go round."""
    size = mask.size
    if mask.all():
        return np.arange(size)
    start = int(np.argmin(mask)) if periodic else 0  # a false one: no run crosses the end from here
    around = np.roll(mask, -start)
    cuts = np.flatnonzero(np.diff(np.concatenate([[False], around, [False]]).astype(int)))
    runs = cuts.reshape(-1, 2)
    if not len(runs):
        return np.arange(0)
    first, stop = runs[np.argmax(runs[:, 1] - runs[:, 0])]
    return (np.arange(first, stop) + start) % size


def _on_the_turn_of(coarse: xr.Dataset, fine: xr.Dataset, factor: int) -> xr.Dataset:
    """Return fine data with longitudes on the same turn as the coarse ones."""
    mean = fine["longitude"].values[:factor].mean()
    turn = round((coarse["longitude"].values[0] - mean) / 360)
    return fine.assign_coords(longitude=fine["longitude"] + 360 * turn) if turn else fine


def _no_nesting(coarse: Grid, fine: Grid) -> ValueError:
    return ValueError(
        f"Wanted a fine grid whose cells divide the coarse cells evenly, got coarse {coarse} "
        f"and fine {fine}. Regrid one of the two: orbitds prepare does."
    )
