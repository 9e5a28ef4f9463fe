"""What processes of a run tell each other in a step, counted from shapes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from orbitds.config import TrainConfig
from orbitds.model.block import Block
from orbitds.model.heads import of_factor
from orbitds.model.trunk import Trunk
from orbitds.train.gradients import room
from orbitds.train.mixture import Scope
from orbitds.train.outline import Outline
from orbitds.train.rehearsal import Rehearsal
from orbitds.train.sequence import shares
from orbitds.train.shard import count_weights, groups_of, stays_whole, width_of
from orbitds.train.start import is_frozen
from orbitds.train.tensor import BLOCK_PAIRS, decoder_pairs

_FLOAT32 = 4
# Loss, its weights and requests to stop; squares of norms.
_TOLD, _SQUARES = 3 * _FLOAT32, _FLOAT32

Purpose = Literal["weights", "gradients", "tokens", "matrices", "variables", "numbers"]
Operation = Literal["all_gather", "reduce_scatter", "all_reduce", "all_to_all", "pass_on"]
Group = Literal["copies", "parts", "sums", "sequence", "channel", "tensor"]


class Talk(NamedTuple):
    """A collective operation of a step, and how often it is called."""

    purpose: Purpose
    operation: Operation
    """``pass_on``: each process sends to the next one alone."""
    group: Group
    """Which processes, as of ``Mesh``."""
    processes: int
    """Of the group."""
    bytes: int
    """Of the whole tensor: gathered, to be scattered, to be summed; what a process hands over or
    gets, its own share too. Of the process that has most."""
    calls: int = 1
    """Calls in a step."""
    beside: Literal["forward", "backward", "nothing"] = "nothing"
    """The computing that goes on meanwhile; or none, for it waits."""

    @property
    def sent(self) -> float:
        """Bytes that a process sends in a step, where nothing is sent twice needlessly."""
        others = (self.processes - 1) / self.processes
        ways = {"all_reduce": 2 * others, "pass_on": 1.0}
        return self.calls * self.bytes * ways.get(self.operation, others)


def count_traffic(
    config: TrainConfig,
    outline: Outline,
    scope: Scope,
    sizes: Mapping[str, int],
    samples: int,
) -> list[Talk]:
    """Count what a process says in a step of training on PyTorch's engine.

    Parameters
    ----------
    scope
        What the model is made for.
    sizes
        Processes along each axis of the mesh.
    samples
        Of the process in a step.

    Returns
    -------
    list of Talk
        Empty where there is one process.

    Notes
    -----
    Left out: validation, states, and what DeepSpeed says. Where each process has all weights, some
    gradients from outside of the blocks travel with those of a block: bytes and calls are exact
    over all, not one by one.
    """
    if math.prod(sizes.values()) == 1:
        return []
    rehearsal = Rehearsal(config, outline, scope, samples=max(-(-samples // config.accumulate), 1))
    parts = sizes["shard"] * sizes["sequence"] * sizes["channel"]
    copies = sizes["replicate"] * sizes["tiles"]
    shapes = _local_shapes(rehearsal.model, sizes["tensor"])
    trained = {name for name in shapes if not is_frozen(name, config.freeze)}
    talks = []
    if parts > 1:
        talks += _sharded(rehearsal, shapes, trained, parts, copies)
    elif copies > 1:
        talks += _copied(rehearsal, shapes, trained, copies)
    if sizes["sequence"] * sizes["channel"] * sizes["tensor"] > 1:
        talks += _within_a_sample(rehearsal, outline.factor, sizes)
    if copies * parts > 1:
        talks.append(Talk("numbers", "all_reduce", "sums", copies * parts, _TOLD))
    if parts > 1:
        talks.append(Talk("numbers", "all_reduce", "parts", parts, 2 * _SQUARES))
    if sizes["tensor"] > 1:
        talks.append(Talk("numbers", "all_reduce", "tensor", sizes["tensor"], _SQUARES))
    return talks


def _sharded(
    rehearsal: Rehearsal,
    shapes: Mapping[str, Sequence[int]],
    trained: set[str],
    parts: int,
    copies: int,
) -> Iterator[Talk]:
    """FSDP: weights gathered before they are used, gradients scattered where they are made."""
    config = rehearsal.config
    width = width_of(config.dtype)
    kept = stays_whole(count_weights(*rehearsal.blocks), config.dtype)
    groups, rest = _names_of_groups(rehearsal, shapes)
    summed = width_of(config.parallel.reduce_dtype)
    of_blocks = [(group, width, summed) for group in groups]
    for group, item, item_summed in [*of_blocks, (rest, _FLOAT32, _FLOAT32)]:
        # each process has as many rows as any, be they empty
        filled = {
            name: -(-shapes[name][0] // parts) * parts * math.prod(shapes[name][1:])
            for name in group
        }
        whole = sum(filled.values())
        called = config.accumulate
        yield Talk("weights", "all_gather", "parts", parts, item * whole, called, "forward")
        if group is not rest and not kept:
            yield Talk("weights", "all_gather", "parts", parts, item * whole, called, "backward")
        learned = item_summed * sum(filled[name] for name in group if name in trained)
        if not learned:
            continue
        yield Talk("gradients", "reduce_scatter", "parts", parts, learned, called, "backward")
        if copies > 1:  # after the last part alone
            yield Talk("gradients", "all_reduce", "copies", copies, learned // parts, 1, "backward")


def _copied(
    rehearsal: Rehearsal,
    shapes: Mapping[str, Sequence[int]],
    trained: set[str],
    copies: int,
) -> Iterator[Talk]:
    """Whole weights in each process: gradients are added up group by group."""
    groups, rest = _names_of_groups(rehearsal, shapes)
    summed = width_of(rehearsal.config.parallel.reduce_dtype)
    for group, item in [*((group, summed) for group in groups), (rest, _FLOAT32)]:
        numbers = sum(room(math.prod(shapes[name])) for name in group if name in trained)
        if numbers:
            yield Talk("gradients", "all_reduce", "sums", copies, item * numbers, 1, "backward")


def _names_of_groups(
    rehearsal: Rehearsal, shapes: Mapping[str, Sequence[int]]
) -> tuple[list[list[str]], list[str]]:
    """Return the weights of each group of blocks, and those outside of blocks."""
    names = {id(weight): name for name, weight in rehearsal.model.named_parameters()}
    groups = [
        [names[id(weight)] for block in group for weight in block.parameters()]
        for group in groups_of(rehearsal.blocks)
    ]
    in_blocks = {name for group in groups for name in group}
    return groups, [name for name in shapes if name not in in_blocks]


def _within_a_sample(rehearsal: Rehearsal, factor: int, sizes: Mapping[str, int]) -> Iterator[Talk]:
    """Yield what processes that share samples say while they compute, forward and backward."""
    config = rehearsal.config
    trunk = rehearsal.model.trunk
    assert isinstance(trunk, Trunk)  # others are refused where a sample is shared
    patches = _tokens_painted(rehearsal, trunk)
    batch, tokens = rehearsal.batch.coarse.shape[0], rehearsal.tokens
    item = width_of(config.dtype)
    called, depth = config.accumulate, len(rehearsal.blocks)
    again = config.checkpointing != "none"  # blocks say again what they said
    paint = of_factor(trunk.decode.paint, factor)
    assert isinstance(paint, nn.Linear)
    model_width, painted = paint.in_features, paint.out_features

    sequence, tensor = sizes["sequence"], sizes["tensor"]
    own_tokens, own_patches = shares(tokens, sequence)[0], shares(patches, sequence)[0]
    row = batch * item

    def say(purpose: Purpose, operation: Operation, group: Group, size: int, count: int) -> Talk:
        return Talk(purpose, operation, group, sizes[group], size, called * count)

    if sizes["channel"] > 1:
        heads = config.architecture.heads
        places = batch * patches
        weighed = _FLOAT32 * places * (model_width + heads)
        yield say("variables", "all_reduce", "channel", _FLOAT32 * places * heads, 1)
        yield say("variables", "all_reduce", "channel", weighed, 2)
        if trunk.compression is not None:
            image = _FLOAT32 * places * trunk.patch**2
            yield say("variables", "all_reduce", "channel", image, 1)
    if sequence > 1:
        own = own_tokens * row * model_width // tensor
        if config.parallel.sequence_by == "ulysses":
            yield say("tokens", "all_to_all", "sequence", 3 * own, depth * (2 + again))
            yield say("tokens", "all_to_all", "sequence", own, depth * (2 + again))
        else:
            wide = 2 * own * _FLOAT32 // item
            turns = depth * (sequence - 1)
            yield say("tokens", "pass_on", "sequence", 2 * own, turns * (2 + again))
            yield say("tokens", "pass_on", "sequence", wide, depth * sequence)
        if trunk.compression is not None:
            normed = own_tokens * sequence * batch * _FLOAT32 * model_width
            yield say("tokens", "all_to_all", "sequence", normed, 2)
        yield say("tokens", "all_to_all", "sequence", own_patches * sequence * row * painted, 2)
    if tensor > 1:
        # of two pairs in a block the last sum is not needed again
        block = own_tokens * row * model_width
        yield say("matrices", "all_reduce", "tensor", block, depth * (4 + again))
        for _, second in decoder_pairs(trunk.decode.hidden):
            out = painted if second == "paint" else model_width
            yield say("matrices", "all_reduce", "tensor", own_patches * row * out, 1)
            yield say("matrices", "all_reduce", "tensor", own_patches * row * model_width, 1)


def _tokens_painted(rehearsal: Rehearsal, trunk: Trunk) -> int:
    """Return how many tokens of a sample the decoder is given, and learn those of the blocks."""
    seen: list[int] = []

    def look(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        seen.append(arguments[0].shape[1])

    hook = trunk.decode.register_forward_pre_hook(look)
    with torch.no_grad():
        rehearsal.forward()
    hook.remove()
    return seen[-1]


def _local_shapes(model: nn.Module, tensor: int) -> dict[str, list[int]]:
    """Return the shapes of weights as the processes of the axis ``tensor`` have them."""
    shapes = {name: list(weight.shape) for name, weight in model.named_parameters()}
    if tensor == 1:
        return shapes
    trunk = model.trunk
    assert isinstance(trunk, Trunk)
    pairs = [
        (f"trunk.blocks.{place}.{first}", f"trunk.blocks.{place}.{second}")
        for place, block in enumerate(trunk.blocks)
        if isinstance(block, Block)
        for first, second in BLOCK_PAIRS
    ]
    pairs += [
        (f"trunk.decode.{first}", f"trunk.decode.{second}")
        for first, second in decoder_pairs(trunk.decode.hidden)
    ]
    for first, second in pairs:
        shapes[f"{first}.weight"][0] //= tensor
        shapes[f"{first}.bias"][0] //= tensor
        shapes[f"{second}.weight"][1] //= tensor
    return shapes
