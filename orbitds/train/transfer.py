"""Which weights of two networks stand for the same, and copying those from one to the other."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from orbitds.config import ModelConfig
from orbitds.description import Description
from orbitds.model.interface import DownscalingModel


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

    @classmethod
    def of_checkpoint(cls, description: Description) -> "Plan":
        """Return the plan of a checkpoint's network."""
        assert isinstance(description.model, ModelConfig)
        outputs, statics = description.outputs, description.statics
        return _plan(description.model, description.inputs, outputs, statics, description.factor)

    @classmethod
    def of_model(cls, model: DownscalingModel) -> "Plan":
        """Return the plan of a network."""
        return _plan(model.config, model.inputs, model.outputs, model.statics, model.factor)

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
    factor: int,
) -> Plan:
    spread = [f"{name}, logarithm of the variance" for name in outputs]
    painted = (*outputs, *(spread if config.predicts == "gaussian" else ()))
    if config.kind in ("unet", "edsr"):
        return _plan_of_convolutions(config, inputs, outputs, statics, factor, painted)
    zoom = factor if config.kind == "reslim" else 1
    known, block = Axis((*inputs, *statics)), Axis(painted, (zoom * config.patch) ** 2)
    parts = {
        "trunk.aggregate.embed": {0: known},
        "trunk.aggregate.bias": {0: known},
        "trunk.decode.paint.weight": {0: block},
        "trunk.decode.paint.bias": {0: block},
        "trunk.decode.smooth.weight": {0: Axis(painted), 1: Axis(painted)},
        "trunk.decode.smooth.bias": {0: Axis(painted)},
    }
    head = f"factor {factor} and patches of {config.patch}"
    heads = {"trunk.decode.paint.": head, "trunk.decode.smooth.": head}
    depth, width = config.correction_depth, config.correction_width
    if width and config.kind == "reslim":
        fields = ["trunk", "base", *(["climatology"] if config.base == "delta" else [])]
        seen = (*(f"{name}, {field}" for field in fields for name in outputs), *statics)
        last = Axis(outputs, factor**2)
        parts |= {
            "correct.layers.0.weight": {1: Axis(seen, factor**2)},
            f"correct.layers.{depth}.weight": {0: last},
            f"correct.layers.{depth}.bias": {0: last},
        }
        heads["correct."] = f"factor {factor} and {depth} hidden layers of {width} channels"
    return Plan(parts, heads)


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
        return Plan({"down.0.first.weight": {1: seen}} | last, {})
    # the fine cells of a coarse one are channels
    cells = [f"{name}, cell {cell}" for name in details for cell in range(factor**2)]
    seen = Axis((*inputs, *cells))
    return Plan({"head.weight": {1: seen}} | last, {"upsample.": f"factor {factor}"})


def _entries(labels: Sequence[str], wanted: Sequence[str], each: int) -> Tensor:
    first = torch.tensor([labels.index(name) for name in wanted], dtype=torch.long) * each
    return (first[:, None] + torch.arange(each)).flatten()
