"""Processes that are not there: to a process alone, each of them says what it says itself."""

# ruff: noqa: ANN401, ARG002, N802  signatures are those of PyTorch

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from scaling.machines import H200, with_host
from scaling.network import Network, seconds, wire
from torch import Tensor
from torch.testing._internal.distributed.fake_pg import FakeStore

NAME = "echo"
# Of two H200 of one host.
TIMED = Path(__file__).parents[1] / "results" / "scaling" / "measured_2.json"


class Pace(NamedTuple):
    """How fast echoes come back: as others would over a network, each operation at its time."""

    network: Network
    multiprocessors: int
    """Of a GPU, that an operation holds while it lasts."""


def ask_for_pace(command: argparse.ArgumentParser) -> None:
    """Let a command be told the pace of echoes."""
    command.add_argument(
        "--timed",
        type=Path,
        default=TIMED,
        help="of `bench_scaling.py measure`: its timed collectives are the pace of echoes",
    )
    command.add_argument(
        "--held", type=int, default=16, help="multiprocessors that an operation holds at that pace"
    )


def pace_of(options: argparse.Namespace) -> Pace:
    """Return the pace that a command was told; end it where nothing tells one."""
    if not options.timed.is_file():
        raise SystemExit(
            f"Wanted timed collectives, got no file {options.timed}. Name what `bench_scaling.py "
            "measure` wrote, or leave --timed out."
        )
    timed = json.loads(options.timed.read_text(encoding="utf-8"))
    return Pace(with_host(H200, timed), options.held)


class _Said(dist.Work):
    """An operation that streams wait for, where it takes its time."""

    def __init__(self, end: torch.cuda.Event | None = None) -> None:
        super().__init__()
        self._end = end

    def wait(self, timeout: Any = None) -> bool:
        """Let the current stream wait."""
        if self._end is not None:
            self._end.wait()
        return True


