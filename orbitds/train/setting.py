"""What a run draws from: the samples, statistics and climatology of a pair."""

import warnings
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from orbitds.config import TrainConfig
from orbitds.data.climatology import Climatology
from orbitds.data.pair import Pair, stack
from orbitds.data.sample import Sample, Samples
from orbitds.data.stats import statistics
from orbitds.model.interface import DownscalingModel, Prediction
from orbitds.normalize import Statistics
from orbitds.region import Region
from orbitds.resources import did_you_mean
from orbitds.tiles import TileGrid


@dataclass(frozen=True, eq=False)
class Setting:
    """What a run draws from."""

    pair: Pair
    statistics: dict[str, Statistics]
    climatology: Climatology | None
    tiles: TileGrid
    train: Samples
    validate: Samples

    def forward(
        self, model: DownscalingModel, batch: Sample, noise: Tensor | None = None
    ) -> Prediction:
        """Return what a model says of a batch."""
        has_climatology = self.climatology is not None
        return model.predict(
            batch.coarse,
            latitude_deg=batch.latitude_deg,
            longitude_deg=batch.longitude_deg,
            spacing_km=batch.spacing_km,
            statics=batch.statics if batch.statics.shape[1] else None,
            climatology=(
                (batch.fine_climatology, batch.coarse_climatology) if has_climatology else None
            ),
            periodic=self.tiles.wraps,
            noise=noise,
        )

    def region(self) -> Region:
        """Return what the checkpoint will know of the training region."""
        pair = self.pair
        names, shape = pair.static_names, pair.fine_grid.shape
        statics = stack(pair.statics, names).values if names else np.zeros((0, *shape))
        if self.climatology is None:
            return Region(pair.fine_grid, statics)
        return Region(pair.fine_grid, statics, *self.climatology.means())


def prepare(config: TrainConfig, pair: Pair) -> Setting:
    """Compute statistics and climatology of the training years, and lay out the samples."""
    for name in config.loss.tv_weights:
        if name not in pair.outputs:
            raise ValueError(
                f"Wanted outputs of {pair.name} in loss.tv_weights, some of {list(pair.outputs)}, "
                f"got {name!r}.{did_you_mean(name, pair.outputs)} Correct the name."
            )
    pair = pair.held()
    train = pair.part("train")
    rows = statistics(train)
    climatology = Climatology.of(train) if config.model.base == "delta" else None
    if climatology is not None and climatology.missing_months:
        warnings.warn(
            f"The training years of {pair.name} lack the calendar months "
            f"{climatology.missing_months}: the mean of the other months stands in for their "
            "climatology.",
            stacklevel=2,
        )
    tiles = TileGrid(
        *pair.coarse_grid.shape,
        rows=config.tiles.rows,
        columns=config.tiles.columns,
        halo_cells=config.tiles.halo_cells,
        periodic=pair.coarse_grid.periodic,
        align_cells=config.model.patch,
    )
    return Setting(
        pair=pair,
        statistics=rows,
        climatology=climatology,
        tiles=tiles,
        train=Samples(train, rows, tiles, climatology=climatology, own_year_out=True),
        validate=Samples(pair.part("validate"), rows, tiles, climatology=climatology),
    )
