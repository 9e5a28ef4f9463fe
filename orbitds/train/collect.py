"""What processes of a group tell each other inside a model, with gradients.

Both are operators of PyTorch's library, so that `torch.compile` takes them as they are, without a
break in its graph. They know a group by its name: operators take no process groups.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor

_groups: dict[str, dist.ProcessGroup] = {}
_Context = Any  # a class that autograd makes for each operator


def known(group: dist.ProcessGroup) -> str:
    """Return the name under which the operators below find a group."""
    _groups[group.group_name] = group
    return group.group_name


def group_of(name: str) -> dist.ProcessGroup:
    """Return the group of a name that ``known`` gave."""
    return _groups[name]


def exchange(
    rows: Shaped[Tensor, "R *rest"], sent: Sequence[int], received: Sequence[int], group: str
) -> Shaped[Tensor, "Q *rest"]:
    """Send the first rows to the first process of a group, the next to the second, and so on.

    Parameters
    ----------
    sent, received
        How many rows go to each process, and come from each.
    group
        Name of the group, as of ``known``.

    Returns
    -------
    torch.Tensor
        The rows that come, in the order of the processes. Gradients go back the same way.
    """
    return _exchange(rows.contiguous(), list(sent), list(received), group)


def total(part: Shaped[Tensor, "*shape"], group: str) -> Shaped[Tensor, "*shape"]:
    """Return the sum over the processes of a group, in all of them the same.

    Each goes on to a part of the loss, so the gradient is the sum of theirs.
    """
    return _total(part.contiguous(), group)


def largest(part: Shaped[Tensor, "*shape"], group: str) -> Shaped[Tensor, "*shape"]:
    """Return the largest of the values of the processes of a group; it has no gradient."""
    return _largest(part.detach().contiguous(), group)


@torch.library.custom_op("orbitds::exchange", mutates_args=())
def _exchange(rows: Tensor, sent: Sequence[int], received: Sequence[int], group: str) -> Tensor:
    out = rows.new_empty(sum(received), *rows.shape[1:])
    dist.all_to_all_single(out, rows, list(received), list(sent), group=group_of(group))
    return out


@_exchange.register_fake
def _(rows: Tensor, sent: Sequence[int], received: Sequence[int], group: str) -> Tensor:  # noqa: ARG001
    return rows.new_empty(sum(received), *rows.shape[1:])


def _remember_way(ctx: _Context, inputs: tuple, output: Tensor) -> None:  # noqa: ARG001
    _, ctx.sent, ctx.received, ctx.group = inputs


def _send_back(ctx: _Context, grad: Tensor) -> tuple[Tensor, None, None, None]:
    return exchange(grad, ctx.received, ctx.sent, ctx.group), None, None, None


_exchange.register_autograd(_send_back, setup_context=_remember_way)


@torch.library.custom_op("orbitds::total", mutates_args=())
def _total(part: Tensor, group: str) -> Tensor:
    out = part.clone()
    dist.all_reduce(out, group=group_of(group))
    return out


@_total.register_fake
def _(part: Tensor, group: str) -> Tensor:  # noqa: ARG001
    return torch.empty_like(part)


def _remember_group(ctx: _Context, inputs: tuple, output: Tensor) -> None:  # noqa: ARG001
    ctx.group = inputs[1]


def _total_back(ctx: _Context, grad: Tensor) -> tuple[Tensor, None]:
    return total(grad, ctx.group), None


_total.register_autograd(_total_back, setup_context=_remember_group)


@torch.library.custom_op("orbitds::largest", mutates_args=())
def _largest(part: Tensor, group: str) -> Tensor:
    out = part.clone()
    dist.all_reduce(out, op=dist.ReduceOp.MAX, group=group_of(group))
    return out


@_largest.register_fake
def _(part: Tensor, group: str) -> Tensor:  # noqa: ARG001
    return torch.empty_like(part)
