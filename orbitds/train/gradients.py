"""Gradients of whole weights, added up between the processes that each hold a copy of them."""

from collections import Counter
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
    ) -> None:
        self.group, self.is_last = group, False
        self._waiting: list[Tensor] = []
        self._sent: list[tuple[list[tuple[Tensor, Tensor]], dist.Work | None]] = []
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
        self._send()
        for copied, work in self._sent:
            if work is not None:
                work.wait()
            for gradient, part in copied:
                gradient.copy_(part)
        self._sent, self._missing = [], Counter(self._place.values())
        self.is_last = False

    def _take(self, weight: Tensor) -> None:
        if not self.is_last:  # gradients of earlier parts stay where they are, and grow
            return
        self._waiting.append(weight)
        place = self._place.get(id(weight))
        if place is not None:
            self._missing[place] -= 1
            if self._missing[place] == 0:
                self._send()

    def _send(self) -> None:
        if not self._waiting:
            return
        gradients = [_gradient(weight) for weight in self._waiting]
        sizes = [room(gradient.numel()) for gradient in gradients]
        parcel = gradients[0].new_empty(sum(sizes))
        parts = []
        for piece, gradient in zip(parcel.split(sizes), gradients, strict=True):
            parts.append(piece[: gradient.numel()].view_as(gradient))
            # added up, too, where a debugging library may look for NaN
            piece[gradient.numel() :].zero_()
        torch._foreach_copy_(parts, gradients)  # pyright: ignore[reportPrivateImportUsage]
        copied = []
        for weight, gradient, part in zip(self._waiting, gradients, parts, strict=True):
            if gradient is weight.grad and gradient.is_contiguous():
                weight.grad = part  # it lies in the parcel from now on
            else:
                copied.append((gradient, part))
        work = dist.all_reduce(parcel, group=self.group, async_op=True)
        self._sent.append((copied, work))
        self._waiting = []


def room(numbers: int) -> int:
    """Return the room of so many numbers in a parcel."""
    return -(-numbers // ALIGNED) * ALIGNED


def _gradient(weight: Tensor) -> Tensor:
    assert weight.grad is not None
    return local(weight.grad)
