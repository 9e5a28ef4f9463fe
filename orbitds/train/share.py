"""What a process writes of a state: its parts of the tensors, staged in host memory."""

import json
import math
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.planner import SavePlan, WriteItem
from torch.distributed.tensor import DTensor

from orbitds.train.manifest import DTYPES, File, Part, Whole, key, write_file
from orbitds.train.together import Together

_CODES = {dtype: code for code, dtype in DTYPES.items()}
# Bytes hashed and written at once: enough for a disk, and the thread lets others run in between.
_PIECE = 2**24


class Share:
    """What one process writes of a state, and the host memory that it is staged in.

    The memory is laid out as the file, and used again for each state.

    Parameters
    ----------
    tensors
        Those of the state, by name; the same names in all processes.
    together
        The processes that hold them; each part of a tensor is written by one.

    Raises
    ------
    ValueError
        If a tensor is of a kind that files do not hold, or no process has some part of it.
    """

    def __init__(self, tensors: Mapping[str, Tensor], together: Together) -> None:
        self.parts: dict[str, Whole] = {}
        """The tensors and who writes which part; known in the first process alone."""
        self._kind = _kind(tensors)
        self.file = shard_name(together.launch.rank)
        items = together.share_out(_local_plan(tensors), self._plan).items
        # wide elements first, so that each part begins at a multiple of its elements' size
        items = sorted(items, key=lambda item: -_dtype(item).itemsize)
        counts = [_bytes(item) for item in items]
        stops = [sum(counts[: place + 1]) for place in range(len(counts))]
        self._header = _header(items, stops)
        self._memory = torch.empty(sum(counts), dtype=torch.uint8)
        self._places = [
            (item, self._memory[stop - count : stop].view(_dtype(item)).view(_shape(item)))
            for item, count, stop in zip(items, counts, stops, strict=True)
        ]
        self._arrived: list[torch.cuda.Event] = []
        if self._places and any(tensor.is_cuda for tensor in tensors.values()):
            _pin(self._memory)

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        """Return whether tensors are laid out as those that this was made for."""
        return self._kind == _kind(tensors)

    def stage(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy this process's parts to host memory; then the tensors may change.

        On a GPU the copies are queued: what is queued later, such as the next step, comes after
        them, and this does not wait.
        """
        planner = DefaultSavePlanner()
        planner.set_up_planner(dict(tensors), is_coordinator=True)
        devices = set()
        for item, place in self._places:
            source = planner.resolve_data(item)
            assert isinstance(source, Tensor)  # there is nothing else in the plan
            place.copy_(source.detach(), non_blocking=True)
            devices.add(source.device)
        self._arrived = []
        for device in devices:
            if device.type == "cuda":
                self._arrived.append(torch.cuda.Event())
                self._arrived[-1].record(torch.cuda.current_stream(device))

    def write(self, folder: Path) -> File | None:
        """Write what is staged as a safetensors file; None if this process has no part.

        Raises
        ------
        OSError
            If that fails; the message names the file.
        """
        for event in self._arrived:
            event.synchronize()
        return write_file(folder / self.file, self._pieces()) if self._places else None

    def _pieces(self) -> Iterator[bytes | memoryview]:
        yield self._header
        data = self._memory.numpy().data
        for start in range(0, len(data), _PIECE):
            yield data[start : start + _PIECE]

    def _plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        plans, metadata = DefaultSavePlanner().create_global_plan(plans)
        parts: dict[str, list[Part]] = {}
        for rank, plan in enumerate(plans):
            for item in plan.items:
                box = {"offset": tuple(item.index.offset or ()), "shape": tuple(_shape(item))}
                parts.setdefault(item.index.fqn, []).append(Part(file=shard_name(rank), **box))
        for name, described in metadata.state_dict_metadata.items():
            assert isinstance(described, TensorStorageMetadata)  # no other in the plan
            self.parts[name] = Whole(
                dtype=_CODES[described.properties.dtype],
                shape=tuple(described.size),
                parts=tuple(parts[name]),
            )
        return plans


def shard_name(rank: int) -> str:
    """Return the name of the file that a process writes."""
    return f"shard-{rank:05d}.safetensors"


def _local_plan(tensors: Mapping[str, Tensor]) -> SavePlan:
    """Return what this process could write."""
    for name, tensor in tensors.items():
        if tensor.dtype not in _CODES:
            raise ValueError(
                f"Wanted a state of numbers that safetensors holds, got {tensor.dtype} for {name}. "
                "Keep it as two real tensors, or in a wider type."
            )
    planner = DefaultSavePlanner()
    planner.set_up_planner(dict(tensors), is_coordinator=True)
    plan = planner.create_local_plan()
    # where a tensor is shared by more processes than it has rows, the last have none of it
    return replace(plan, items=[item for item in plan.items if _bytes(item)])


def _kind(tensors: Mapping[str, Tensor]) -> dict[str, tuple]:
    return {
        name: (
            tensor.shape,
            tensor.dtype,
            tensor.device,
            tensor.placements if isinstance(tensor, DTensor) else None,
        )
        for name, tensor in tensors.items()
    }


def _dtype(item: WriteItem) -> torch.dtype:
    assert item.tensor_data is not None  # all items are tensors
    return item.tensor_data.properties.dtype


def _shape(item: WriteItem) -> torch.Size:
    assert item.tensor_data is not None  # all items are tensors
    return item.tensor_data.chunk.sizes


def _bytes(item: WriteItem) -> int:
    return math.prod(_shape(item)) * _dtype(item).itemsize


def _header(items: list[WriteItem], stops: list[int]) -> bytes:
    """Return what stands before the data in a safetensors file."""
    described = {
        key(item.index.fqn, item.index.offset or ()): {
            "dtype": _CODES[_dtype(item)],
            "shape": list(_shape(item)),
            "data_offsets": [stop - _bytes(item), stop],
        }
        for item, stop in zip(items, stops, strict=True)
    }
    text = json.dumps(described).encode()
    text += b" " * (-len(text) % 8)  # the data begin at a multiple of the widest element
    return len(text).to_bytes(8, "little") + text


def _pin(memory: Tensor) -> None:
    """Lock host memory, so that a GPU copies into it while the program goes on.

    Not by ``pin_memory``, which takes the next power of two: up to twice of many gigabytes.
    """
    runtime = torch.cuda.cudart()
    assert runtime is not None  # tensors are on a GPU
    failure = int(runtime.cudaHostRegister(memory.data_ptr(), memory.nbytes, 0))
    if failure:
        raise OSError(
            f"Wanted {memory.nbytes / 2**30:.1f} GiB of locked host memory to stage states in, got "
            f"error {failure} of CUDA. Ask the job for more memory, or raise `ulimit -l`."
        )
    release = weakref.finalize(memory, runtime.cudaHostUnregister, memory.data_ptr())
    release.atexit = False  # the system does it then
