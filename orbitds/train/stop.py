"""When a run is to save and leave: by a signal, or before its job ends."""

import os
import signal
import threading
import time
import warnings
from collections.abc import Mapping
from datetime import datetime
from types import FrameType

from orbitds.config import SaveConfig

EXIT_CODE = 75
"""Exit code of a run that saved its state and left; the same command goes on from it.

Known to shells as EX_TEMPFAIL: try again later.
"""
_SIGNALS = ("SIGTERM", "SIGUSR1")


class Stopped(SystemExit):
    """The run saved its state and left before its end."""

    def __init__(self, reason: str, step: int) -> None:
        super().__init__(EXIT_CODE)
        self.reason = reason
        self.step = step

    def __str__(self) -> str:
        return (
            f"saved the state of step {self.step} and stopped: {self.reason}. "
            "Start the same command again to go on."
        )


class Stop:
    """Watches for reasons to stop, while the context lasts.

    Signals: SIGTERM, which schedulers send before they kill, and SIGUSR1, which a job script asks
    for (``#SBATCH --signal=USR1@600``). Clock: the end of the SLURM job.

    Parameters
    ----------
    config
        How long before the end of the job.
    environment
        Where SLURM says when that is, as ``SLURM_JOB_END_TIME`` in seconds since 1970.

    Raises
    ------
    ValueError
        If that is not a number.
    """

    def __init__(self, config: SaveConfig, environment: Mapping[str, str] = os.environ) -> None:
        self._ends_s = _end_of_job(environment)
        self._before_s = config.stop_before_s
        self._signal: str | None = None
        self._earlier = {}

    def __enter__(self) -> "Stop":
        left_s = None if self._ends_s is None else self._ends_s - time.time()
        if left_s is not None and left_s <= self._before_s:
            warnings.warn(
                f"The job ends in {max(left_s, 0):.0f} s, and the run leaves "
                f"{self._before_s:.0f} s before: after its first step. Ask for a longer job, or "
                "lower save.stop_before_s.",
                stacklevel=2,
            )
        # Python lets the main thread alone set handlers; elsewhere the clock is watched
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
        """Return why this process wants to stop, in words; None if it does not."""
        if self._signal is not None:
            return f"got {self._signal}"
        if self._ends_s is not None and time.time() >= self._ends_s - self._before_s:
            return f"the job ends at {datetime.fromtimestamp(self._ends_s):%H:%M:%S}"
        return None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signal = signal.Signals(number).name


def _end_of_job(environment: Mapping[str, str]) -> float | None:
    told = environment.get("SLURM_JOB_END_TIME")
    if not told:
        return None
    try:
        return float(told)
    except ValueError:
        raise ValueError(
            f"Wanted the end of the job in seconds since 1970 in SLURM_JOB_END_TIME, got {told!r}. "
            "Unset it, or set it to a number."
        ) from None
