"""All simple methods for the blocks of an evaluation: what each needs is made once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import xarray as xr
from torch import Tensor

from orbitds.checkpoint import Checkpoint
from orbitds.data.gaps import fill_gaps
from orbitds.data.statics import statics_for
from orbitds.data.values import check_values
from orbitds.eval.baselines import (
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
    """

    coarse_grid: Grid
    factor: int
    region: Region | None = None
    outputs: Sequence[str] = ()
    past: Past | None = None
    relief: Tensor | None = field(default=None, repr=False)

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
        relief = None
        if any(follows_relief(name) for name in names):
            orography = torch.from_numpy(statics_for(grid, ("orography",))["orography"].values)
            area = torch.from_numpy(grid.area).float()
            relief = relief_of(orography, area, factor, periodic=coarse_grid.periodic)
        region, outputs = (None, ()) if past is None else (past.region, past.outputs)
        if past is None and checkpoint is not None and checkpoint.region is not None:
            region, outputs = checkpoint.region.cut(grid, factor), checkpoint.outputs
        return cls(coarse_grid, factor, region, outputs, past, relief)

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
        )
        if self.past is not None and name in self.past.maps:
            fields[QUANTILES] = self.past.maps[name].apply(fields["bilinear"], months)
        return fields
