"""Processes forked from one that knows what they import: they start in a fraction of a second.

There is one such server for each process of pytest, begun with its first child.
"""

import os
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerProcess

import torch.multiprocessing as mp

CONTEXT = mp.get_context("forkserver")
# What commands import at their start, and what they leave until it is needed.
KNOWN = (
    "cf_xarray.units",
    "dask.distributed",
    "einops._torch_specific",
    "netCDF4",
    "orbitds.cli",
    "orbitds.data.prepare",
    "orbitds.data.synthetic",
    "orbitds.infer.run",
    "orbitds.train.loop",
    "zarr",
)


def begin(
    function: Callable, *arguments, log: str | os.PathLike, environment: Mapping[str, str] = {}
) -> ForkServerProcess:
    """Start a module's own function in a process; what that says goes to the end of a file.

    It has the environment of this process, as it is now, and what is told.
    """
    told = dict(os.environ) | dict(environment)
    process = CONTEXT.Process(target=_said, args=(function, arguments, os.fspath(log), told))
    process.start()
    return process


def ended(process: ForkServerProcess, timeout_s: float = 120) -> int:
    """Wait for a process; return its exit code, negative for a signal."""
    process.join(timeout_s)
    assert process.exitcode is not None, f"process {process.pid} goes on after {timeout_s} s"
    return process.exitcode


def _said(function, arguments, log, environment):
    os.environ.clear()
    os.environ.update(environment)
    told = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(told, 1)
    os.dup2(told, 2)
    function(*arguments)
