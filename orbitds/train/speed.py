"""How fast a run goes: samples and tokens a second, share of the peak, memory, time left."""

import re
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

# Seconds between two looks at the clock of the device.
EVERY_S = 5.0

# Dense products in 1e12 operations a second for one device as PyTorch counts them, by its name:
# bfloat16, float32. From the data sheets of NVIDIA (without sparsity) and AMD (matrix units); an
# MI250X is two devices.
PEAK = (
    ("H100 PCIe", 756.0, 51.0),
    ("H100 NVL|H200 NVL", 835.0, 60.0),
    ("H100|H200|GH200", 989.0, 67.0),
    ("A100", 312.0, 19.5),
    ("MI300X", 1307.4, 163.4),
    ("MI250X", 191.5, 47.9),
)


class Work(NamedTuple):
    """What a step does, over all processes."""

    samples: int
    tokens: int
    """Tokens that pass the blocks."""
    operations: float
    """Of forward and backward; what checkpointing computes again is not counted."""


@dataclass(frozen=True)
class Rates:
    """How fast a run went since the last look."""

    samples_per_s: float
    tokens_per_s: float
    step_s: float
    """Mean time of a step."""
    of_peak: float | None
    """Share of what the devices could compute; None where that is not known."""
    memory_gib: float
    """Highest of this process so far: of its GPU, or else of the host."""
    left_s: float
    """Until the last step, at this rate."""

    @property
    def values(self) -> dict[str, float]:
        """By name, without what is not known."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def __str__(self) -> str:
        parts = [f"{self.samples_per_s:.3g} samples/s", f"{_short(self.tokens_per_s)} tokens/s"]
        if self.of_peak is not None:
            parts.append(f"{100 * self.of_peak:.0f} % of peak")
        parts += [f"{self.memory_gib:.1f} GiB", f"{_clock(self.left_s)} left"]
        return ", ".join(parts)


class Meter:
    """Takes note of each step, and now and then says how fast they went.

    Parameters
    ----------
    steps
        Of the run.
    first
        Steps that are done already.
    processes
        Of the run, each with a device like this one.
    clock
        Seconds.

    Notes
    -----
    Where the device is a GPU, it is waited for when rates are given, and not between.
    """

    def __init__(
        self,
        *,
        steps: int,
        first: int = 0,
        processes: int = 1,
        device: torch.device,
        dtype: Literal["float32", "bfloat16"] = "float32",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.steps, self.done, self.device, self.clock = steps, first, device, clock
        self._is_warm = False
        peak = peak_of(torch.cuda.get_device_name(device), dtype) if _is_gpu(device) else None
        self.peak = None if peak is None else peak * processes
        self._start()

    def step(self, work: Work) -> Rates | None:
        """Note a step; return the rates where ``EVERY_S`` seconds have gone by, or it is the last.

        The first step alone makes none: it allocates and compiles.
        """
        self.done += 1
        self._work.append(work)
        if not self._is_warm and self.done < self.steps:
            self._is_warm = True
            self._wait()
            self._start()
            return None
        if self.done < self.steps and self.clock() - self._since < EVERY_S:
            return None
        self._wait()
        seconds = max(self.clock() - self._since, 1e-9)
        count, sums = len(self._work), [sum(parts) for parts in zip(*self._work, strict=True)]
        rates = Rates(
            samples_per_s=sums[0] / seconds,
            tokens_per_s=sums[1] / seconds,
            step_s=seconds / count,
            of_peak=None if self.peak is None else sums[2] / seconds / self.peak,
            memory_gib=memory_bytes(self.device) / 2**30,
            left_s=(self.steps - self.done) * seconds / count,
        )
        self._start()
        return rates

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time of the context out: a validation or a save."""
        self._wait()
        before = self.clock()
        yield
        self._wait()
        self._since += self.clock() - before

    def _start(self) -> None:
        self._work: list[Work] = []
        self._since = self.clock()

    def _wait(self) -> None:
        if _is_gpu(self.device):
            torch.cuda.synchronize(self.device)


def peak_of(name: str, dtype: Literal["float32", "bfloat16"]) -> float | None:
    """Return the operations a second that a device of this name could do; None if not known."""
    for pattern, half, single in PEAK:
        if re.search(pattern, name):
            return 1e12 * (half if dtype == "bfloat16" else single)
    return None


def memory_bytes(device: torch.device) -> int:
    """Return the highest memory of this process so far: on its GPU, or else on the host."""
    if _is_gpu(device):
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _is_gpu(device: torch.device) -> bool:
    return device.type == "cuda"


def _short(number: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}"
