"""When a run is to save and leave: by a signal, or before its job ends."""

import os
import time
import warnings
from collections.abc import Mapping
from datetime import datetime

from orbitds.config import SaveConfig
from orbitds.stop import EXIT_CODE, Left, Signals

__all__ = ["EXIT_CODE", "Stop", "Stopped"]


class Stopped(Left):
    """The run saved its state and left before its end."""

    def __init__(self, reason: str, step: int) -> None:
        super().__init__(
            f"saved the state of step {step} and stopped: {reason}. "
            "Start the same command again to go on."
        )
        self.reason = reason
        self.step = step


class Stop(Signals):
    """Watches for reasons to stop, while the context lasts.

    Signals: SIGTERM, which schedulers send before they kill, and SIGUSR1, which a job script asks
    for (``#SBATCH --signal=USR1@600``). Clock: the end of the SLURM job; it is watched outside the
    main thread too.

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
        super().__init__()
        self._ends_s = _end_of_job(environment)
        self._before_s = config.stop_before_s

    def __enter__(self) -> "Stop":
        left_s = None if self._ends_s is None else self._ends_s - time.time()
        if left_s is not None and left_s <= self._before_s:
            warnings.warn(
                f"The job ends in {max(left_s, 0):.0f} s, and the run leaves "
                f"{self._before_s:.0f} s before: after its first step. Ask for a longer job, or "
                "lower save.stop_before_s.",
                stacklevel=2,
            )
        super().__enter__()
        return self

    def reason(self) -> str | None:
        """Return why this process wants to stop, in words; None if it does not."""
        if told := super().reason():
            return told
        if self._ends_s is not None and time.time() >= self._ends_s - self._before_s:
            return f"the job ends at {datetime.fromtimestamp(self._ends_s):%H:%M:%S}"
        return None


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
