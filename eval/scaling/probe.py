"""How fast processes talk: times of collectives by size, and the line through them."""

import statistics
import time
from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist

# Bytes of the whole tensor: what a norm, a block of each size, and a parcel of gradients have.
SIZES = tuple(2**power for power in (12, 16, 20, 22, 24, 26, 28))
TINY_SIZES = tuple(2**power for power in (10, 14, 18))
# PyTorch 2.13 renames what earlier versions have under the second name.
all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
OPERATIONS = ("all_gather", "reduce_scatter", "all_reduce", "all_to_all")


def probe(device: torch.device, sizes: Sequence[int] = SIZES, repeats: int = 10) -> list[dict]:
    """Time collectives over all processes; those that do not work here say why.

    Returns
    -------
    list of dict
        Operation, processes, bytes of the whole tensor, median seconds of one call of several
        that are queued one after another, each process waiting for the last.
    """
    rows = []
    for operation in OPERATIONS:
        for size in sizes:
            row = {"operation": operation, "processes": dist.get_world_size(), "bytes": size}
            try:
                call = _call(operation, size, device)
                row["s"] = _time(call, device, repeats)
            except RuntimeError as error:  # gloo knows fewer operations than NCCL
                row["error"] = str(error).splitlines()[0]
            rows.append(row)
    return rows


def fit(points: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """Fit seconds = steps * latency + bytes / bandwidth, the relative errors least squares.

    Parameters
    ----------
    points
        Steps, bytes that a process sends, seconds.

    Returns
    -------
    tuple of float
        Latency in s, bandwidth in bytes/s. A latency below zero is given as zero.

    Raises
    ------
    ValueError
        If there are fewer than two different points.
    """
    # columns divided by the seconds: what is left is 1
    a = [steps / seconds for steps, _, seconds in points]
    b = [sent / seconds for _, sent, seconds in points]
    aa, bb, ab = _dot(a, a), _dot(b, b), _dot(a, b)
    determinant = aa * bb - ab * ab
    if determinant <= 1e-12 * aa * bb:
        raise ValueError(
            f"Wanted times of two different sizes or more, got {len(points)} that do not differ. "
            "Measure more sizes."
        )
    latency = (sum(a) * bb - sum(b) * ab) / determinant
    slowness = (sum(b) * aa - sum(a) * ab) / determinant
    if latency < 0:
        latency, slowness = 0.0, sum(b) / bb
    return latency, 1 / slowness


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(one * other for one, other in zip(left, right, strict=True))


def _call(operation: str, size: int, device: torch.device) -> Callable[[], object]:
    world = dist.get_world_size()
    whole = torch.zeros(size // 4 // world * world, device=device)
    part = torch.zeros(len(whole) // world, device=device)
    calls: dict[str, Callable[[], object]] = {
        "all_gather": lambda: all_gather(whole, part),
        "reduce_scatter": lambda: reduce_scatter(part, whole),
        "all_reduce": lambda: dist.all_reduce(whole),
        "all_to_all": lambda: dist.all_to_all_single(torch.empty_like(whole), whole),
    }
    return calls[operation]


def _time(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    in_a_row = 5
    times = []
    for number in range(repeats + 2):
        dist.barrier()
        _wait(device)
        begin = time.perf_counter()
        for _ in range(in_a_row):
            call()
        _wait(device)
        if number >= 2:
            times.append((time.perf_counter() - begin) / in_a_row)
    # the slowest process counts
    told: list[float] = [0.0] * dist.get_world_size()
    dist.all_gather_object(told, statistics.median(times))
    return max(told)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
