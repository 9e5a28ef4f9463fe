"""What a profile says of communication: how long it took, and how long nothing else was at work."""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

# Of a trace, what is at work on the device; ranges that a program names are not.
_AT_WORK = {"kernel", "gpu_memcpy", "gpu_memset"}
# Of names of kernels: cuBLAS, CUTLASS, cuDNN's and PyTorch's attention.
_PRODUCTS = ("gemm", "nvjet", "cutlass", "flash", "fmha", "sdpa")
Span = tuple[float, float]


class Overlap(NamedTuple):
    """Times of a device, in ms."""

    nccl: float
    """While communication kernels ran; they also wait there for other processes."""
    exposed: float
    """Of these, while no other kernel ran."""
    work: float
    """While other kernels ran."""
    span: float
    """From the first to the last of all."""
    products: float
    """While matrix products or attention ran."""


def profiled(call: Callable[[int], object], steps: int) -> Overlap:
    """Let something take so many steps under the profiler of a GPU; return the times of one."""
    kinds = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=kinds) as profile:
        call(steps)
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    return Overlap(*(part / steps for part in overlap(events)))


def overlap(events: Iterable[Mapping[str, Any]]) -> Overlap:
    """Return what the events of a Chrome trace, in microseconds, say of communication."""
    talks: list[Span] = []
    works: list[Span] = []
    products: list[Span] = []
    for event in events:
        if event.get("cat") not in _AT_WORK:
            continue
        begin, name = float(event["ts"]), event["name"].lower()
        span = (begin, begin + float(event["dur"]))
        (talks if name.startswith("nccl") else works).append(span)
        if any(word in name for word in _PRODUCTS):
            products.append(span)
    both = talks + works
    nccl, work, either, product = map(_length, (talks, works, both, products))
    reach = max(end for _, end in both) - min(begin for begin, _ in both) if both else 0.0
    return Overlap(*(part / 1e3 for part in (nccl, either - work, work, reach, product)))


def _length(spans: list[Span]) -> float:
    """Return how long any of some spans lasted."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        if end > reached:
            total += end - max(begin, reached)
            reached = end
    return total
