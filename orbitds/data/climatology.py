"""Monthly means of the training years, coarse and fine: what delta change adds."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from orbitds.data.blocks import time_blocks
from orbitds.data.pair import Pair, stack
from orbitds.region import MONTHS


@dataclass(frozen=True, eq=False)
class Climatology:
    """Means by calendar month of the output variables, in physical units.

    Parameters
    ----------
    fine_sum, coarse_sum
        Sums over time by year and month, [Y, 12, U, Hf, Wf] and [Y, 12, U, H, W], float64, without
        gaps: an output that is no input has its block mean on the coarse grid, a missing fine cell
        the value of its coarse cell.
    count
        Number of time steps, [Y, 12].
    years
        The years.
    """

    fine_sum: np.ndarray
    coarse_sum: np.ndarray
    count: np.ndarray
    years: np.ndarray

    @classmethod
    def of(cls, pair: Pair) -> "Climatology":
        """Sum a pair by year and month; give the training part, or it holds its own target."""
        years = np.unique(pair.fine["time"].dt.year.values)
        factor, outputs = pair.factor, pair.outputs
        height, width = pair.coarse_grid.shape
        count = np.zeros((years.size, MONTHS))
        shape = (years.size, MONTHS, len(outputs))
        coarse_sum = np.zeros((*shape, height, width))
        fine_sum = np.zeros((*shape, height * factor, width * factor))
        area = pair.fine_grid.area
        known = _with_all(pair.coarse, outputs)
        for block in time_blocks(pair.fine, known):
            fields = (stack(ds, outputs, np.float64).transpose("time", ...).values for ds in block)
            times = block[0]["time"]
            rows = np.searchsorted(years, times.dt.year.values)
            for row, month, time, fine, coarse in zip(
                rows, times.dt.month.values, times.values, *fields, strict=True
            ):
                fine, coarse = _without_gaps(fine, coarse, area)
                if np.isnan(coarse).any():
                    raise ValueError(
                        f"Wanted some values of {', '.join(outputs)} at every time, got NaN alone "
                        f"at {time}. Leave that time out."
                    )
                count[row, month - 1] += 1
                fine_sum[row, month - 1] += fine
                coarse_sum[row, month - 1] += coarse
        return cls(fine_sum, coarse_sum, count, years)

    @cached_property
    def missing_months(self) -> list[int]:
        """Calendar months, 1 to 12, that the training period does not hold."""
        return [int(month) + 1 for month in np.flatnonzero(self.count.sum(axis=0) == 0)]

    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Return fine and coarse means by month, [12, U, Hf, Wf] and [12, U, H, W].

        A missing month takes the mean of the available ones.
        """
        months = [self.without(None, month) for month in range(1, MONTHS + 1)]
        fine, coarse = (np.stack(fields) for fields in zip(*months, strict=True))
        return fine, coarse

    def without(self, year: int | None, month: int) -> tuple[np.ndarray, np.ndarray]:
        """Return fine and coarse means of a month over all years but one.

        A training sample must not find its own target in its climatology. Where no other year has
        the month, the other months of the other years stand in.
        """
        own = np.flatnonzero(self.years == year)
        count = self._totals[2] - self.count[own].sum(axis=0)
        months = [month - 1] if count[month - 1] else np.flatnonzero(count)
        if len(months) == 0:
            raise ValueError(
                "Wanted at least two years of training data for a climatology that leaves the "
                f"sample's own year out, got {self.years.tolist()}. Give a longer training period, "
                "or choose model.base: bicubic."
            )
        # mean over months of monthly means, so that a month with more steps does not weigh more
        steps = count[months][:, None, None, None]
        fine, coarse = (
            ((total[months] - field[own][:, months].sum(axis=0)) / steps).mean(axis=0)
            for total, field in zip(self._totals, (self.fine_sum, self.coarse_sum), strict=False)
        )
        return fine, coarse

    @cached_property
    def _totals(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sums and counts over all years, so that leaving one out is a subtraction."""
        return self.fine_sum.sum(axis=0), self.coarse_sum.sum(axis=0), self.count.sum(axis=0)


def _with_all(coarse: xr.Dataset, outputs: tuple[str, ...]) -> xr.Dataset:
    """Return the coarse fields of the outputs, NaN where an output is no input."""
    first = coarse[next(iter(coarse.data_vars))]
    absent = xr.full_like(first, np.nan)
    return xr.Dataset({name: coarse.get(name, absent) for name in outputs})


def _without_gaps(
    fine: np.ndarray, coarse: np.ndarray, area: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fill [U, Hf, Wf] and [U, H, W] from each other: one NaN would spread over all of the base."""
    height, width = coarse.shape[-2:]
    factor = fine.shape[-1] // width
    weight = np.where(np.isnan(fine), 0.0, area)
    total, weight = (
        field.reshape(-1, height, factor, width, factor).sum(axis=(2, 4))
        for field in (weight * np.nan_to_num(fine), weight)
    )
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, as it should
        blocks = total / weight
        everywhere = total.sum(axis=(1, 2)) / weight.sum(axis=(1, 2))
    for mean in (blocks, everywhere[:, None, None]):
        coarse = np.where(np.isnan(coarse), mean, coarse)
    return np.where(np.isnan(fine), coarse.repeat(factor, 1).repeat(factor, 2), fine), coarse
