"""All simple methods for the blocks of an evaluation: what each needs is made once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import xarray as xr
from torch import Tensor

from orbitds.checkpoint import Checkpoint
from orbitds.data.gaps import fill_gaps
from orbitds.data.statics import statics_for
from orbitds.data.values import check_values
from orbitds.eval.baselines import (
    LAPSE_RATE,
    QUANTILES,
    baselines,
    follows_relief,
    months_climatology,
    relief_of,
    scales_by_ratio,
)
from orbitds.eval.past import Past
from orbitds.grid import Grid
from orbitds.region import Region


@dataclass(frozen=True, eq=False)
class SimpleMethods:
    """The simple methods on one coarse and one fine grid.

    Parameters
    ----------
    region, outputs
        Climatology, for delta change, and the variables that it has.
    past
        Training period, for quantile mapping.
    relief
        Height of the fine cells above the interpolated relief in metres, for the lapse rate.
    lapse_rates
        Of variables that the training period knows, in kelvin for each metre up; that of the
        standard atmosphere for others.
    """

    coarse_grid: Grid
    factor: int
    region: Region | None = None
    outputs: Sequence[str] = ()
    past: Past | None = None
    relief: Tensor | None = field(default=None, repr=False)
    lapse_rates: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def on(
        cls,
        coarse_grid: Grid,
        grid: Grid,
        names: Sequence[str],
        *,
        checkpoint: Checkpoint | None = None,
        past: Past | None = None,
    ) -> "SimpleMethods":
        """Return the methods for a coarse and a fine grid.

        Parameters
        ----------
        names
            Variables that are evaluated.
        checkpoint
            Its climatology gives delta change where there is no ``past``.

        Raises
        ------
        ValueError
            If the coarse grid is not coarser, or does not nest.
        """
        factor = coarse_grid.factor_to(grid)
        if factor == 1:
            raise ValueError(
                f"Wanted coarse data coarser than the truth, got both on {grid}. "
                "Give the data that the prediction was made from, or leave `coarse` out."
            )
        relief, area = None, torch.from_numpy(grid.area).float()
        if any(follows_relief(name) for name in names):
            orography = torch.from_numpy(statics_for(grid, ("orography",))["orography"].values)
            relief = relief_of(orography, area, factor, periodic=coarse_grid.periodic)
        region, outputs = (None, ()) if past is None else (past.region, past.outputs)
        if past is None and checkpoint is not None and checkpoint.region is not None:
            region, outputs = checkpoint.region.cut(grid, factor), checkpoint.outputs
        rates = {}
        if past is not None and relief is not None:
            rates = past.lapse_rates(relief, area, periodic=coarse_grid.periodic)
        return cls(coarse_grid, factor, region, outputs, past, relief, rates)

    def fields(self, coarse: xr.Dataset, name: str) -> dict[str, Tensor]:
        """Return the fine fields of one variable by each method that can be had, [T, Hf, Wf].

        Parameters
        ----------
        coarse
            A block of time in canonical form, read into memory; gaps are filled from the nearest
            cell where its attribute ``missing`` allows them.
        """
        periodic = self.coarse_grid.periodic
        values = coarse[name].transpose("time", "latitude", "longitude").values
        check_values(name, values, missing=coarse.attrs["missing"])
        months = coarse["time"].dt.month.values
        climatology = None
        if self.region is not None and name in self.outputs:
            climatology = months_climatology(self.region, list(self.outputs).index(name), months)
        fields = baselines(
            torch.tensor(fill_gaps(values, periodic=periodic)),
            self.factor,
            periodic=periodic,
            climatology=climatology,
            is_ratio=scales_by_ratio(name),
            relief=self.relief if follows_relief(name) else None,
            lapse_rate=self.lapse_rates.get(name, LAPSE_RATE),
        )
        if self.past is not None and name in self.past.maps:
            fields[QUANTILES] = self.past.maps[name].apply(fields["bilinear"], months)
        return fields
