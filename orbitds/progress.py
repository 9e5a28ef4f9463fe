"""Progress for people: a bar on a terminal, a line now and then in a job's log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# A job's log file wants a line now and then, not a bar.
LINE_EVERY_S = 5.0


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """Show progress; yields ``report(done, text)``.

    On a terminal a bar; otherwise one line every few seconds, so that a job's log stays readable.
    """
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield _lines(label, total)
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
        console=console,
    )
    with bar:
        task = bar.add_task(label, total=total, text="")

        def report(done: int, text: str = "") -> None:
            bar.update(task, completed=done, text=text)

        yield report


def _lines(label: str, total: int) -> Callable[[int, str], None]:
    last = time.monotonic() - LINE_EVERY_S

    def report(done: int, text: str = "") -> None:
        nonlocal last
        if done == total or time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            sys.stderr.write(f"{label} {done}/{total} {text}".rstrip() + "\n")
            sys.stderr.flush()

    return report
