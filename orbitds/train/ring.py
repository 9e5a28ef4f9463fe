"""Ring attention: each process keeps its queries, and keys and values travel round.

PyTorch's own (``torch.distributed.tensor.experimental.context_parallel``) wants equal shares, a
GPU, and the call of attention to itself while a context lasts; this one does without.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from orbitds.train.collect import group_of


def attend_in_ring(
    query: Float[Tensor, "B h n d"],
    key: Float[Tensor, "B h n d"],
    value: Float[Tensor, "B h n d"],
    sizes: Sequence[int],
    group: str,
) -> Float[Tensor, "B h n d"]:
    """Return what the own queries find among the keys and values of all processes of a group.

    Parameters
    ----------
    sizes
        Tokens of each process; there may be none.
    group
        Name of the group, as of ``collect.known``.

    References
    ----------
    Liu et al. (2023, arXiv 2310.01889); the softmax is put together block by block from each one's
    result and the logarithm of its denominator.
    """
    parts = (part.contiguous() for part in (query, key, value))
    return _ring(*parts, list(sizes), group)[0]


@torch.library.custom_op("orbitds::ring", mutates_args=())
def _ring(
    query: Tensor, key: Tensor, value: Tensor, sizes: Sequence[int], group: str
) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(query.dtype, torch.float32)
    out = torch.zeros_like(query, dtype=wide)
    level = torch.full(query.shape[:-1], -torch.inf, dtype=wide, device=query.device)
    ring = _Ring(sizes, group)
    block = torch.stack([key, value])
    for source in ring.sources:
        passed = None if source == ring.sources[-1] else ring.pass_on(block, source)
        if block.numel() and query.numel():
            part, of_part = _attend(query, *block.unbind())
            joint = torch.logaddexp(level, of_part)
            out = out * (level - joint).exp()[..., None] + part * (of_part - joint).exp()[..., None]
            level = joint
        if passed is not None:
            block = passed()
    return out.to(query.dtype), level


@_ring.register_fake
def _(
    query: Tensor,
    key: Tensor,  # noqa: ARG001
    value: Tensor,  # noqa: ARG001
    sizes: Sequence[int],  # noqa: ARG001
    group: str,  # noqa: ARG001
) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(query.dtype, torch.float32)
    return torch.empty_like(query), query.new_empty(query.shape[:-1], dtype=wide)


@torch.library.custom_op("orbitds::ring_back", mutates_args=())
def _ring_back(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    level: Tensor,
    sizes: Sequence[int],
    group: str,
) -> tuple[Tensor, Tensor, Tensor]:
    wide = level.dtype
    of_query = torch.zeros_like(query, dtype=wide)
    ring = _Ring(sizes, group)
    block = torch.stack([key, value])
    of_block = torch.zeros_like(block, dtype=wide)  # travels with its block, and comes home
    for source in ring.sources:
        passed = None if source == ring.sources[-1] else ring.pass_on(block, source)
        if block.numel() and query.numel():
            parts = _attend_back(grad, query, *block.unbind(), out, level)
            of_query += parts[0]
            of_block += torch.stack(parts[1:])
        of_block = ring.pass_on(of_block, source)()
        if passed is not None:
            block = passed()
    of_key, of_value = of_block.to(key.dtype).unbind()
    return of_query.to(query.dtype), of_key.clone(), of_value.clone()


@_ring_back.register_fake
def _(
    grad: Tensor,  # noqa: ARG001
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,  # noqa: ARG001
    level: Tensor,  # noqa: ARG001
    sizes: Sequence[int],  # noqa: ARG001
    group: str,  # noqa: ARG001
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _keep(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:  # noqa: ANN401
    query, key, value, ctx.sizes, ctx.group = inputs
    ctx.save_for_backward(query, key, value, *output)


def _back(ctx: Any, grad: Tensor, _level: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
    query, key, value, out, level = ctx.saved_tensors
    parts = _ring_back(grad.contiguous(), query, key, value, out, level, ctx.sizes, ctx.group)
    return *parts, None, None


_ring.register_autograd(_back, setup_context=_keep)


class _Ring:
    """A group whose processes each hand something to the next."""

    def __init__(self, sizes: Sequence[int], group: str) -> None:
        self.sizes, self.group = sizes, group_of(group)
        self.world, self.rank = len(sizes), dist.get_rank(self.group)
        # whose block is here, in turn; the own one first
        self.sources = [(self.rank - step) % self.world for step in range(self.world)]

    def pass_on(self, block: Float[Tensor, "k B h n d"], source: int):  # noqa: ANN202
        """Begin to hand on the block of a source; returns how to wait for the next one."""
        before = (source - 1) % self.world
        rows = rearrange(block, "k b h n d -> n k b h d").contiguous()
        got = rows.new_empty(self.sizes[before], *rows.shape[1:])
        sent, received = [0] * self.world, [0] * self.world
        sent[(self.rank + 1) % self.world] = len(rows)
        received[(self.rank - 1) % self.world] = len(got)
        work = dist.all_to_all_single(got, rows, received, sent, group=self.group, async_op=True)

        def wait() -> Tensor:
            assert work is not None
            work.wait()
            return rearrange(got, "n k b h d -> k b h n d").contiguous()

        return wait


def _is_fused(query: Tensor) -> bool:
    """Return whether PyTorch's flash kernel takes such queries."""
    half = query.dtype in (torch.bfloat16, torch.float16)
    return query.device.type == "cuda" and half and query.shape[-1] % 8 == 0


def _attend(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return the attention to a block, and the logarithm of the denominator of its softmax."""
    if _is_fused(query):
        # the operator below scaled_dot_product_attention, which alone tells the denominator
        return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[:2]
    scores = _scores(query, key)
    level = scores.logsumexp(dim=-1)
    return (scores - level[..., None]).exp() @ value.to(scores.dtype), level


def _attend_back(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, level: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a block's share of the gradients, from the whole result and its denominator."""
    if _is_fused(query):
        nothing = torch.zeros(2, dtype=torch.uint64, device=query.device)  # no dropout to repeat
        return torch.ops.aten._scaled_dot_product_flash_attention_backward(
            *(grad, query, key, value, out, level, None, None),
            *(query.shape[2], key.shape[2], 0.0, False, nothing, nothing),
        )
    wide = level.dtype
    grad, out, wide_value = grad.to(wide), out.to(wide), value.to(wide)
    weights = (_scores(query, key) - level[..., None]).exp()
    of_scores = weights * (grad @ wide_value.mT - (grad * out).sum(dim=-1, keepdim=True))
    of_scores = of_scores * query.shape[-1] ** -0.5
    return of_scores @ key.to(wide), of_scores.mT @ query.to(wide), weights.mT @ grad


def _scores(query: Tensor, key: Tensor) -> Tensor:
    wide = torch.promote_types(query.dtype, torch.float32)
    return query.to(wide) @ key.to(wide).mT * query.shape[-1] ** -0.5
