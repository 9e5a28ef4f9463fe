"""What a profile says of communication: how long it took, and how long nothing else was at work."""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

# Of a trace, what is at work on the device; ranges that a program names are not.
_AT_WORK = {"kernel", "gpu_memcpy", "gpu_memset"}
Span = tuple[float, float]


class Overlap(NamedTuple):
    """Times of a device, in ms."""

    nccl: float
    """While communication kernels ran; they also wait there for other processes."""
    exposed: float
    """Of these, while no other kernel ran."""
    work: float
    """While other kernels ran."""


def profiled(call: Callable[[], object], steps: int) -> Overlap:
    """Call something so many times under the profiler of a GPU; return the times of one call."""
    kinds = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=kinds) as profile:
        for _ in range(steps):
            call()
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
    for event in events:
        if event.get("cat") not in _AT_WORK:
            continue
        begin = float(event["ts"])
        spans = talks if event["name"].startswith("nccl") else works
        spans.append((begin, begin + float(event["dur"])))
    nccl, work, either = (_length(spans) for spans in (talks, works, talks + works))
    return Overlap(nccl / 1e3, (either - work) / 1e3, work / 1e3)


def _length(spans: list[Span]) -> float:
    """Return how long any of some spans lasted."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        if end > reached:
            total += end - max(begin, reached)
            reached = end
    return total
