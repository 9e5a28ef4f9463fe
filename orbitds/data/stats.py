"""Mean and standard deviation of the training period, in one pass over the data."""

from dataclasses import dataclass

import numpy as np

from orbitds.data.blocks import time_blocks
from orbitds.data.pair import Pair
from orbitds.normalize import Statistics
from orbitds.variables import variable


def statistics(pair: Pair) -> dict[str, Statistics]:
    """Return area-weighted statistics of every variable of a pair.

    A variable that is both input and output has one row, from the fine data, so that a coarse
    value and its fine children are normalised alike. Give the training part: nothing else may
    enter the statistics.
    """
    rows: dict[str, Statistics] = {}
    for ds, grid in (
        (pair.statics, pair.fine_grid),
        (pair.coarse, pair.coarse_grid),
        (pair.fine, pair.fine_grid),
    ):
        sums = {str(name): _Moments() for name in ds.data_vars}
        for (block,) in time_blocks(ds) if "time" in ds.dims else [(ds,)]:
            for name, moments in sums.items():
                moments.add(block[name].values, grid.area)
        rows |= {name: moments.statistics(name) for name, moments in sums.items()}
    return rows


@dataclass
class _Moments:
    """Weighted sums about one of the values.

    The squares of 280 K would swallow the variance; and a field that is the same everywhere has
    exactly none.
    """

    guess: float | None = None
    weight: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def add(self, values: np.ndarray, area: np.ndarray) -> None:
        present = ~np.isnan(values)
        if not present.any():
            return
        if self.guess is None:
            self.guess = float(values[present][0])
        weights = np.broadcast_to(area, values.shape)[present]
        departures = values[present].astype(np.float64) - self.guess
        self.weight += weights.sum()
        self.total += (weights * departures).sum()
        self.squares += (weights * departures**2).sum()

    def statistics(self, name: str) -> Statistics:
        if self.guess is None:
            raise ValueError(
                f"Wanted {name} with at least one value in the training period, got NaN alone. "
                "Check the fill value, or choose another period."
            )
        if variable(name).transform == "log1p":
            return Statistics(mean=0.0, std=1.0)
        mean = self.total / self.weight
        std = float(np.sqrt(max(self.squares / self.weight - mean**2, 0.0)))
        # a field that is the same everywhere (all land, say) becomes zero, whatever divides it
        return Statistics(mean=float(mean + self.guess), std=std or 1.0)
