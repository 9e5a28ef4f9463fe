"""Which processor to compute on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def choose_device(name: str | None = None) -> torch.device:
    """Return the device of a name such as ``cuda:1``; the first GPU, else the CPU, for ``auto``.

    Raises
    ------
    ValueError
        If there is no such device here.
    """
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()  # those of `meta` have no values to give back
    except (RuntimeError, AssertionError) as error:
        count = torch.cuda.device_count()
        raise ValueError(
            f"Wanted a device of this machine, got {name!r}; it has the CPU and {count} GPUs. "
            "Choose `cpu`, `cuda` (the first GPU), `cuda:1` (the second), or `auto`."
        ) from error
    return device


@contextmanager
def reproducible(wanted: bool) -> Iterator[None]:  # noqa: FBT001  all that it says
    """Take only kernels that give the same bits each time while the context lasts, if wanted.

    Raises
    ------
    RuntimeError
        From an operation that has no such kernel.
    """
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        # what cuBLAS asks for; read when it is first used
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(mode=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=before)
