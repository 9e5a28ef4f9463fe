"""What a run starts from: the weights of a checkpoint, and which of them stay as they are."""

import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from orbitds.config import ModelConfig, TrainConfig
from orbitds.description import WEIGHTS, Description, describe, find_checkpoint, name_of
from orbitds.hub import is_hub_name
from orbitds.model.interface import DownscalingModel
from orbitds.normalize import Statistics
from orbitds.resources import did_you_mean
from orbitds.train.folder import best_of
from orbitds.train.transfer import Plan, copy_common
from orbitds.weights import read_weights

# What a run folder holds of how it began.
NOTES = "start.txt"


class Started(NamedTuple):
    """What became of the weights of a checkpoint."""

    fresh: tuple[str, ...]
    """Weights of the model that are new, in part or whole."""
    notes: tuple[str, ...]
    """What was copied, what is new and what was left out, a sentence each."""


def begin(model: DownscalingModel, config: TrainConfig) -> list[str]:
    """Give a freshly built model the weights its run starts from, and freeze what shall stay.

    To be called on whole weights, before they are shared out, averaged or given to an optimiser.

    Returns
    -------
    list of str
        What was done, a sentence each; empty for a run that starts from nothing.
    """
    fresh: tuple[str, ...] = ()
    notes: list[str] = []
    if config.start_from is not None:
        fresh, told = start(model, config.start_from)
        notes += told
    if config.freeze:
        frozen = freeze(model, config.freeze)
        count = sum(1 for _ in model.parameters())
        notes.append(f"frozen: {len(frozen)} of {count} weights, {', '.join(config.freeze)}")
        if new := [name for name in frozen if name in fresh]:
            notes.append(f"frozen though new, in part or whole: {', '.join(new)}")
    return notes


def tell_notes(notes: Sequence[str], output: Path) -> None:
    """Write how a run began into its folder, and on the standard error stream."""
    if notes:
        text = "".join(f"{note}\n" for note in notes)
        (output / NOTES).write_text(text, encoding="utf-8")
        sys.stderr.write(text)


def start(model: DownscalingModel, name: str) -> Started:
    """Copy the weights of a checkpoint into a model, as far as the two have the same parts.

    Parameters
    ----------
    name
        Whatever names a checkpoint, or the folder of a run, whose best weights are taken.

    Raises
    ------
    ValueError
        If the trunks differ in kind, width or heads, so that no weight would mean the same.
    """
    folder = _find(name)
    description = describe(folder)
    _check_trunk(model, description, name)
    theirs, ours = Plan.of_checkpoint(description), Plan.of_model(model)
    whole, part, fresh = [], [], []
    own, left, shares = model.state_dict(), [], {}
    places = {ours.by_factor(weight): weight for weight in own}
    with torch.no_grad():
        for weight, tensor in read_weights(folder, description):
            place = places.get(theirs.by_factor(weight))
            if place is None:
                left += [weight] if weight not in own else []
            elif theirs.head(weight) == ours.head(place):
                axes = theirs.axes(weight), ours.axes(place)
                shares[place] = copy_common(tensor, own[place], *axes)
    for weight in own:
        share = shares.get(weight, 0)
        (whole if share == 1 else part if share else fresh).append(weight)
    source = name_of(folder) if is_hub_name(name) else name
    notes = [
        f"from {source} ({description.sha256[WEIGHTS][:12]}, {description.objective}): "
        f"{len(whole)} of {len(own)} weights copied whole, {len(part)} in part, {len(fresh)} new",
        *_about_variables(model, description),
        *_named("copied in part", part),
        *_named("new", fresh),
        *_named("left out", sorted(left)),
    ]
    for prefix, wanted in ours.heads.items():
        got = theirs.heads_like(prefix)
        if got and wanted not in got and any(weight.startswith(prefix) for weight in fresh):
            told = " or ".join(got)
            notes.append(f"{prefix}* is made anew: wanted {wanted}, the checkpoint has {told}")
    return Started((*part, *fresh), tuple(notes))


def known_statistics(config: TrainConfig) -> Mapping[str, Statistics]:
    """Return the statistics that a run takes from the checkpoint it starts from, by variable.

    Its weights have learned from fields that were normalised by them.
    """
    return {} if config.start_from is None else describe(_find(config.start_from)).statistics


def freeze(model: nn.Module, patterns: Sequence[str]) -> tuple[str, ...]:
    """Keep weights as they are, by patterns of their names; return which.

    Raises
    ------
    ValueError
        If a pattern matches none, or nothing is left to train.
    """
    named = dict(model.named_parameters())
    frozen: dict[str, None] = {}
    for pattern in patterns:
        matched = [name for name in named if is_frozen(name, [pattern])]
        if not matched:
            parts = [name.split(".") for name in named]
            groups = {".".join([*path[:end], "*"]) for path in parts for end in range(1, len(path))}
            raise ValueError(
                f"Wanted patterns of weights of the model in freeze, got {pattern!r}, which "
                f"matches none.{did_you_mean(pattern, [*sorted(groups), *named])} Correct it."
            )
        frozen |= dict.fromkeys(matched)
    if len(frozen) == len(named):
        raise ValueError(
            f"Wanted weights that are left to train, got freeze {list(patterns)}, which matches "
            f"all {len(named)}. Freeze fewer."
        )
    for name in frozen:
        named[name].requires_grad = False
    return tuple(frozen)


def is_frozen(name: str, patterns: Sequence[str]) -> bool:
    """Tell whether a weight stays as it is, by the patterns of `TrainConfig.freeze`."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _check_trunk(model: DownscalingModel, description: Description, name: str) -> None:
    told = []
    for config in (model.config, description.model):
        if not isinstance(config, ModelConfig):
            told.append("published weights of ORBIT-2")
            continue
        told.append(f"kind {config.kind}, width {config.width}, heads {config.heads}")
    if told[0] != told[1]:
        raise ValueError(
            f"Wanted to start from a checkpoint with the trunk of the run's model, {told[0]}, got "
            f"{name} with {told[1]}. Set these of `model` to the checkpoint's, or choose another."
        )


def _about_variables(model: DownscalingModel, description: Description) -> list[str]:
    ours = dict.fromkeys((*model.inputs, *model.outputs, *model.statics))
    theirs = dict.fromkeys((*description.inputs, *description.outputs, *description.statics))
    return [
        *_named("statistics of the checkpoint for", [x for x in ours if x in theirs]),
        *_named("new variables", [x for x in ours if x not in theirs]),
        *_named("variables left out", [x for x in theirs if x not in ours]),
    ]


def _named(what: str, names: Sequence[str]) -> list[str]:
    return [f"{what}: {', '.join(names)}"] if names else []


def _find(name: str) -> Path:
    best = best_of(Path(name))
    return find_checkpoint(name if best is None else best)
