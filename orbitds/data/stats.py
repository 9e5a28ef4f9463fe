"""Mean and standard deviation of the training period, in one pass over the data."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from orbitds.data.blocks import time_blocks
from orbitds.data.pair import Pair
from orbitds.normalize import Statistics
from orbitds.variables import variable


def statistics(pair: Pair) -> dict[str, Statistics]:
    """Return area-weighted statistics of every variable of a pair.

    A variable that is both input and output has one row, from the fine data, so that a coarse
    value and its fine children are normalised alike. Give the training part: nothing else may
    enter the statistics. Where a training store holds those of just these times, nothing is read.

    Raises
    ------
    ValueError
        If a variable has no value at all.
    """
    names = (*pair.static_names, *pair.inputs, *pair.outputs)
    if pair.summary is not None and pair.summary.is_of(pair.fine.indexes["time"], names):
        return {name: pair.summary.statistics[name] for name in names}
    rows: dict[str, Statistics] = {}
    for ds, grid in (
        (pair.statics, pair.fine_grid),
        (pair.coarse, pair.coarse_grid),
        (pair.fine, pair.fine_grid),
    ):
        sums = {str(name): Moments() for name in ds.data_vars}
        for (block,) in time_blocks(ds) if "time" in ds.dims else [(ds,)]:
            for name, moments in sums.items():
                moments.add(block[name].values, grid.area)
        rows |= {name: moments.statistics(name) for name, moments in sums.items()}
    return rows


@dataclass(frozen=True, eq=False)
class Summary:
    """What a training store holds of its training period."""

    times: pd.Index
    """The times of that period."""
    statistics: dict[str, Statistics]
    """By variable."""

    def is_of(self, times: pd.Index, names: Iterable[str]) -> bool:
        """Whether these are its times, and it has all of these variables."""
        return self.times.equals(times) and self.statistics.keys() >= set(names)


@dataclass
class Moments:
    """Weighted sums about one of the values, of which parts can be merged.

    The squares of 280 K would swallow the variance; and a field that is the same everywhere has
    exactly none.
    """

    guess: float | None = None
    weight: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def merged(cls, parts: Iterable["Moments"]) -> "Moments":
        """Return the sums of all parts, about the guess of the first that has one."""
        whole = cls()
        for part in parts:
            if part.guess is None:
                continue
            if whole.guess is None:
                whole.guess = part.guess
            shift = part.guess - whole.guess
            whole.weight += part.weight
            whole.total += part.total + shift * part.weight
            whole.squares += part.squares + 2 * shift * part.total + shift**2 * part.weight
        return whole

    def add(self, values: np.ndarray, area: np.ndarray) -> None:
        """Add values [..., H, W], those that are missing aside, weighted by area [H, W]."""
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
        """Return the statistics of a variable; those with a logarithm need none.

        Raises
        ------
        ValueError
            If there was no value.
        """
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