class Echo(dist.ProcessGroup):
    """Collectives with numbers like those of a run, which return at once, or at a pace.

    PyTorch's backend ``fake`` leaves what was in memory before in most of what is handed out: with
    zeros or NaN a device takes less power, and is quicker than in a run.

    At a pace an operation takes the time of ``scaling.network.seconds`` on a stream of its group,
    as NCCL's do, and there holds multiprocessors, once it has all of them; a sum also reads and
    writes what a process sends. That others are late is not in it, nor what links take of power.
    On CPUs the process waits.
    """

    pace: Pace | None = None

    def __init__(self, rank: int, size: int) -> None:
        super().__init__(rank, size)
        self._place, self._size = rank, size
        self._stream: torch.cuda.Stream | None = None
        self._arrived: Tensor | None = None
        self._held = 0

    @property
    def group_name(self) -> str:
        """Return the name by which PyTorch finds the group."""
        return dist.distributed_c10d._world.pg_names[self]

    def getBackendName(self) -> str:
        """Return the name that PyTorch shows."""
        return NAME

    def allreduce(self, tensors: Any, opts: Any = None) -> dist.Work:
        """Leave the part of a sum that is here."""
        return self._say("all_reduce", tensors[0], tensors[0])

    def broadcast(self, tensors: Any, opts: Any = None) -> dist.Work:
        """Leave what is here."""
        return _Said()

    def barrier(self, opts: Any = None) -> dist.Work:
        """Wait for nobody."""
        return _Said()

    def allgather(self, outputs: Any, inputs: Any, opts: Any = None) -> dist.Work:
        """Gather one's own tensor from each process."""
        for several, one in zip(outputs, inputs, strict=True):
            for output in several:
                output.copy_(one)
        return _Said()

    def scatter(self, outputs: Any, inputs: Any, opts: Any = None) -> dist.Work:
        """Hand out what is here, where it comes from here."""
        for output, several in zip(outputs, inputs, strict=False):
            output.copy_(several[self._place])
        return _Said()

    def _allgather_base(self, output: Tensor, own: Tensor, opts: Any = None) -> dist.Work:
        def gather() -> None:
            output.view(self._size, -1).copy_(own.reshape(1, -1).expand(self._size, -1))

        return self._say("all_gather", output, output, gather)

    def _reduce_scatter_base(self, output: Tensor, whole: Tensor, opts: Any = None) -> dist.Work:
        def scatter() -> None:
            output.view(-1).copy_(whole.reshape(self._size, -1)[self._place])

        return self._say("reduce_scatter", whole, output, scatter)

    def alltoall_base(
        self,
        output: Tensor,
        own: Tensor,
        _outputs: Sequence[int],
        _inputs: Sequence[int],
        opts: Any = None,
    ) -> dist.Work:
        """Hand one's own numbers back, again and again where more are wanted."""

        def exchange() -> None:
            flat, wanted = own.reshape(-1), output.numel()
            if 0 < flat.numel() < wanted:
                flat = flat.repeat(-(-wanted // flat.numel()))
            output.view(-1).copy_(flat[:wanted])

        return self._say("all_to_all", own, output, exchange)

    # the names of PyTorch 2.13; those above are of earlier versions
    all_gather_single = _allgather_base
    reduce_scatter_single = _reduce_scatter_base
    all_to_all_single = alltoall_base

    def _say(
        self,
        operation: str,
        whole: Tensor,
        result: Tensor,
        act: Callable[[], None] | None = None,
    ) -> dist.Work:
        """Do an operation, in its time."""
        pace = Echo.pace
        if pace is None:
            if act is not None:
                act()
            return _Said()
        ranks = dist.get_process_group_ranks(self)
        stride = ranks[1] - ranks[0] if len(ranks) > 1 else 1
        wanted = seconds(pace.network, operation, whole.nbytes, processes=self._size, stride=stride)
        on_gpu = whole.device.type == "cuda"
        with self._beside(whole.device) if on_gpu else nullcontext():
            if act is not None:
                act()
                # a copy within the device, which is part of the time
                wanted -= 2 * result.nbytes / pace.network.memory_bytes_per_s
            if not on_gpu:
                time.sleep(max(wanted, 0.0))
            elif wanted > 0:
                sent = 0.0 if act is not None else wire(operation, self._size, whole.nbytes)[1]
                self._held += pace.multiprocessors
                told = [self._arrived, *_scratch(whole.device), _ROOM]
                told += [int(sent / 16), int(1e9 * wanted), self._held]
                _kernel()(grid=(pace.multiprocessors, 1, 1), block=(_THREADS, 1, 1), args=told)
            return _Said(torch.cuda.current_stream().record_event() if on_gpu else None)

    @contextmanager
    def _beside(self, device: torch.device) -> Iterator[None]:
        """Be on the group's stream, once the current one is through with what it has."""
        if self._stream is None:
            self._stream = torch.cuda.Stream(device)
            self._arrived = torch.zeros(1, dtype=torch.int32, device=device)
        self._stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(self._stream):
            yield


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


@contextmanager
def at_pace(pace: Pace | None) -> Iterator[None]:
    """Let echoes come back at a pace while the context lasts; None: at once."""
    before, Echo.pace = Echo.pace, pace
    try:
        yield
    finally:
        Echo.pace = before


# Named so that a profile counts it as NCCL's. 640 threads and 48 KB a multiprocessor, or nearly:
# there is no room left beside it for products of matrices.
_HOLD = """
extern "C" __global__ void __launch_bounds__(THREADS, 1)
nccl_echo(unsigned *arrived, const float4 *from, float4 *to, int room, int vectors, int ns,
          unsigned all)
{
    __shared__ float4 held[3000];
    unsigned long long begin, now;
    if (threadIdx.x == 0) {
        atomicAdd(arrived, 1u);
        while ((int)(*(volatile unsigned *)arrived - all) < 0) { }
    }
    held[threadIdx.x] = from[threadIdx.x];
    __syncthreads();
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(begin));
    int step = gridDim.x * THREADS;
    for (int at = blockIdx.x * THREADS + threadIdx.x; at < vectors; at += 4 * step) {
        float4 some[4];
        #pragma unroll
        for (int i = 0; i < 4; i++) some[i] = from[(at + i * step) % room];
        #pragma unroll
        for (int i = 0; i < 4; i++) to[(at + i * step) % room] = some[i];
    }
    do {
        asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    } while (now - begin < (unsigned long long)ns);
    if (ns < 0)
        to[threadIdx.x] = held[threadIdx.x ^ 1];
}
"""
_THREADS = 640
_ROOM = 2**23  # vectors of 16 bytes: more than caches hold


@cache
def _kernel() -> Any:
    return torch.cuda._compile_kernel(_HOLD.replace("THREADS", str(_THREADS)), "nccl_echo")


@cache
def _scratch(device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.randn(4 * _ROOM, device=device), torch.randn(4 * _ROOM, device=device)
