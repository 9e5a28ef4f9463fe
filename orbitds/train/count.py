"""How much work a sample is: operations of forward and backward, tokens, parameters."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from orbitds.config import TrainConfig
from orbitds.train.mixture import Scope
from orbitds.train.outline import Outline
from orbitds.train.rehearsal import Rehearsal
from orbitds.train.start import is_frozen


class Count(NamedTuple):
    """The work of one sample."""

    operations: int
    """Of forward and backward, all products and attention; what checkpointing computes again is
    not counted. As PyTorch counts: of attention the backward pass has five products."""
    tokens: int
    """Tokens of a sample in the blocks; with an edge density at most so many."""
    parameters: int
    trained: int
    """Of these, those that are not frozen."""


def count(config: TrainConfig, outline: Outline, scope: Scope) -> Count:
    """Count the work of one sample; takes no memory for weights or fields.

    Parameters
    ----------
    scope
        What the model is made for.
    """
    rehearsal = Rehearsal(config, outline, scope, samples=1)
    numbers = {name: weight.numel() for name, weight in rehearsal.model.named_parameters()}
    frozen = [name for name in numbers if is_frozen(name, config.freeze)]
    parameters = sum(numbers.values())
    trained = parameters - sum(numbers[name] for name in frozen)
    with FlopCounterMode(display=False, custom_mapping=_ATTENTION) as counter:
        rehearsal.backward(rehearsal.forward())
    return Count(counter.get_total_flops(), rehearsal.tokens, parameters, trained)


def _attended(query: Sequence[int], key: Sequence[int], products: int) -> int:
    samples, heads, queries, width = query
    return 2 * products * samples * heads * queries * key[2] * width


def _forward(query: Any, key: Any, *_: Any, **__: Any) -> int:  # noqa: ANN401  shapes, as PyTorch gives them
    return _attended(query, key, 2)


def _backward(_: Any, query: Any, key: Any, *__: Any, **___: Any) -> int:  # noqa: ANN401  likewise
    return _attended(query, key, 5)


# The kernel that a rehearsal meets, which PyTorch's counter does not know.
_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _forward,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _backward,
}
