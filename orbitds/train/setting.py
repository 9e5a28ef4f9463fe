"""What a run draws from: the samples, statistics and climatology of a pair."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from orbitds.config import TrainConfig
from orbitds.crops import Crops, tiles_about
from orbitds.data.batch import Sample
from orbitds.data.climatology import Climatology
from orbitds.data.history import base_name, with_earlier
from orbitds.data.pair import Pair, stack
from orbitds.data.sample import CPU, Samples
from orbitds.data.stats import statistics
from orbitds.model.interface import Aim, DownscalingModel, Prediction
from orbitds.normalize import Statistics
from orbitds.region import Region
from orbitds.resources import did_you_mean
from orbitds.tiles import TileGrid
from orbitds.train.masked import HiddenSamples, reconstruction
from orbitds.train.mixture import Scope, check_mixture, pooled
from orbitds.train.start import known_statistics
from orbitds.windows import Windows


@dataclass(frozen=True, eq=False)
class Setting:
    """What a run draws from."""

    pair: Pair
    statistics: dict[str, Statistics]
    climatology: Climatology | None
    tiles: TileGrid
    """How fields are cut for validation."""
    train: Samples
    validate: Samples
    base_errors: Mapping[str, Mapping[str, float]] | None = None
    """Normalised mean square error of the base, by pair of the run and output; None where the loss
    is not balanced by it."""
    aim: Aim | None = None
    """What the model is asked for by this pair of several; None where that is all of it."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Input variables, those of earlier times too."""
        return self.train.inputs

    @property
    def balance(self) -> list[float] | None:
        """What the square error of each output is divided by in the loss; None of nothing."""
        if self.base_errors is None:
            return None
        own = self.base_errors[self.pair.name]
        return [own[name] for name in self.pair.outputs]

    @cached_property
    def divisors(self) -> Float[Tensor, "U 1 1"] | None:
        """The balance on the device, brought there once: a copy in each step would make it wait."""
        if self.balance is None:
            return None
        return torch.tensor(self.balance, device=self.train.assemble.device)[:, None, None]

    def wraps(self, batch: Sample) -> bool:
        """Return whether the windows of a batch span the whole circle."""
        return self.tiles.periodic and batch.coarse.shape[-1] == self.tiles.width

    @property
    def outputs(self) -> tuple[str, ...]:
        """Output variables."""
        return self.pair.outputs

    @property
    def statics(self) -> tuple[str, ...]:
        """Fine static fields."""
        return self.pair.static_names

    @property
    def factor(self) -> int:
        """Fine cells along the edge of a coarse cell."""
        return self.pair.factor

    def forward(
        self, model: DownscalingModel, batch: Sample, noise: Tensor | None = None
    ) -> Prediction:
        """Return what a model says of a batch."""
        has_climatology = self.climatology is not None
        aim: dict[str, Any] = {} if self.aim is None else {"aim": self.aim}
        return model.predict(
            batch.coarse,
            latitude_deg=batch.latitude_deg,
            longitude_deg=batch.longitude_deg,
            spacing_km=batch.spacing_km,
            variables=self.inputs,
            statics=batch.statics if batch.statics.shape[1] else None,
            climatology=(
                (batch.fine_climatology, batch.coarse_climatology) if has_climatology else None
            ),
            periodic=self.wraps(batch),
            noise=noise,
            **aim,
        )

    def region(self) -> Region:
        """Return what the checkpoint will know of the training region."""
        pair = self.pair
        names, shape = pair.static_names, pair.fine_grid.shape
        statics = stack(pair.statics, names).values if names else np.zeros((0, *shape))
        if self.climatology is None:
            return Region(pair.fine_grid, statics)
        return Region(pair.fine_grid, statics, *self.climatology.means())


def prepare_all(
    config: TrainConfig, pairs: Sequence[Pair], device: torch.device = CPU
) -> list[Setting]:
    """Return the setting of each pair of a run.

    Statistics are of the training years, of several pairs by their shares of the steps: a variable
    is normalised alike in all of them. Those that the checkpoint knows from which the run starts
    stay as it has them. For the objective ``masked`` the outputs of a setting's pair are its
    inputs.

    Parameters
    ----------
    device
        Where samples are wanted.

    Raises
    ------
    ValueError
        If one model cannot be trained on all of them; the message says what differs.
    """
    pairs = [posed(config, pair) for pair in pairs]
    check_mixture(config, pairs)
    check_names(config, pairs)
    pairs = [pair.held() for pair in pairs]
    shares = list(config.mixture.values()) if len(pairs) > 1 else [1.0]
    rows = pooled([statistics(pair.part("train")) for pair in pairs], shares)
    rows |= {name: row for name, row in known_statistics(config).items() if name in rows}
    settings = [_setting(config, pair, rows, device) for pair in pairs]
    scope = Scope.of(settings)
    return [replace(setting, aim=scope.aim(setting)) for setting in settings]


