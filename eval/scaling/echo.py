"""Processes that are not there: to a process alone, each of them says what it says itself."""

# ruff: noqa: ANN401, ARG002, N802  signatures are those of PyTorch

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.futures import Future
from torch.testing._internal.distributed.fake_pg import FakeStore

NAME = "echo"


class Echo(dist.ProcessGroup):
    """Collectives that return at once, with numbers like those of a run.

    PyTorch's backend ``fake`` leaves what was in memory before in most of what is handed out: with
    zeros or NaN a device takes less power, and is quicker than in a run.
    """

    def __init__(self, rank: int, size: int) -> None:
        super().__init__(rank, size)
        self._place, self._size = rank, size

    @property
    def group_name(self) -> str:
        """Return the name by which PyTorch finds the group."""
        return dist.distributed_c10d._world.pg_names[self]

    def getBackendName(self) -> str:
        """Return the name that PyTorch shows."""
        return NAME

    def allreduce(self, tensors: Any, opts: Any = None) -> dist.Work:
        """Leave the part of a sum that is here."""
        return _done(tensors)

    def broadcast(self, tensors: Any, opts: Any = None) -> dist.Work:
        """Leave what is here."""
        return _done(tensors)

    def barrier(self, opts: Any = None) -> dist.Work:
        """Wait for nobody."""
        return _done([])

    def allgather(self, outputs: Any, inputs: Any, opts: Any = None) -> dist.Work:
        """Gather one's own tensor from each process."""
        for several, one in zip(outputs, inputs, strict=True):
            for output in several:
                output.copy_(one)
        return _done(outputs)

    def scatter(self, outputs: Any, inputs: Any, opts: Any = None) -> dist.Work:
        """Hand out what is here, where it comes from here."""
        for output, several in zip(outputs, inputs, strict=False):
            output.copy_(several[self._place])
        return _done(outputs)

    def _allgather_base(self, output: Tensor, own: Tensor, opts: Any = None) -> dist.Work:
        output.view(self._size, -1).copy_(own.reshape(1, -1).expand(self._size, -1))
        return _done([output])

    def _reduce_scatter_base(self, output: Tensor, whole: Tensor, opts: Any = None) -> dist.Work:
        output.view(-1).copy_(whole.reshape(self._size, -1)[self._place])
        return _done([output])

    def alltoall_base(
        self,
        output: Tensor,
        own: Tensor,
        _outputs: Sequence[int],
        _inputs: Sequence[int],
        opts: Any = None,
    ) -> dist.Work:
        """Hand one's own numbers back, again and again where more are wanted."""
        flat, wanted = own.reshape(-1), output.numel()
        if 0 < flat.numel() < wanted:
            flat = flat.repeat(-(-wanted // flat.numel()))
        output.view(-1).copy_(flat[:wanted])
        return _done([output])

    # the names of PyTorch 2.13; those above are of earlier versions
    all_gather_single = _allgather_base
    reduce_scatter_single = _reduce_scatter_base
    all_to_all_single = alltoall_base


@contextmanager
def among(world: int) -> Iterator[None]:
    """Be the first of so many processes while the context lasts."""
    if NAME not in dist.Backend.backend_list:
        dist.Backend.register_backend(
            NAME, lambda _store, rank, size, _timeout: Echo(rank, size), devices=["cpu", "cuda"]
        )
    dist.init_process_group(NAME, store=FakeStore(), rank=0, world_size=world)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _done(result: Any) -> dist.Work:
    device = next((one.device for one in result if isinstance(one, Tensor)), torch.device("cpu"))
    future: Future = Future(devices=[device] if device.type == "cuda" else None)
    future.set_result(result)
    return torch._C._distributed_c10d._create_work_from_future(future)
