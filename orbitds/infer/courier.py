"""What lies between host and device: copies that go on while the device computes."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

# Memory of the host that is pinned at once: what is pinned is not there for anybody else.
PINNED_BYTES = 2**31


class Courier:
    """Carries tensors to a device and back, beside what is computed there.

    On a GPU copies have a stream of their own and pinned memory on the host, so that neither the
    device nor the thread that calls waits for them. On the CPU nothing is carried.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._is_cuda = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if self._is_cuda else None

    def empty(self, *shape: int) -> Tensor:
        """Return memory of the host, float32, fast to copy to and from unless it is much."""
        is_small = math.prod(shape) * 4 <= PINNED_BYTES
        return torch.empty(*shape, pin_memory=self._is_cuda and is_small)

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Let what is launched in the context run beside what is computed."""
        if self._stream is None:
            with nullcontext():
                yield
        else:
            with torch.cuda.stream(self._stream):
                yield

    def bring(self, host: Tensor) -> Tensor:
        """Return a tensor of the host on the device; use it after ``arrived``."""
        if not self._is_cuda:
            return host.to(self.device)
        with self.beside():
            pinned = host if host.is_pinned() else host.pin_memory()
            return pinned.to(self.device, non_blocking=True)

    def arrived(self, tensor: Tensor) -> Tensor:
        """Return what was brought; what is launched from now on waits for it."""
        if self._stream is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_stream(self._stream)
            tensor.record_stream(current)
        return tensor

    def send(self, tensor: Tensor, host: Tensor) -> None:
        """Copy what is computed into memory of the host; it is there after ``wait``."""
        if self._stream is None:
            host.copy_(tensor)
            return
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with self.beside():
            host.copy_(tensor, non_blocking=True)
        tensor.record_stream(self._stream)

    def wait(self) -> None:
        """Wait until all that was sent has come."""
        if self._stream is not None:
            self._stream.synchronize()
