"""Channel parallelism: processes share the input variables of a sample."""

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from orbitds.model.aggregate import VariableAggregation
from orbitds.train.collect import known, largest, total
from orbitds.train.sequence import shares


def share_variables(aggregate: VariableAggregation, group: dist.ProcessGroup) -> None:
    """Let the processes of a group share the variables that are aggregated, statics too.

    Each weighs its own ones; the softmax over all of them is put together from the partial results,
    exactly. So the pixels and scores of a variable are made in one process alone. There may be
    fewer variables than processes.

    All processes are to be given the same samples and random numbers, and to divide the loss by
    their number: the sum of their gradients is then the gradient, and what they return is the same.

    Parameters
    ----------
    aggregate
        Changed in place.

    Notes
    -----
    D-CHAG sends one map of tokens for each process and lets a further cross-attention weigh them.
    Here the softmax is that of one process, so what was trained on one runs on many; as much is
    sent: one map, and a number for each head.

    References
    ----------
    D-CHAG (2025, arXiv 2506.21411), distributed cross-channel hierarchical aggregation.
    """
    shared = SharedVariables(group)
    aggregate.own, aggregate.combine, aggregate.add = shared.own, shared.combine, shared.add


class SharedVariables:
    """The variables of a sample, of which each process of a group has a share."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self.group = known(group)
        self.world, self.rank = dist.get_world_size(group), dist.get_rank(group)

    def own(self, count: int) -> slice:
        """Return which of so many variables are those of this process: none, where it is late."""
        sizes = shares(count, self.world)
        before = sum(sizes[: self.rank])
        return slice(before, before + sizes[self.rank])

    def combine(
        self, out: Float[Tensor, "B N h d"], level: Float[Tensor, "B N h"]
    ) -> tuple[Float[Tensor, "B N h d"], Float[Tensor, "B N h"]]:
        """Return the weighted mean over all variables, and the weight of the own ones in it.

        Parameters
        ----------
        out
            Weighted mean of the own variables; anything finite where there is none.
        level
            Logarithm of the sum of the exponentials of their scores; the lowest number where there
            is none.
        """
        weight = (level - largest(level, self.group)).exp()  # some process has 1
        # summed in float32 or better, mean and weight in one message
        wide = torch.promote_types(out.dtype, torch.float32)
        parts = torch.cat([out.to(wide) * weight[..., None], weight[..., None].to(wide)], dim=-1)
        sums = total(parts, self.group)
        mean = sums[..., :-1] / sums[..., -1:]
        return mean.to(out.dtype), weight / sums[..., -1].to(weight.dtype)

    def add(self, image: Float[Tensor, "B H W"]) -> Float[Tensor, "B H W"]:
        """Return the sum of the images of all processes, in all of them the same to the bit."""
        return total(image, self.group)
