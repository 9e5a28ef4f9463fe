"""What goes over the wire: the collective operations that PyTorch calls while a context lasts."""

from contextlib import ExitStack
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch.utils._python_dispatch import TorchDispatchMode

# Those of FSDP and of DTensor do not pass through torch.distributed's functions.
_DISPATCHED = {
    "c10d._allgather_base_.default": "all_gather",
    "c10d._reduce_scatter_base_.default": "reduce_scatter",
    "_c10d_functional.all_reduce.default": "all_reduce",
}


class Wire(TorchDispatchMode):
    """Notes operation and bytes of the whole tensor of each call, in ``calls``."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self._patches = ExitStack()

    def __enter__(self):
        for name in ("all_reduce", "all_to_all_single"):
            self._patches.enter_context(patch.object(dist, name, self._noted(name)))
        return super().__enter__()

    def __exit__(self, *failure):
        self._patches.close()
        return super().__exit__(*failure)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        operation = _DISPATCHED.get(str(func))
        if operation is not None:
            self.calls.append((operation, max(tensor.nbytes for tensor in _tensors(args))))
        return func(*args, **(kwargs or {}))

    def _noted(self, name):
        call = getattr(dist, name)

        def noted(*args, **kwargs):
            operation = name.removesuffix("_single")
            self.calls.append((operation, max(tensor.nbytes for tensor in _tensors(args))))
            return call(*args, **kwargs)

        return noted


def _tensors(arguments):
    for argument in arguments:
        if isinstance(argument, torch.Tensor):
            yield argument
        elif isinstance(argument, list | tuple):
            yield from _tensors(argument)
