"""Sequence parallelism: processes share the tokens of a sample.

Each works on its share in all that is done token by token. In attention, where tokens meet, it
takes all tokens of some heads (DeepSpeed-Ulysses), or passes keys and values on in a ring.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import torch
import torch.distributed as dist
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from orbitds.model.attention import attend
from orbitds.model.block import Block
from orbitds.model.trunk import Trunk
from orbitds.train.collect import exchange, known
from orbitds.train.ring import attend_in_ring


def share_tokens(
    trunk: Trunk, group: dist.ProcessGroup, *, by: Literal["ulysses", "ring"] = "ulysses"
) -> None:
    """Let the processes of a group share the tokens of each sample.

    They do from where variables meet until the decoder has painted; with compression in the blocks
    and in the decoder, for each process makes the whole quadtree.

    All of them are to be given the same samples and random numbers, and to divide the loss by their
    number: the sum of their gradients is then the gradient, and what they return is the same.

    Parameters
    ----------
    trunk
        Changed in place, before it is compiled or its weights are sharded by FSDP.
    by
        How tokens meet in attention, as of ``ParallelConfig.sequence_by``.

    Raises
    ------
    ValueError
        If the heads cannot be shared, or the samples of a batch have unequal lengths.

    References
    ----------
    Jacobs et al. (2023, arXiv 2309.14509), DeepSpeed Ulysses; Liu et al. (2023, arXiv 2310.01889),
    ring attention.
    """
    if trunk.compression is not None and trunk.compression.density is not None:
        raise ValueError(
            f"Wanted samples of equal length where processes share tokens, got the edge density "
            f"{trunk.compression.density:g}, which makes as many tokens as a field has edges. "
            "Set model.edge_density to null and model.compression, or parallel.sequence to 1."
        )
    shared = SharedTokens(group, by=by)
    for block in trunk.blocks:
        assert isinstance(block, Block)
        heads = _heads_here(block)
        if by == "ulysses" and heads % shared.world:
            raise ValueError(
                f"Wanted as many processes as divide the {heads} attention heads of a process, got "
                f"parallel.sequence {shared.world}. Change it, or set parallel.sequence_by to ring."
            )
        block.attend = shared.attend
        for name, layer in block.mlp.named_children():
            if isinstance(layer, nn.Dropout) and layer.p:
                setattr(block.mlp, name, _SharedDropout(layer.p, shared))
    assign(trunk, shared, SharedTokens(group, by=by))


@runtime_checkable
class Tokens(Protocol):
    """The tokens of samples, of which a process has some."""

    def take(self, count: int) -> slice:
        """Return the own ones of so many."""
        ...

    def split(self, tokens: Tensor) -> Tensor:
        """Return the own ones."""
        ...

    def join(self, tokens: Tensor) -> Tensor:
        """Return all of them."""
        ...


def assign(trunk: Trunk, tokens: Tokens, patches: Tokens) -> None:
    """Put shares where a trunk has places for them.

    Parameters
    ----------
    tokens
        Of the blocks.
    patches
        Of the decoder, where compression makes them others.
    """
    if trunk.compression is None:  # the decoder goes on with the same share
        trunk.own, trunk.decode.join = tokens.take, tokens.join
    else:
        trunk.split, trunk.join = tokens.split, tokens.join
        trunk.decode.split, trunk.decode.join = patches.split, patches.join


class SharedTokens:
    """The tokens of a sample, of which each process of a group has a share: a run of them.

    Shares differ by one token at most. How long they are is known from the last ``take``.
    """

    def __init__(self, group: dist.ProcessGroup, *, by: Literal["ulysses", "ring"]) -> None:
        self.group = known(group)
        self.world, self.rank = dist.get_world_size(group), dist.get_rank(group)
        self.by = by
        self.sizes = [0] * self.world

    @property
    def own(self) -> slice:
        """The tokens of this process."""
        before = sum(self.sizes[: self.rank])
        return slice(before, before + self.sizes[self.rank])

    def take(self, count: int) -> slice:
        """Return which of so many tokens are those of this process."""
        self.sizes = shares(count, self.world)
        return self.own

    def split(self, tokens: Float[Tensor, "B N D"]) -> Float[Tensor, "B n D"]:
        """Return the own tokens. The gradient is that of the own tokens, a part of the whole."""
        return tokens[:, self.take(tokens.shape[1])].contiguous()

    def join(self, tokens: Float[Tensor, "B n D"]) -> Float[Tensor, "B N D"]:
        """Return the tokens of all processes; backward, the sum of what all say of the own ones."""
        rows = rearrange(tokens, "b n d -> n b d")
        # a copy for each process: their gradients come home as such, and are added here
        rows = rows.repeat(self.world, 1, 1)
        rows = exchange(rows, [self.sizes[self.rank]] * self.world, self.sizes, self.group)
        return rearrange(rows, "n b d -> b n d")

    def attend(
        self,
        query: Float[Tensor, "B h n d"],
        key: Float[Tensor, "B h n d"],
        value: Float[Tensor, "B h n d"],
        lengths: Sequence[int] | None = None,
    ) -> Float[Tensor, "B h n d"]:
        """Attend to the tokens of all processes; what ``Block.attend`` is replaced by."""
        assert lengths is None, "refused by share_tokens"
        if self.by == "ring":
            return attend_in_ring(query, key, value, self.sizes, self.group)
        batch, same = query.shape[0], [self.sizes[self.rank]] * self.world
        # the own tokens of all heads go, all tokens of the own heads come: rows are tokens
        three = torch.stack([query, key, value])
        rows = rearrange(three, "k b (s h) n d -> (s n) (k b h d)", s=self.world)
        rows = exchange(rows, same, self.sizes, self.group)
        head = query.shape[-1]
        query, key, value = rearrange(rows, "n (k b h d) -> k b h n d", k=3, b=batch, d=head)
        rows = rearrange(attend(query, key, value), "b h n d -> n (b h d)")
        rows = exchange(rows, self.sizes, same, self.group)
        return rearrange(rows, "(s n) (b h d) -> b (s h) n d", s=self.world, b=batch, d=head)


def shares(count: int, processes: int) -> list[int]:
    """Return how many of so many things each process takes: as equal as can be.

    Examples
    --------
    >>> shares(11, 3)
    [4, 4, 3]
    """
    least, more = divmod(count, processes)
    return [least + (process < more) for process in range(processes)]


class _SharedDropout(nn.Module):
    """Dropout that draws for the tokens of all processes, as one process would, and takes its own.

    So random numbers stay in step, and no two tokens share theirs.
    """

    def __init__(self, probability: float, shared: SharedTokens) -> None:
        super().__init__()
        self.p, self.shared = probability, shared

    def forward(self, tokens: Float[Tensor, "B n D"]) -> Float[Tensor, "B n D"]:
        if not self.training:
            return tokens
        batch, _, width = tokens.shape
        kept = nn.functional.dropout(tokens.new_ones(batch, sum(self.shared.sizes), width), self.p)
        return tokens * kept[:, self.shared.own]


def _heads_here(block: Block) -> int:
    """Return the attention heads that this process computes."""
    weight = block.query_key_value.weight
    rows = (weight.to_local() if isinstance(weight, DTensor) else weight).shape[0]
    return rows // (3 * block.head_width)
