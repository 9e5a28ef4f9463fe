"""Quantile mapping: each fine cell's interpolated values get the distribution of its truth."""

from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from orbitds.data.blocks import BLOCK_CELLS
from orbitds.data.gaps import fill_gaps
from orbitds.interpolate import interpolate
from orbitds.variables import variable

# Quantiles of a distribution, at the middles of as many equal shares; fewer where there are fewer
# values.
NODES = 50
# Values a season needs for a distribution of its own; with fewer, the whole year has one.
LEAST_OF_SEASON = 30


@dataclass(frozen=True, eq=False)
class QuantileMap:
    """Empirical quantile mapping of one variable, by season where there are values enough.

    Parameters
    ----------
    before
        Quantiles of the bilinear field over the training period, [S, Q, Hf, Wf], in the unit of
        the variable.
    correction
        What to add at these: quantiles of the truth less those of the bilinear field.

    Notes
    -----
    Between quantiles the correction is linear, beyond the outer ones constant, so that values
    outside of the training period go on. Amounts stay at zero or above, and of a run of equal
    quantiles, the dry days, the lowest counts. Needs memory for 2 S Q fields.

    References
    ----------
    Panofsky and Brier 1968; Themessl, Gobiet and Leuprecht 2011, empirical quantile mapping,
    doi 10.1002/joc.2168. Equal to xsdba's `EmpiricalQuantileMapping` within each season.
    """

    before: Float[np.ndarray, "S Q Hf Wf"]
    correction: Float[np.ndarray, "S Q Hf Wf"]
    minimum: float | None = None

    @classmethod
    def fit(cls, coarse: xr.DataArray, fine: xr.DataArray, *, periodic: bool) -> "QuantileMap":
        """Learn from a training period: coarse fields in memory, fine ones in bands of rows.

        Parameters
        ----------
        coarse, fine
            One variable in canonical form at the same times; NaN of the truth does not count, gaps
            of the coarse fields are filled as in an evaluation.
        """
        factor = fine.sizes["latitude"] // coarse.sizes["latitude"]
        seasons = seasons_of(coarse["time"].dt.month.values)
        if np.bincount(seasons, minlength=4).min() < LEAST_OF_SEASON:
            seasons = np.zeros_like(seasons)
        chosen = [np.flatnonzero(seasons == season) for season in range(seasons.max() + 1)]
        nodes = min(NODES, *(len(times) for times in chosen))
        shares = (np.arange(nodes) + 0.5) / nodes
        shape = (len(chosen), nodes, fine.sizes["latitude"], fine.sizes["longitude"])
        before, correction = (np.empty(shape, np.float32) for _ in range(2))
        values = torch.from_numpy(fill_gaps(coarse.values, periodic=periodic))
        for rows in _row_slices(fine, factor):
            truth = fine.isel(latitude=rows).values
            bilinear = _rows_of(values, rows, factor, periodic=periodic)
            bilinear = np.where(np.isnan(truth), np.nan, bilinear)
            for season, times in enumerate(chosen):
                low = quantiles(bilinear[times], shares)
                before[season][:, rows] = low
                correction[season][:, rows] = quantiles(truth[times], shares) - low
        return cls(before, correction, variable(str(fine.name)).minimum)

    def apply(
        self, bilinear: Float[Tensor, "T Hf Wf"], months: Int[np.ndarray, " T"]
    ) -> Float[Tensor, "T Hf Wf"]:
        """Return the mapped fields; cells without a truth in training stay bilinear."""
        seasons = seasons_of(months) if len(self.before) == 4 else np.zeros_like(months)
        mapped = bilinear.clone()
        for season in np.unique(seasons):
            times = torch.from_numpy(np.flatnonzero(seasons == season))
            values = bilinear[times].flatten(1).T.contiguous()  # cells T
            knots = torch.from_numpy(self.before[season]).flatten(1).T.contiguous().to(values)
            added = torch.from_numpy(self.correction[season]).flatten(1).T.to(values)
            right = torch.searchsorted(knots, values).clamp(1, knots.shape[1] - 1)
            near, far = knots.gather(1, right - 1), knots.gather(1, right)
            share = ((values - near) / (far - near)).clamp(0, 1).nan_to_num(0.0)
            step = torch.lerp(added.gather(1, right - 1), added.gather(1, right), share)
            field = values + step.nan_to_num(0.0)
            mapped[times] = field.T.reshape(len(times), *bilinear.shape[1:])
        return mapped if self.minimum is None else mapped.clamp(min=self.minimum)


def seasons_of(months: Int[np.ndarray, " T"]) -> Int[np.ndarray, " T"]:
    """Return 0 for December to February, 1 for March to May, and so on."""
    return months % 12 // 3


def quantiles(
    values: Float[np.ndarray, "T H W"], shares: Float[np.ndarray, " Q"]
) -> Float[np.ndarray, "Q H W"]:
    """Return quantiles over time of the values that are there, linear between two of them.

    As ``numpy.nanquantile``, which takes each cell by itself where there may be NaN.
    """
    ranked = np.sort(values, axis=0)  # NaN last
    count = (~np.isnan(ranked)).sum(axis=0)
    place = shares[:, None, None] * (count - 1).clip(0)
    left = np.floor(place).astype(int)
    right = np.minimum(left + 1, (count - 1).clip(0))
    low, high = (np.take_along_axis(ranked, index, axis=0) for index in (left, right))
    return low + (place - left).astype(values.dtype) * (high - low)


def _rows_of(
    values: Float[Tensor, "T H W"], rows: slice, factor: int, *, periodic: bool
) -> Float[np.ndarray, "T h Wf"]:
    """Return rows of the bilinear field, made of the coarse rows around them alone."""
    first, stop = rows.start // factor, -(-rows.stop // factor)
    north = max(first - 1, 0)
    fine = interpolate(values[:, north : stop + 1], factor, "bilinear", periodic=periodic)
    start = rows.start - north * factor
    return fine[:, start : start + rows.stop - rows.start].numpy()


def _row_slices(fine: xr.DataArray, factor: int) -> list[slice]:
    """Return bands of whole coarse rows that fit in memory over all times."""
    rows, columns = fine.sizes["latitude"], fine.sizes["longitude"]
    step = max(1, BLOCK_CELLS // (fine.sizes["time"] * columns * factor)) * factor
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
