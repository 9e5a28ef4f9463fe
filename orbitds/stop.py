"""Leaving before the end, so that the same command goes on later: the exit code, and signals."""

import signal
import threading
from types import FrameType

EXIT_CODE = 75
"""Exit code of a run that kept what it has and left; the same command goes on from it.

Known to shells as EX_TEMPFAIL: try again later.
"""
_SIGNALS = ("SIGTERM", "SIGUSR1")


class Left(SystemExit):
    """The run kept what it has and left before its end; the text says how to go on."""

    def __init__(self, told: str) -> None:
        super().__init__(EXIT_CODE)
        self.told = told

    def __str__(self) -> str:
        return self.told


class Signals:
    """Notes SIGTERM, which schedulers send before they kill, and SIGUSR1, while it lasts."""

    def __init__(self) -> None:
        self._signal: str | None = None
        self._earlier = {}

    def __enter__(self) -> "Signals":
        # Python lets the main thread alone set handlers
        if threading.current_thread() is threading.main_thread():
            for name in _SIGNALS:
                number = getattr(signal, name, None)  # Windows has no SIGUSR1
                if number is not None:
                    self._earlier[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier.items():
            # None: it was set from outside Python, and cannot be set again
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._earlier = {}

    def reason(self) -> str | None:
        """Return why this process is to stop, in words; None if it is not."""
        return None if self._signal is None else f"got {self._signal}"

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signal = signal.Signals(number).name