def prepare(config: TrainConfig, pair: Pair, device: torch.device = CPU) -> Setting:
    """Return the setting of one pair; see ``prepare_all``."""
    return prepare_all(config, [pair], device)[0]


def _setting(
    config: TrainConfig, pair: Pair, rows: dict[str, Statistics], device: torch.device
) -> Setting:
    """Lay out the samples of a pair as the objective has it; climatology of the training years."""
    train, history = pair.part("train"), config.data.history
    rows = {name: rows[name] for name in (*pair.static_names, *pair.inputs, *pair.outputs)}
    rows |= {name: rows[base_name(name)] for name in with_earlier(pair.inputs, history)}
    climatology = Climatology.of(train) if config.architecture.base == "delta" else None
    if climatology is not None and climatology.crowded:
        warnings.warn(
            f"Most training times of {pair.name} are of one year, {climatology.crowded[0]}: in the "
            "climatology of a sample of that year its own time alone is left out, not the year.",
            stacklevel=2,
        )
    if climatology is not None and climatology.missing_months:
        warnings.warn(
            f"The training years of {pair.name} lack the calendar months "
            f"{climatology.missing_months}: the mean of the other months stands in for their "
            "climatology.",
            stacklevel=2,
        )
    tiles = tiles_of(config, pair)
    common = {"climatology": climatology, "history": history, "device": device}
    if config.loss.balance == "base":
        common["loss_weights"] = (1.0,) * len(pair.outputs)
    later = pair.part("validate"), rows, tiles
    is_seen = pair.split["validate"] == pair.split["train"]
    if is_seen:
        warnings.warn(
            f"{pair.name} has no time to spare for validation: the training period stands in, so "
            "that its errors are those of what was seen. Choose steps on another split.",
            stacklevel=2,
        )
    return Setting(
        pair=pair,
        statistics=rows,
        climatology=climatology,
        tiles=tiles,
        train=Samples(train, rows, windows_of(config, pair), own_time_out=True, **common),
        validate=(
            HiddenSamples(*later, config=config, **common)
            if config.objective == "masked"
            else Samples(*later, own_time_out=is_seen, **common)
        ),
    )


def check_names(config: TrainConfig, pairs: Sequence[Pair]) -> None:
    """Refuse names in the settings that are outputs of no pair."""
    outputs = list(dict.fromkeys(name for pair in pairs for name in pair.outputs))
    for name in config.loss.tv_weights:
        if name not in outputs:
            raise ValueError(
                f"Wanted outputs of {' or '.join(pair.name for pair in pairs)} in "
                f"loss.tv_weights, some of {outputs}, got {name!r}."
                f"{did_you_mean(name, outputs)} Correct the name."
            )


def windows_of(config: TrainConfig, pair: Pair) -> Windows:
    """Return the windows of a pair's fields that are trained on: tiles, or crops at any place."""
    if config.tiles.crop_cells is None:
        return tiles_of(config, pair)
    return Crops(
        *pair.coarse_grid.shape,
        crop_cells=config.tiles.crop_cells,
        halo_cells=config.tiles.halo_cells,
        periodic=pair.coarse_grid.periodic,
        step_cells=config.model.patch,
    )


def tiles_of(config: TrainConfig, pair: Pair) -> TileGrid:
    """Return how the fields of a pair are cut; beside crops, into windows of about their size."""
    shape, halo = pair.coarse_grid.shape, config.tiles.halo_cells
    rows, columns = config.tiles.rows, config.tiles.columns
    if config.tiles.crop_cells is not None:
        rows, columns = tiles_about(shape, config.tiles.crop_cells, halo)
    return TileGrid(
        *shape,
        rows=rows,
        columns=columns,
        halo_cells=halo,
        periodic=pair.coarse_grid.periodic,
        align_cells=config.model.patch,
    )


def posed(config: TrainConfig, pair: Pair) -> Pair:
    """Return a pair with what the run's objective makes of it as outputs."""
    return reconstruction(pair) if config.objective == "masked" else pair
