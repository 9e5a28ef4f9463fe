"""Reading, computing and writing at once: a few units are on their way at any time."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from orbitds.infer.units import Unit
from orbitds.mistakes import MISTAKES

# Units read ahead, and units whose values wait for the disk: memory holds these and one between.
READ_AHEAD, WRITE_BEHIND = 2, 2
# How long a thread may keep the interpreter from another that waits for it.
TURN_S = 1e-4


@dataclass
class Spent:
    """What was done, and the seconds that each kind of work was busy with."""

    reading_s: float = 0.0
    computing_s: float = 0.0
    writing_s: float = 0.0
    done: list[Unit] = field(default_factory=list)
    """Units that are on the disk and noted."""
    failed: dict[int, str] = field(default_factory=dict)
    """Why units were left out, by number."""


@contextmanager
def _short_turns() -> Iterator[None]:
    """Let threads have the interpreter for short turns.

    The thread that launches kernels asks for it hundreds of times a batch; if each time it waited
    5 ms, the usual turn, for one that plans reads, a GPU would be idle most of the time.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(min(TURN_S, usual))
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


@_short_turns()
def work(
    units: Iterator[Unit],
    read: Callable[[Unit], Any],
    compute: Callable[[Any, Unit], Any],
    write: Callable[[Unit, Any], None],
    *,
    spent: Spent,
    stops: Callable[[], bool],
    failed: Callable[[Unit, Exception], bool],
    report: Callable[[int], None],
) -> None:
    """Work through units: one thread reads ahead, this one computes, others write.

    An error in any of them ends the work, when what is being written is written; the values of
    other units are dropped.

    Parameters
    ----------
    units
        Asked for the next one when there is room for it.
    read, compute, write
        What is done with a unit, one after another. Only one is read and one computed at a time.
    spent
        Kept up to date.
    stops
        Whether to take up no further unit.
    failed
        Hears of a unit that cannot be read or computed; whether to go on with others.
    report
        Hears how many units are written.
    """
    reader = ThreadPoolExecutor(1, thread_name_prefix="read")
    writers = ThreadPoolExecutor(WRITE_BEHIND, thread_name_prefix="write")
    coming: deque[tuple[Unit, Future]] = deque()
    going: deque[tuple[Unit, Future]] = deque()

    def landed(unit: Unit, future: Future) -> None:
        spent.writing_s += future.result()
        spent.done.append(unit)
        report(len(spent.done))

    try:
        while not stops():
            while len(coming) < READ_AHEAD and (unit := next(units, None)) is not None:
                coming.append((unit, reader.submit(_timed, read, unit)))
            if not coming:
                break
            unit, future = coming.popleft()
            try:
                block, seconds = future.result()
                spent.reading_s += seconds
                computed, seconds = _timed(compute, block, unit)
                spent.computing_s += seconds
            except MISTAKES as error:
                if not failed(unit, error):
                    raise
                continue
            while len(going) >= WRITE_BEHIND or (going and going[0][1].done()):
                landed(*going.popleft())
            going.append((unit, writers.submit(_seconds, write, unit, computed)))
            del block, computed  # while the next ones come
        while going:
            landed(*going.popleft())
    finally:
        reader.shutdown(cancel_futures=True)
        writers.shutdown(cancel_futures=True)


def _timed(function: Callable[..., Any], *arguments: object) -> tuple[Any, float]:
    started = time.monotonic()
    return function(*arguments), time.monotonic() - started


def _seconds(function: Callable[..., Any], *arguments: object) -> float:
    return _timed(function, *arguments)[1]
