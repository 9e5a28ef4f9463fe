"""Gradients of whole weights, added up between the processes that each hold a copy of them."""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

from orbitds.train.shard import local

# Gradients leave when so much of them waits: early enough to travel beside the backward pass, seldom
# enough. A sum holds multiprocessors while it waits for the other processes, so that products take
# longer: on two H200 the 126M size lost 2.0 % of a step with 32 MiB, 1.3 % with 128, 0.6 % with all.
PARCEL_BYTES = 256 * 2**20
# Smaller gradients travel together, copied into one tensor; a larger one is not worth the copy.
COPIED_BYTES = 32 * 2**20


class GradientSum:
    """Adds up the gradients of weights over processes, beside the backward pass.

    Parameters
    ----------
    weights
        The same in all processes of the group; or the same parts of matrices that others share.
    group
        The processes.

    Notes
    -----
    Autograd reaches weights in the same order in all processes, so parcels meet their likes.
    """

    def __init__(self, weights: Iterable[Tensor], group: dist.ProcessGroup) -> None:
        self.group, self.is_last = group, False
        self._waiting: list[Tensor] = []
        self._sent: list[tuple[list[Tensor], Tensor, dist.Work | None]] = []
        for weight in weights:
            if weight.requires_grad:
                weight.register_post_accumulate_grad_hook(self._take)

    def finish(self) -> None:
        """Send the rest, and return once each gradient is the sum."""
        self._send()
        for gradients, parcel, work in self._sent:
            if work is not None:
                work.wait()
            if not gradients:  # it travelled as it is
                continue
            parts = parcel.split([gradient.numel() for gradient in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))
        self._sent = []

    def _take(self, weight: Tensor) -> None:
        if not self.is_last:  # gradients of earlier parts stay where they are, and grow
            return
        assert weight.grad is not None
        self._waiting.append(local(weight.grad))
        if sum(gradient.nbytes for gradient in self._waiting) >= PARCEL_BYTES:
            self._send()

    def _send(self) -> None:
        small = []
        for gradient in self._waiting:
            if gradient.nbytes >= COPIED_BYTES and gradient.is_contiguous():
                self._add_up([], gradient)
            else:
                small.append(gradient)
        if small:
            self._add_up(small, torch.cat([gradient.flatten() for gradient in small]))
        self._waiting = []

    def _add_up(self, gradients: list[Tensor], parcel: Tensor) -> None:
        work = dist.all_reduce(parcel, group=self.group, async_op=True)
        self._sent.append((gradients, parcel, work))
