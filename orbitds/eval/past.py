"""What simple methods learn from a training period: monthly means, and distributions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from orbitds.catalog import open_dataset
from orbitds.data.align import common_times, in_order_of_time, take, whole_cells
from orbitds.data.climatology import Climatology
from orbitds.data.door import declared_missing, enter
from orbitds.data.find import recognised
from orbitds.data.pair import Pair, open_pair
from orbitds.eval.baselines import fitted_lapse_rate, follows_relief, months_climatology
from orbitds.eval.quantiles import QuantileMap
from orbitds.grid import Grid
from orbitds.region import Region


@dataclass(frozen=True, eq=False)
class Past:
    """What a training period tells of the grid that is evaluated."""

    outputs: tuple[str, ...]
    """Variables it knows, in the order of the region's climatology."""
    region: Region
    """Monthly means, fine and coarse."""
    maps: Mapping[str, QuantileMap] = field(default_factory=dict)
    """Quantile mapping by variable."""
    times: np.ndarray = field(default_factory=lambda: np.empty(0))
    """The times of the period."""
    name: str = ""
    """The pair or files, for people."""

    @property
    def told(self) -> str:
        """Return where it is from, for people."""
        first, last = (str(time)[:10] for time in (self.times[0], self.times[-1]))
        return f"{self.name}, {first} to {last}, {len(self.times)} times"

    def lapse_rates(
        self, relief: Float[Tensor, "Hf Wf"], area: Float[Tensor, "Hf Wf"], *, periodic: bool
    ) -> dict[str, float]:
        """Return the lapse rates of the temperatures near the surface, in kelvin for each metre."""
        rates, months = {}, np.arange(1, 13)
        for output, name in enumerate(self.outputs):
            means = months_climatology(self.region, output, months)
            if follows_relief(name) and means is not None:
                rates[name] = fitted_lapse_rate(means, relief, area, periodic=periodic)
        return rates


def learn(pair: Pair, names: Sequence[str], grid: Grid, factor: int) -> Past:
    """Learn from a training period, on the grid that is evaluated.

    Parameters
    ----------
    pair
        The training period alone.
    names
        Variables that are evaluated; those the pair has on both sides are learned.
    grid
        The fine grid of the evaluation, a part of the pair's.
    factor
        Fine cells along the edge of a coarse one.

    Raises
    ------
    ValueError
        If the grid is no part of the pair's, or the two have no variable in common.
    """
    known = tuple(name for name in names if name in pair.inputs and name in pair.outputs)
    if not known:
        raise ValueError(
            f"Wanted one of {list(names)} on both sides of the training period of {pair.name}, got "
            f"{list(pair.inputs)} coarse and {list(pair.outputs)} fine. Choose another one."
        )
    pair = _cut(pair, known, grid, factor).held()
    fine, coarse = Climatology.of(pair).means()
    region = Region(grid, np.zeros((0, *grid.shape), np.float32), fine, coarse)
    maps = {
        name: QuantileMap.fit(pair.coarse[name], pair.fine[name], periodic=grid.periodic)
        for name in known
    }
    return Past(known, region, maps, pair.fine["time"].values, pair.name)


def training_period(
    pair: str | None, truth: str | None, coarse: str | None, names: Sequence[str]
) -> Pair | None:
    """Return the training years of a pair, or two files at their common times; None of nothing.

    Raises
    ------
    ValueError
        If both or half of the files are given.
    """
    if pair is not None and truth is None and coarse is None:
        return open_pair(pair).part("train")
    if pair is None and truth is None and coarse is None:
        return None
    if pair is not None or truth is None or coarse is None:
        raise ValueError(
            f"Wanted a training period as pair, or as train_truth with train_coarse, got pair "
            f"{pair!r}, train_truth {truth!r} and train_coarse {coarse!r}. Give one or the two."
        )
    sides = [_entered(source, names) for source in (coarse, truth)]
    both = whole_cells(*common_times(*sides))
    return Pair(f"{truth} with {coarse}", *both, xr.Dataset())


def _entered(source: str, names: Sequence[str]) -> xr.Dataset:
    ds = open_dataset(source)
    found = set(recognised(ds))
    known = [name for name in names if name in found]
    if not known:
        raise ValueError(
            f"Wanted one of {list(names)} in {source}, got {list(ds.data_vars)}. Give the data of "
            "a training period, or leave them out."
        )
    return in_order_of_time(enter(ds, known, missing=declared_missing(source)).ds)


def _cut(pair: Pair, names: Sequence[str], grid: Grid, factor: int) -> Pair:
    """Return variables of a pair on the cells of a grid."""
    place = pair.fine_grid.locate(grid)
    if place is None or pair.factor != factor or place[0][0] % factor or place[1][0] % factor:
        raise ValueError(
            f"Wanted a training period on the coarse and fine cells that are evaluated, {grid} and "
            f"factor {factor}, got {pair.name} with {pair.fine_grid} and factor {pair.factor}. "
            "Choose another one, or leave it out."
        )
    rows, columns = place
    return replace(
        pair,
        coarse=take(
            pair.coarse[list(names)], rows[::factor] // factor, columns[::factor] // factor
        ),
        fine=take(pair.fine[list(names)], rows, columns),
        statics=xr.Dataset(),
        coarse_fields=None,
        fine_fields=None,
        summary=None,
    )
