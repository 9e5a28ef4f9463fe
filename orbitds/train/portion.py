"""What one process of many does of a step, and what it keeps, told to a rehearsal's model."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from orbitds.model.block import Block
from orbitds.model.trunk import Trunk
from orbitds.train.sequence import assign

_ATEN = torch.ops.aten
# What selective checkpointing keeps: products and attention.
_DEAR = {
    _ATEN.mm.default,
    _ATEN.addmm.default,
    _ATEN.bmm.default,
    _ATEN._scaled_dot_product_flash_attention_for_cpu.default,
}


def split_matrices(blocks: Sequence[nn.Module], processes: int) -> None:
    """Leave in each block the heads and hidden units of one process of the axis ``tensor``."""
    for block in blocks if processes > 1 else ():
        assert isinstance(block, Block)
        width, inner = block.project.in_features, block.mlp[2]
        assert isinstance(inner, nn.Linear)
        own, units = width // processes, math.ceil(inner.in_features / processes)
        block.query_key_value = nn.Linear(width, 3 * own)
        block.project = nn.Linear(own, width)
        block.mlp[0], block.mlp[2] = nn.Linear(width, units), nn.Linear(units, width)


def split_tokens(trunk: Trunk, processes: int) -> None:
    """Give a trunk the tokens of one process of the axis ``sequence``.

    Whether processes take turns at heads or pass keys on, each holds this share of everything.
    """
    if processes > 1:
        assign(trunk, _OwnTokens(processes), _OwnTokens(processes))


class _OwnTokens:
    """The tokens of a sample, of which a process has a share; the others say the same as it."""

    def __init__(self, processes: int) -> None:
        self.processes, self.count = processes, 0

    def take(self, count: int) -> slice:
        self.count = count
        return slice(-(-count // self.processes))

    def split(self, tokens: Tensor) -> Tensor:
        return tokens[:, self.take(tokens.shape[1])]

    def join(self, tokens: Tensor) -> Tensor:
        return torch.cat([tokens] * self.processes, dim=1)[:, : self.count]


def narrow_weights(blocks: Sequence[nn.Module]) -> None:
    """Have the blocks' weights in bfloat16, as they come from other processes."""
    for block in blocks:
        for module in block.modules():
            for name, weight in module.named_parameters(recurse=False):
                narrow = torch.empty(weight.shape, dtype=torch.bfloat16)
                module.register_parameter(name, nn.Parameter(narrow))


def forget(blocks: Sequence[nn.Module], kind: Literal["none", "selective", "full"]) -> None:
    """Have the backward pass compute again what `TrainConfig.checkpointing` says."""
    how: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
    if kind == "selective":
        how["context_fn"] = partial(create_selective_checkpoint_contexts, _keeps)
    for block in blocks if kind != "none" else ():
        block.forward = partial(checkpoint, block.forward, **how)


def _keeps(_: object, operation: object, *__: object, **___: object) -> CheckpointPolicy:
    is_dear = operation in _DEAR
    return CheckpointPolicy.MUST_SAVE if is_dear else CheckpointPolicy.PREFER_RECOMPUTE
