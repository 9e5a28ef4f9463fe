"""Which weights of two networks stand for the same, and copying those from one to the other."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from orbitds.config import ModelConfig
from orbitds.description import Description
from orbitds.model.interface import DownscalingModel

# Where a network of several factors has a part for each: their names go on with the factor.
BY_FACTOR = ("trunk.decode.paint.", "trunk.decode.smooth.", "correct.")


class Axis(NamedTuple):
    """What the entries along an axis of a weight stand for."""

    labels: tuple[str, ...]
    each: int = 1
    """Entries of a label, which stand together."""


class Plan(NamedTuple):
    """What there is to know of a network, in order to tell which of its weights are of what."""

    parts: dict[str, dict[int, Axis]]
    """The axes of weights that have entries of single variables."""
    heads: dict[str, str]
    """What the weights with a prefix are made for: of unlike ones nothing is copied."""
    factors: tuple[int, ...]
    """That the network has heads for."""

    @classmethod
    def of_checkpoint(cls, description: Description) -> "Plan":
        """Return the plan of a checkpoint's network."""
        assert isinstance(description.model, ModelConfig)
        outputs, statics = description.outputs, description.statics
        return _plan(description.model, description.inputs, outputs, statics, description.factors)

    @classmethod
    def of_model(cls, model: DownscalingModel) -> "Plan":
        """Return the plan of a network."""
        return _plan(model.config, model.inputs, model.outputs, model.statics, model.factors)

    def by_factor(self, weight: str) -> str:
        """Return the name that a weight would have in a network of several factors."""
        for prefix in BY_FACTOR if len(self.factors) == 1 else ():
            if weight.startswith(prefix):
                return f"{prefix}{self.factors[0]}.{weight.removeprefix(prefix)}"
        return weight

    def heads_like(self, prefix: str) -> list[str]:
        """Return what the heads are made for that stand where another network has a prefix."""
        base = next((base for base in BY_FACTOR if prefix.startswith(base)), prefix)
        return [for_ for own, for_ in self.heads.items() if own.startswith(base)]

    def head(self, weight: str) -> str | None:
        """Return what a weight is made for, where that matters."""
        return next(
            (for_ for prefix, for_ in self.heads.items() if weight.startswith(prefix)), None
        )

    def axes(self, weight: str) -> dict[int, Axis]:
        """Return the axes of a weight whose entries are of single variables."""
        return self.parts.get(weight, {})


def copy_common(
    theirs: Tensor, ours: Tensor, their_axes: dict[int, Axis], our_axes: dict[int, Axis]
) -> float:
    """Copy what stands for the same; return the share of our entries that were copied."""
    if theirs.ndim != ours.ndim:
        return 0.0
    picks, places = [], []
    for dim, (their_size, our_size) in enumerate(zip(theirs.shape, ours.shape, strict=True)):
        if dim in our_axes and dim in their_axes:
            (labels, each), (wanted, _) = their_axes[dim], our_axes[dim]
            both = [name for name in wanted if name in labels]
            pick, place = _entries(labels, both, each), _entries(wanted, both, each)
        elif their_size == our_size:
            pick = place = torch.arange(our_size)
        else:
            return 0.0
        shape = [-1 if axis == dim else 1 for axis in range(ours.ndim)]
        picks.append(pick.view(shape))
        places.append(place.view(shape).to(ours.device))
    if not our_axes:
        ours.copy_(theirs)
        return 1.0
    chosen = theirs[tuple(picks)]
    ours[tuple(places)] = chosen.to(ours)
    return chosen.numel() / ours.numel()


def _plan(
    config: ModelConfig,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    statics: tuple[str, ...],
    factors: tuple[int, ...],
) -> Plan:
    spread = [f"{name}, logarithm of the variance" for name in outputs]
    painted = (*outputs, *(spread if config.predicts == "gaussian" else ()))
    if config.kind in ("unet", "edsr"):
        return _plan_of_convolutions(config, inputs, outputs, statics, factors[0], painted)
    known = Axis((*inputs, *statics))
    parts = {"trunk.aggregate.embed": {0: known}, "trunk.aggregate.bias": {0: known}}
    heads: dict[str, str] = {}
    depth, width = config.correction_depth, config.correction_width
    fields = ["trunk", "base", *(["climatology"] if config.base == "delta" else [])]
    seen = (*(f"{name}, {field}" for field in fields for name in outputs), *statics)
    for factor in factors:
        paint, smooth, correct = (
            prefix if len(factors) == 1 else f"{prefix}{factor}." for prefix in BY_FACTOR
        )
        zoom = factor if config.kind == "reslim" else 1
        block = Axis(painted, (zoom * config.patch) ** 2)
        parts |= {
            f"{paint}weight": {0: block},
            f"{paint}bias": {0: block},
            f"{smooth}weight": {0: Axis(painted), 1: Axis(painted)},
            f"{smooth}bias": {0: Axis(painted)},
        }
        head = f"factor {factor} and patches of {config.patch}"
        heads |= {paint: head, smooth: head}
        if width and config.kind == "reslim":
            last = Axis(outputs, factor**2)
            parts |= {
                f"{correct}layers.0.weight": {1: Axis(seen, factor**2)},
                f"{correct}layers.{depth}.weight": {0: last},
                f"{correct}layers.{depth}.bias": {0: last},
            }
            heads[correct] = f"factor {factor} and {depth} hidden layers of {width} channels"
    return Plan(parts, heads, factors)


def _plan_of_convolutions(
    config: ModelConfig,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    statics: tuple[str, ...],
    factor: int,
    painted: tuple[str, ...],
) -> Plan:
    structure = [f"{name}, climatology" for name in outputs] if config.base == "delta" else []
    details = (*structure, *statics)
    last = {"tail.weight": {0: Axis(painted)}, "tail.bias": {0: Axis(painted)}}
    if config.kind == "unet":
        seen = Axis((*inputs, *(f"{name}, base" for name in outputs), *details))
        return Plan({"down.0.first.weight": {1: seen}} | last, {}, (factor,))
    # the fine cells of a coarse one are channels
    cells = [f"{name}, cell {cell}" for name in details for cell in range(factor**2)]
    seen = Axis((*inputs, *cells))
    return Plan({"head.weight": {1: seen}} | last, {"upsample.": f"factor {factor}"}, (factor,))


def _entries(labels: Sequence[str], wanted: Sequence[str], each: int) -> Tensor:
    first = torch.tensor([labels.index(name) for name in wanted], dtype=torch.long) * each
    return (first[:, None] + torch.arange(each)).flatten()
