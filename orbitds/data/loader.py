"""Batches of a run on their device, read ahead by worker processes."""

import shutil
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import cycle
from multiprocessing import get_all_start_methods
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from orbitds.data.batch import Batch, Reader, Sample
from orbitds.data.order import MixedSampler, Order, Task, mirrored
from orbitds.data.sample import Samples

# Where POSIX shared memory lives; other systems do not limit it.
SHARED = Path("/dev/shm")


class Loaded(NamedTuple):
    """A batch of one pair, ready for the model."""

    pair: int
    """Which of the run's pairs."""
    sample: Sample
    indices: list[int]
    """Which samples of the pair they are."""
    place: int
    """Place of the first of them in the step's batch of all ranks."""


def training_loader(
    samples: Sequence[Samples],
    *,
    order: Order,
    workers: int = 0,
    prefetch: int = 2,
    mirror: Sequence[str] = (),
) -> Iterator[Loaded]:
    """Yield the batches of the steps of an order.

    What is read depends on the order and on ``mirror`` alone: neither workers nor an earlier part
    of the run change it.

    Parameters
    ----------
    samples
        The pairs of the run; all on one device.
    order
        Steps, ranks, seed, and the share of each pair.
    workers
        Processes that read; 0 reads in this one.
    prefetch
        Batches that each worker reads ahead.
    mirror
        Axes along which batches are mirrored at random.

    Raises
    ------
    ValueError
        If a value or a setting does not fit, also where a worker finds it.
    RuntimeError
        If a worker dies.
    OSError
        If shared memory is too small for what is read ahead.
    """
    device = samples[0].assemble.device
    readers = [part.reader for part in samples]
    batches = stored_batches(readers, device, order, workers=workers, prefetch=prefetch)
    for task, batch in _ahead(batches, device):
        chosen = batch._replace(mirror=mirrored(mirror, order.seed, task.step))
        sample = samples[task.pair].assemble(chosen)
        yield Loaded(task.pair, sample, task.indices, task.place)


def stored_batches(
    readers: Sequence[Reader],
    device: torch.device,
    order: Order,
    *,
    workers: int = 0,
    prefetch: int = 2,
) -> Iterator[tuple[Task, Batch]]:
    """Yield batches as they are stored, in host memory; see ``training_loader``.

    A batch is valid until the second next one is asked for: its memory is used again, since new
    pages would cost as much as reading. With workers they share it, locked where the device is a
    GPU.
    """
    tasks = MixedSampler(
        list(map(len, readers)), order, tiles=[len(reader.tiles.tiles) for reader in readers]
    )
    share = -(-order.batch_size // (order.world * order.parts))
    if not workers:
        size = max(reader.bytes_of(share) for reader in readers)
        buffers = [torch.empty(size, dtype=torch.uint8) for _ in range(2)]
        for task, buffer in zip(tasks, cycle(buffers), strict=False):
            yield task, readers[task.pair].read(task.indices, buffer)
        return
    yield from _from_workers(readers, tasks, share, workers, prefetch, device)


def _from_workers(
    readers: Sequence[Reader],
    tasks: MixedSampler,
    share: int,
    workers: int,
    prefetch: int,
    device: torch.device,
) -> Iterator[tuple[Task, Batch]]:
    """Yield batches that workers wrote into shared memory; each is valid until the second next."""
    # one slot for each batch that is read ahead, the one in use, and the one before, whose copy to
    # the device may not have ended when the next task is given out
    count = workers * prefetch + 2
    slots = _shared(count, max(reader.bytes_of(share) for reader in readers))
    loader = DataLoader(
        _Tasks(readers, slots),
        batch_sampler=_Slotted(tasks, count),  # pyright: ignore[reportArgumentType]  any iterable
        collate_fn=_as_it_is,
        num_workers=workers,
        prefetch_factor=prefetch,
        # or the first batch would draw the workers' seeds from the generator of the run
        generator=torch.Generator(),
        # never fork: the threads of Zarr would not survive it
        multiprocessing_context=_start_method(),
    )
    pinned = device.type == "cuda" and _pinned(slots)
    batches = iter(loader)
    try:
        for task, slot in batches:
            if isinstance(slot, Exception):
                raise slot
            reader = readers[task.pair]
            views = reader.views(slots[slot], len(task.indices))
            yield task, Batch(*views, indices=task.indices)
    finally:
        del batches  # ends the workers
        if pinned:
            torch.cuda.synchronize(device)
            runtime: Any = torch.cuda.cudart()
            runtime.cudaHostUnregister(slots.data_ptr())


class _Tasks(Dataset):
    """What a worker does: read a task into its slot, and say which it was."""

    def __init__(self, readers: Sequence[Reader], slots: Tensor) -> None:
        self.readers = list(readers)
        self.slots = slots

    def __getitems__(self, task: tuple[Task, int]) -> tuple[Task, int | Exception]:
        what, slot = task
        try:
            self.readers[what.pair].read(what.indices, self.slots[slot])
        except Exception as error:
            # types of libraries may not survive the way through the queue
            own = type(error).__module__ == "builtins"
            told = error if own else RuntimeError(f"{type(error).__name__}: {error}")
            told.add_note(traceback.format_exc())
            return what, told
        return what, slot


class _Slotted:
    """The tasks of a run, each with the slot that it is read into."""

    def __init__(self, tasks: MixedSampler, slots: int) -> None:
        self.tasks, self.slots = tasks, slots

    def __iter__(self) -> Iterator[tuple[Task, int]]:
        return ((task, place % self.slots) for place, task in enumerate(self.tasks))

    def __len__(self) -> int:
        return len(self.tasks)


def _ahead(
    batches: Iterator[tuple[Task, Batch]], device: torch.device
) -> Iterator[tuple[Task, Batch]]:
    """Yield batches on the device; on a GPU each is copied while the one before is worked on."""
    if device.type != "cuda":
        yield from batches
        return
    stream = torch.cuda.Stream(device)
    waiting: deque[tuple[Task, Batch, torch.Event]] = deque()
    for task, batch in batches:
        with torch.cuda.stream(stream):
            coming = batch.to(device)
            waiting.append((task, coming, stream.record_event()))
        if len(waiting) == 2:
            yield _arrived(*waiting.popleft())
    while waiting:
        yield _arrived(*waiting.popleft())


def _arrived(task: Task, batch: Batch, copied: torch.Event) -> tuple[Task, Batch]:
    copied.synchronize()  # its slot may be written to after this
    for part in batch[:3]:
        part.record_stream(torch.cuda.current_stream(part.device))
    return task, batch


def _shared(count: int, size: int) -> Tensor:
    """Return shared memory of ``count`` slots of ``size`` bytes."""
    wanted = count * size
    free = shutil.disk_usage(SHARED).free if SHARED.is_dir() else wanted
    if wanted > free:
        raise OSError(
            f"Wanted {wanted / 2**30:.2f} GiB of shared memory for {count} batches, got "
            f"{free / 2**30:.2f} GiB free in {SHARED}. Lower data.workers or data.prefetch, or "
            "give the container more (docker run --shm-size)."
        )
    return torch.empty(count, size, dtype=torch.uint8).share_memory_()


def _pinned(slots: Tensor) -> bool:
    """Lock shared memory so that the GPU copies from it by itself; False if the system refuses."""
    runtime: Any = torch.cuda.cudart()
    return int(runtime.cudaHostRegister(slots.data_ptr(), slots.nbytes, 0)) == 0


def _start_method() -> str:
    return "forkserver" if "forkserver" in get_all_start_methods() else "spawn"


def _as_it_is(answer: object) -> object:
    return answer
