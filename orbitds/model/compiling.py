"""What `torch.compile` is told, in one place."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function or module compiled as one graph for fixed sizes.

    Notes
    -----
    Inductor may pad strides of what it keeps between kernels. Where a stride is no multiple of
    128 bytes, PyTorch 2.11 on a GPU reads the residual path's gradient by padded strides and
    writes it by plain ones: most gradients of a float32 step on 21 x 34 cells were wrong by half,
    without an error. So the padding is off; to be taken back once `tests/test_gpu.py` passes
    without.
    """
    return torch.compile(
        function, fullgraph=True, dynamic=False, options={"comprehensive_padding": False}
    )
