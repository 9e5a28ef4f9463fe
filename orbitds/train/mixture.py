"""What several pairs are to the one model that is trained on them: names, heads, statistics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from orbitds.config import TrainConfig
from orbitds.data.pair import Pair
from orbitds.model.interface import Aim
from orbitds.normalize import Statistics
from orbitds.sets import TrainingSet


@runtime_checkable
class Named(Protocol):
    """What is to be known of a pair."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Input variables."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Output variables."""
        ...

    @property
    def statics(self) -> tuple[str, ...]:
        """Fine static fields."""
        ...

    @property
    def factor(self) -> int:
        """Fine cells along the edge of a coarse cell."""
        ...


@dataclass(frozen=True)
class Scope:
    """All that a model is made for: the unions over its pairs, in order of first appearance."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    statics: tuple[str, ...]
    factors: tuple[int, ...]

    @classmethod
    def of(cls, parts: Sequence[Named]) -> "Scope":
        """Return the scope of some pairs."""
        return cls(
            inputs=tuple(dict.fromkeys(name for part in parts for name in part.inputs)),
            outputs=tuple(dict.fromkeys(name for part in parts for name in part.outputs)),
            statics=tuple(dict.fromkeys(name for part in parts for name in part.statics)),
            factors=tuple(dict.fromkeys(part.factor for part in parts)),
        )

    def aim(self, part: Named) -> Aim | None:
        """Return what a model is asked for by a pair; None if that is all of it."""
        own = Aim(part.factor, part.outputs, part.statics or self.statics)
        return None if (own, len(self.factors)) == (self.whole, 1) else own

    @property
    def whole(self) -> Aim:
        """All of the outputs and statics, at the first factor."""
        return Aim(self.factors[0], self.outputs, self.statics)


def check_mixture(config: TrainConfig, pairs: Sequence[Pair]) -> None:
    """Refuse pairs that one model cannot be trained on; the message says what differs.

    Parameters
    ----------
    pairs
        As the run's objective has them.
    """
    if len(pairs) > 1 and config.architecture.base == "delta":
        raise ValueError(
            "Wanted the base bicubic or bilinear for several pairs, got delta, which starts from "
            "the climatology of one region. Set model.base, or train on one pair."
        )
    if config.model.kind == "reslim":
        return
    first = pairs[0]
    for other in pairs[1:]:
        for what, wanted, got in (
            ("outputs", first.outputs, other.outputs),
            ("factor", first.factor, other.factor),
            ("statics", first.static_names, other.static_names),
        ):
            if got != wanted and not (what == "statics" and not got):  # a model does without
                raise ValueError(
                    f"Wanted pairs with the same {what} for a model of kind {config.model.kind}, "
                    f"got {wanted} of {first.name} and {got} of {other.name}. Take model.kind "
                    "reslim, or leave one of the pairs out."
                )


def pooled(
    rows: Sequence[Mapping[str, Statistics]], shares: Sequence[float]
) -> dict[str, Statistics]:
    """Return the statistics of a mixture: each pair counts by its share of the steps.

    Means are averaged, and the variance is that within pairs and that between their means. What a
    single pair has stays as it is.

    Parameters
    ----------
    rows
        Of each pair, by variable.
    """
    names = dict.fromkeys(name for one in rows for name in one)
    return {name: _pooled_row(name, rows, shares) for name in names}


def _pooled_row(
    name: str, rows: Sequence[Mapping[str, Statistics]], shares: Sequence[float]
) -> Statistics:
    found = [(one[name], share) for one, share in zip(rows, shares, strict=True) if name in one]
    first = found[0][0]
    if all(row == first for row, _ in found):
        return first
    weights = np.array([share for _, share in found]) / sum(share for _, share in found)
    means = np.array([row.mean for row, _ in found])
    within = weights @ np.array([row.std for row, _ in found]) ** 2
    mean = float(weights @ means)
    between = weights @ (means - mean) ** 2
    threshold = max(row.threshold for row, _ in found)
    return Statistics(mean=mean, std=float(np.sqrt(within + between)), threshold=threshold)


def training_set(pair: Pair, inputs: Sequence[str], share: float) -> TrainingSet:
    """Return what a checkpoint says of one of the pairs that it was trained on.

    Parameters
    ----------
    inputs
        Of the pair, those of earlier times too.
    share
        Of the steps.
    """
    rows, columns = pair.fine_grid.latitude_bounds_deg, pair.fine_grid.longitude_bounds_deg
    return TrainingSet(
        pair=pair.name,
        share=share,
        factor=pair.factor,
        spacing_km=(pair.coarse_grid.spacing_km, pair.fine_grid.spacing_km),
        inputs=tuple(inputs),
        outputs=pair.outputs,
        statics=pair.static_names,
        statics_source=pair.statics.attrs.get("source"),
        same_product=pair.same_product,
        box_deg=(
            max(float(rows.min()), -90.0),
            min(float(rows.max()), 90.0),
            float(columns.min()),
            float(columns.max()),
        ),
        period=pair.split["train"],
    )
