"""Which units of a job are this process's: by the launcher's environment, or by hand."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from orbitds.launch import launch_of


@dataclass(frozen=True)
class Share:
    """A process among those that share a job."""

    rank: int = 0
    """Number among all processes."""
    world: int = 1
    """Number of processes."""
    local_rank: int | None = None
    """Number among those that a launcher started on this host."""

    def __str__(self) -> str:
        return f"{self.rank + 1}/{self.world}"

    @property
    def is_alone(self) -> bool:
        """Whether the whole job is this process's."""
        return self.world == 1

    def of(self, units: int) -> range:
        """Return the numbers of the units that are this process's: some that follow each other."""
        return range(self.rank * units // self.world, (self.rank + 1) * units // self.world)


def share_of(environment: Mapping[str, str], told: str | None = None) -> Share:
    """Return the share of this process.

    Parameters
    ----------
    environment
        Where torchrun, srun and the job arrays of SLURM say who a process is; tasks of an array
        that are started by srun are counted through.
    told
        ``K/N`` by hand, from 1/N to N/N; it goes before the environment.

    Raises
    ------
    ValueError
        If a share is none, or the numbers of an array do not follow each other.
    """
    if told is not None:
        found = re.fullmatch(r"(\d+)/(\d+)", told)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise ValueError(
                f"Wanted a share as K/N from 1/N to N/N, got {told!r}. Give the first of four "
                "processes --share 1/4."
            )
        return Share(int(found[1]) - 1, int(found[2]))
    launch = launch_of(environment)
    task, tasks = _of_array(environment)
    local = launch.local_rank if launch.world > 1 else None
    return Share(task * launch.world + launch.rank, tasks * launch.world, local)


def _of_array(environment: Mapping[str, str]) -> tuple[int, int]:
    """Return which task of a SLURM array this is, and how many there are."""
    names = ("ID", "MIN", "MAX", "COUNT")
    told = {name: environment.get(f"SLURM_ARRAY_TASK_{name}") for name in names}
    if told["ID"] is None or any(value is None for value in told.values()):
        return 0, 1
    task, first, last, count = (int(str(told[name])) for name in names)
    step = (last - first) // max(count - 1, 1)
    if first + step * (count - 1) != last or (step and (task - first) % step):
        raise ValueError(
            f"Wanted an array whose numbers follow each other, such as --array=0-{count - 1}, got "
            f"{count} from {first} to {last}. Submit it so, or say --share K/N."
        )
    return (task - first) // max(step, 1), count
