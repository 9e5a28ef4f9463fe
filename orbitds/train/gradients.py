"""Gradients of whole weights, added up between the processes that each hold a copy of them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from orbitds.train.shard import local

# Numbers of a gradient in a parcel, rounded up to so many: the optimiser reads 16 bytes at once.
ALIGNED = 4


class GradientSum:
    """Adds up the gradients of weights over processes, beside the backward pass.

    Parameters
    ----------
    weights
        The same in all processes of the group; or the same parts of matrices that others share.
    blocks
        Groups of blocks. Once the backward pass is through with one, all gradients that wait
        travel as one tensor; the last ones when it has ended.
    group
        The processes.
    dtype
        Arithmetic of sums of blocks; by default that of the gradients.

    Attributes
    ----------
    is_last
        Whether the backward pass that comes next is the last of a step; to be set before it.

    Notes
    -----
    Autograd reaches weights in the same order in all processes, so parcels meet their likes.

    One sum at the end of a block, and no more of them: a sum takes multiprocessors and keeps them
    until those of other processes have theirs as well, and while kernels of the next block hold
    them, that lasts.
    """

    def __init__(
        self,
        weights: Iterable[Tensor],
        blocks: Sequence[Sequence[nn.Module]],
        group: dist.ProcessGroup,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.group, self.dtype, self.is_last = group, dtype, False
        # by the arithmetic that their gradients are added up in
        self._waiting: defaultdict[torch.dtype, list[Tensor]] = defaultdict(list)
        self._sent: list[tuple[list[Tensor], list[Tensor], dist.Work]] = []
        self._place = {
            id(weight): place
            for place, modules in enumerate(blocks)
            for module in modules
            for weight in module.parameters()
            if weight.requires_grad
        }
        self._missing = Counter(self._place.values())
        for weight in weights:
            if weight.requires_grad:
                weight.register_post_accumulate_grad_hook(self._take)

    def finish(self) -> None:
        """Send the rest, and return once each gradient is the sum."""
        for dtype in list(self._waiting):
            self._send(dtype)
        for gradients, parts, work in self._sent:
            work.wait()
            if gradients:
                _copy(gradients, parts)
        self._sent, self._missing = [], Counter(self._place.values())
        self.is_last = False

    def _take(self, weight: Tensor) -> None:
        if not self.is_last:  # gradients of earlier parts stay where they are, and grow
            return
        place = self._place.get(id(weight))
        if place is None:
            self._waiting[weight.dtype].append(weight)
            return
        dtype = self.dtype or weight.dtype
        self._waiting[dtype].append(weight)
        self._missing[place] -= 1
        if self._missing[place] == 0:
            self._send(dtype)

    def _send(self, dtype: torch.dtype) -> None:
        """Send what waits to be added up in an arithmetic as one tensor."""
        waiting = self._waiting.pop(dtype)
        gradients = [_gradient(weight) for weight in waiting]
        sizes = [room(gradient.numel()) for gradient in gradients]
        parcel = gradients[0].new_empty(sum(sizes), dtype=dtype)
        parts = []
        for piece, gradient in zip(parcel.split(sizes), gradients, strict=True):
            parts.append(piece[: gradient.numel()].view_as(gradient))
            # added up, too, where a debugging library may look for NaN
            piece[gradient.numel() :].zero_()
        _copy(parts, gradients)
        kept, sums = [], []
        for weight, gradient, part in zip(waiting, gradients, parts, strict=True):
            is_plain = gradient is weight.grad and gradient.is_contiguous()
            if is_plain and part.dtype == gradient.dtype:
                weight.grad = part  # it lies in the parcel from now on
            else:
                kept.append(gradient)
                sums.append(part)
        work = dist.all_reduce(parcel, group=self.group, async_op=True)
        assert work is not None
        self._sent.append((kept, sums, work))


def room(numbers: int) -> int:
    """Return the room of so many numbers in a parcel."""
    return -(-numbers // ALIGNED) * ALIGNED


def _copy(to: list[Tensor], tensors: list[Tensor]) -> None:
    torch._foreach_copy_(to, tensors)  # pyright: ignore[reportPrivateImportUsage]


def _gradient(weight: Tensor) -> Tensor:
    assert weight.grad is not None
    return local(weight.grad)
