"""Monthly means of the training years, coarse and fine: what delta change adds."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from orbitds.data.blocks import time_blocks
from orbitds.data.gaps import fill_gaps
from orbitds.data.pair import Pair, stack
from orbitds.region import MONTHS

# A year with more than this share of the training times cannot be spared: too few would be left.
LARGEST_SHARE = 0.75


@dataclass(frozen=True, eq=False)
class Climatology:
    """Means by calendar month of the output variables, in physical units.

    Parameters
    ----------
    fine_sum, coarse_sum
        Sums over the times of a group in a month, [R, U, Hf, Wf] and [R, U, H, W], float64, without
        gaps: an output that is no input has its block mean on the coarse grid, a missing coarse
        cell the value of the nearest one, a missing fine cell that of its coarse cell.
    count
        Number of time steps, [R].
    months
        Their calendar month, 1 to 12, [R].
    groups
        Their group, [R]: times that are left out together, a year; or one time of a crowded year.
    crowded
        Years with more than three quarters of all times.
    """

    fine_sum: np.ndarray
    coarse_sum: np.ndarray
    count: np.ndarray
    months: np.ndarray
    groups: np.ndarray
    crowded: tuple[int, ...]

    @classmethod
    def of(cls, pair: Pair) -> "Climatology":
        """Sum a pair by year and month; give the training part, or it holds its own target."""
        times = pair.fine["time"]
        years, steps = np.unique(times.dt.year.values, return_counts=True)
        crowded = tuple(int(year) for year in years[steps > LARGEST_SHARE * steps.sum()])
        keys = list(zip(_groups(times, crowded), times.dt.month.values.tolist(), strict=True))
        rows = {key: row for row, key in enumerate(sorted(set(keys)))}
        factor, outputs = pair.factor, pair.outputs
        height, width = pair.coarse_grid.shape
        count = np.zeros(len(rows))
        coarse_sum = np.zeros((len(rows), len(outputs), height, width))
        fine_sum = np.zeros((len(rows), len(outputs), height * factor, width * factor))
        area, periodic = pair.fine_grid.area, pair.coarse_grid.periodic
        known = _with_all(pair.coarse, outputs)
        row_of = iter([rows[key] for key in keys])
        for block in time_blocks(pair.fine, known):
            fields = (stack(ds, outputs, np.float64).transpose("time", ...).values for ds in block)
            for time, fine, coarse in zip(block[0]["time"].values, *fields, strict=True):
                fine, coarse = _without_gaps(fine, coarse, area, periodic=periodic)
                if np.isnan(coarse).any():
                    raise ValueError(
                        f"Wanted some values of {', '.join(outputs)} at every time, got NaN alone "
                        f"at {time}. Leave that time out."
                    )
                row = next(row_of)
                count[row] += 1
                fine_sum[row] += fine
                coarse_sum[row] += coarse
        groups, months = (np.array(part) for part in zip(*rows, strict=True))
        return cls(fine_sum, coarse_sum, count, months, groups, crowded)

    def group_of(self, times: xr.DataArray) -> list[str]:
        """Return the group of each time: what is left out for it."""
        return _groups(times, self.crowded)

    @cached_property
    def missing_months(self) -> list[int]:
        """Calendar months, 1 to 12, that the training period does not hold."""
        return sorted(set(range(1, MONTHS + 1)) - set(self.months.tolist()))

    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Return fine and coarse means by month, [12, U, Hf, Wf] and [12, U, H, W].

        A missing month takes the mean of the available ones.
        """
        months = [self.without(None, month) for month in range(1, MONTHS + 1)]
        fine, coarse = (np.stack(fields) for fields in zip(*months, strict=True))
        return fine, coarse

    def without(self, group: str | None, month: int) -> tuple[np.ndarray, np.ndarray]:
        """Return fine and coarse means of a month over all times but those of a group.

        A training sample must not find its own target in its climatology. Where no other group has
        the month, the other months of the others stand in.
        """
        own = self.groups == group
        held = np.unique(self.months[~own]).tolist()
        if not held:
            raise ValueError(
                "Wanted at least two training times for a climatology that leaves the sample's own "
                f"year or time out, got {len(self.count)}. Give a longer training period, or "
                "choose model.base: bicubic."
            )
        # mean over months of monthly means, so that a month with more steps does not weigh more
        chosen = [month] if month in held else held
        fine, coarse = (
            np.mean([self._mean(sums, totals, own, one) for one in chosen], axis=0)
            for sums, totals in zip((self.fine_sum, self.coarse_sum), self._totals, strict=True)
        )
        return fine, coarse

    def _mean(
        self, sums: np.ndarray, totals: np.ndarray, own: np.ndarray, month: int
    ) -> np.ndarray:
        rows = self.months == month
        count = self.count[rows & ~own].sum()
        return (totals[month - 1] - sums[rows & own].sum(axis=0)) / count

    @cached_property
    def _totals(self) -> tuple[np.ndarray, np.ndarray]:
        """Sums by month over all groups, so that leaving one out is a subtraction."""
        months = range(1, MONTHS + 1)
        fine, coarse = (
            np.stack([sums[self.months == month].sum(axis=0) for month in months])
            for sums in (self.fine_sum, self.coarse_sum)
        )
        return fine, coarse


def _groups(times: xr.DataArray, crowded: tuple[int, ...]) -> list[str]:
    """Return the year of each time, and the time itself where the year is crowded."""
    years = times.dt.year.values.tolist()
    whole = zip(times.values, years, strict=True)
    return [str(time) if year in crowded else str(year) for time, year in whole]


def _with_all(coarse: xr.Dataset, outputs: tuple[str, ...]) -> xr.Dataset:
    """Return the coarse fields of the outputs, NaN where an output is no input."""
    first = coarse[next(iter(coarse.data_vars))]
    absent = xr.full_like(first, np.nan)
    return xr.Dataset({name: coarse.get(name, absent) for name in outputs})


def _without_gaps(
    fine: np.ndarray, coarse: np.ndarray, area: np.ndarray, *, periodic: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Fill [U, Hf, Wf] and [U, H, W]: one NaN would spread over all of the base.

    Coarse gaps are filled from the nearest cell, as those of a sample are: the two are subtracted,
    and another filling would leave its error along every coast.
    """
    height, width = coarse.shape[-2:]
    factor = fine.shape[-1] // width
    weight = np.where(np.isnan(fine), 0.0, area)
    total, weight = (
        field.reshape(-1, height, factor, width, factor).sum(axis=(2, 4))
        for field in (weight * np.nan_to_num(fine), weight)
    )
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, as it should
        blocks = total / weight
    is_absent = np.isnan(coarse).all(axis=(1, 2), keepdims=True)
    coarse = fill_gaps(np.where(is_absent, blocks, coarse), periodic=periodic)
    return np.where(np.isnan(fine), coarse.repeat(factor, 1).repeat(factor, 2), fine), coarse
