"""What lies between host and device: copies that go on while the device computes."""

import copy
import math
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch
from torch import Tensor, nn

from orbitds.model.interface import DownscalingModel

# Memory of the host that is pinned at once: what is pinned is not there for anybody else.
PINNED_BYTES = 2**31


class Courier:
    """Carries tensors to a device and back, beside what is computed there.

    On a GPU each direction has a stream of its own and pinned memory on the host, so that neither
    the device nor the thread that calls waits for a copy. On the CPU nothing is carried.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._is_cuda = device.type == "cuda"
        self._in = torch.cuda.Stream(device) if self._is_cuda else None
        self._out = torch.cuda.Stream(device) if self._is_cuda else None

    def empty(self, *shape: int) -> Tensor:
        """Return memory of the host, float32, fast to copy to and from unless it is much."""
        is_small = math.prod(shape) * 4 <= PINNED_BYTES
        return torch.empty(*shape, pin_memory=self._is_cuda and is_small)

    def beside(self) -> AbstractContextManager[object]:
        """Let what is launched in the context follow what is brought, beside what is computed."""
        return nullcontext() if self._in is None else torch.cuda.stream(self._in)

    def bring(self, host: Tensor) -> Tensor:
        """Return a tensor of the host on the device; use it after ``arrived``."""
        if self._in is None:
            return host.to(self.device)
        with self.beside():
            pinned = host if host.is_pinned() else host.pin_memory()
            return pinned.to(self.device, non_blocking=True)

    def arrived(self, tensor: Tensor) -> Tensor:
        """Return what was brought; what is launched from now on waits for it."""
        if self._in is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_stream(self._in)
            tensor.record_stream(current)
        return tensor

    def send(self, tensor: Tensor, host: Tensor) -> None:
        """Copy what is computed into memory of the host; it is there after ``wait``."""
        if self._out is None:
            host.copy_(tensor)
            return
        self._out.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._out):
            host.copy_(tensor, non_blocking=True)
        tensor.record_stream(self._out)

    def wait(self) -> None:
        """Wait until all that was sent has come."""
        if self._out is not None:
            self._out.synchronize()


@lru_cache(maxsize=2)
def on_device(model: DownscalingModel, device: torch.device) -> DownscalingModel:
    """Return a model on a device, copied there once per process.

    The model itself stays where it is: others may compute with it, in other threads and elsewhere.
    """
    if next(model.parameters()).device == device:
        return model
    there: dict[int, object] = {}
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            moved = tensor.detach().to(device)
            is_weight = isinstance(tensor, nn.Parameter)
            there[id(tensor)] = nn.Parameter(moved, requires_grad=False) if is_weight else moved
    return copy.deepcopy(model, there)  # what is there already is not copied again
