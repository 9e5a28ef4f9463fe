"""Orography, land fraction and latitude of any grid, from the global file that ships."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.sparse import csr_array

from orbitds.catalog import dataset_entry, open_dataset
from orbitds.data.door import enter
from orbitds.data.regrid import overlap
from orbitds.grid import Grid
from orbitds.resources import did_you_mean
from orbitds.variables import variable

SOURCE = "etopo5_globe_0p1deg"
LATITUDE = "latitude_field"
# What a pair gets that says nothing: the latitude tells no more than a model's positions do.
USUAL = ("orography", "land_sea_mask")
# All that there are.
SHIPPED = (*USUAL, LATITUDE)


def statics_for(grid: Grid, names: Sequence[str] = USUAL) -> xr.Dataset:
    """Return static fields of any regular grid, [H, W], in memory.

    Along an axis on which the grid is as coarse as the source or coarser, a cell has the mean of
    what it covers, by area: the global mean is kept, and the columns go round the globe. Along one
    on which it is finer, values are linear between the source's centres. The sea floor is zero.

    Parameters
    ----------
    names
        Of ``orography`` (m), ``land_sea_mask`` (1) and ``latitude_field`` (degrees north).

    Returns
    -------
    xarray.Dataset
        float32; the attribute ``source`` of each variable says where it is from, and how made.

    Raises
    ------
    ValueError
        If a name is none of these.
    """
    known = SHIPPED
    axes = {"latitude": grid.latitude_deg, "longitude": grid.longitude_deg}
    result = xr.Dataset(coords=axes)
    for name in names:
        if name not in known:
            raise ValueError(
                f"Wanted a static field that ships, one of {list(known)}, got {name!r}."
                f"{did_you_mean(name, known)} Name a dataset that holds it: "
                f"`statics: {{dataset: ..., variables: [{name}]}}`."
            )
        row = variable(name)
        if name == LATITUDE:
            field, source = np.repeat(grid.latitude_deg[:, None], grid.shape[1], axis=1), "the grid"
        else:
            origin, values = _source(name)
            # weights sum to one within a rounding, which would bring land above 1
            low, high = row.minimum, row.maximum
            field = resample(values, origin, grid)
            field = field.clip(-np.inf if low is None else low, np.inf if high is None else high)
            source = _told(origin, grid)
        attributes = {"units": row.units, "long_name": row.long_name, "source": source}
        result[name] = (("latitude", "longitude"), field.astype(np.float32), attributes)
    told = [f"{name}: {field.attrs['source']}" for name, field in result.data_vars.items()]
    return result.assign_attrs(source="; ".join(told))


def resample(
    values: Float[np.ndarray, "H W"], origin: Grid, grid: Grid
) -> Float[np.ndarray, "Hn Wn"]:
    """Return a global field on another grid in float64: means of cells, or linear where finer."""
    by_row = _rows(origin, grid)
    by_column = _columns(origin, grid)
    return by_column.dot((by_row.dot(values.astype(np.float64))).T).T


def _rows(origin: Grid, grid: Grid) -> csr_array:
    """Return the share of each row of the source in each row of a grid, [Hn, H]."""
    if grid.spacing_deg[0] < origin.spacing_deg[0] * (1 - 1e-6):
        # beyond the last centres, at the poles, the last value goes on
        place = (origin.latitude_deg[0] - grid.latitude_deg) / origin.spacing_deg[0]
        return _linear(place.clip(0, origin.shape[0] - 1), origin.shape[0])
    edges, cells = (
        -np.sin(np.deg2rad(np.append(bounds[:, 0], bounds[-1, 1]).clip(-90, 90)))
        for bounds in (origin.latitude_bounds_deg, grid.latitude_bounds_deg)
    )
    return _shares(edges, cells)


def _columns(origin: Grid, grid: Grid) -> csr_array:
    """Return the share of each column of the source in each column of a grid, [Wn, W]."""
    width = origin.shape[1]
    if grid.spacing_deg[1] < origin.spacing_deg[1] * (1 - 1e-6):
        place = (grid.longitude_deg - origin.longitude_deg[0]) / origin.spacing_deg[1]
        turns = _linear(place % width, width + 1)
    else:
        bounds = grid.longitude_bounds_deg
        west = origin.longitude_bounds_deg[0, 0]
        # counted in the source's columns from its first edge, for as many turns as the grid takes
        cells = (np.append(bounds[:, 0], bounds[-1, 1]) - west) / origin.spacing_deg[1]
        cells = cells - width * np.floor(cells[0] / width)
        turns = _shares(np.arange(width * (np.ceil(cells[-1] / width) + 1)), cells)
    found = turns.tocoo()
    shape = (grid.shape[1], width)
    return csr_array((found.data, (found.row, found.col % width)), shape=shape)


def _shares(edges: np.ndarray, cells: np.ndarray) -> csr_array:
    """Return the share of each cell that lies between each two of the rising edges, [N, M]."""
    lengths = overlap(edges, cells)
    return csr_array(lengths.multiply(1 / lengths.sum(axis=1)[:, None]))


def _linear(place: np.ndarray, size: int) -> csr_array:
    """Return the weights of the two neighbours of each fractional index, [N, size]."""
    left = np.floor(place).astype(int).clip(0, size - 2)
    right = place - left
    row = np.arange(place.size)
    both = np.concatenate([1 - right, right]), np.concatenate([left, left + 1])
    return csr_array((both[0], (np.concatenate([row, row]), both[1])), shape=(place.size, size))


@cache
def _source(name: str) -> tuple[Grid, Float[np.ndarray, "H W"]]:
    """Return a field of the shipped file and its grid; 26 MB each, read once."""
    ds = enter(open_dataset(SOURCE), [name]).ds
    return Grid.of(ds), ds[name].values


def _told(origin: Grid, grid: Grid) -> str:
    """Return where a field is from and what was done to it, for people."""
    pairs = zip(grid.spacing_deg, origin.spacing_deg, strict=True)
    is_finer = any(own < theirs * (1 - 1e-6) for own, theirs in pairs)
    how = "linear between cells of" if is_finer else "area means of cells of"
    title = dataset_entry(SOURCE).title
    return f"{SOURCE} ({title}), {how} {origin.spacing_deg[0]:.4g} degrees"
