"""Mean and standard deviation of the training period, in one pass over the data."""

import numpy as np
import xarray as xr

from orbitds.data.pair import Pair
from orbitds.grid import Grid
from orbitds.normalize import Statistics
from orbitds.variables import variable


def statistics(pair: Pair) -> dict[str, Statistics]:
    """Return area-weighted statistics of every variable of a pair.

    A variable that is both input and output has one row, from the fine data, so that a coarse
    value and its fine children are normalised alike. Give the training part: nothing else may
    enter the statistics.
    """
    sources = {**dict(pair.coarse.data_vars), **dict(pair.fine.data_vars)}
    grids = dict.fromkeys(pair.inputs, pair.coarse_grid)
    grids |= dict.fromkeys(pair.outputs, pair.fine_grid)
    for name, field in pair.statics.data_vars.items():
        sources[name], grids[str(name)] = field, pair.fine_grid
    return {
        str(name): _moments(str(name), field, grids[str(name)]) for name, field in sources.items()
    }


def _moments(name: str, field: xr.DataArray, grid: Grid) -> Statistics:
    if variable(name).transform == "log1p":
        return Statistics(mean=0.0, std=1.0)
    weight = total = squares = 0.0
    steps = field.transpose("time", ...) if "time" in field.dims else [field]
    guess: float | None = None
    for step in steps:
        values = np.asarray(step.values, dtype=np.float64)
        present = values[~np.isnan(values)]
        if not present.size:
            continue
        if guess is None:
            # about one of the values: the squares of 280 K would swallow the variance, and a field
            # that is the same everywhere has exactly none
            guess = float(present[0])
        values -= guess
        area = np.where(np.isnan(values), 0.0, grid.area)
        values = np.nan_to_num(values)
        weight += area.sum()
        total += (area * values).sum()
        squares += (area * values**2).sum()
    if guess is None:
        raise ValueError(
            f"Wanted {name} with at least one value in the training period, got NaN alone. "
            "Check the fill value, or choose another period."
        )
    mean = total / weight
    std = float(np.sqrt(max(squares / weight - mean**2, 0.0)))
    # a field that is the same everywhere (all land, say) becomes zero, whatever it is divided by
    return Statistics(mean=float(mean + guess), std=std or 1.0)
