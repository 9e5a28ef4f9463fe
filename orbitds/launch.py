"""Who this process is among those that a launcher started: alone, under torchrun, or under srun."""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Launch:
    """A process of a run."""

    rank: int = 0
    """Number among all processes."""
    world: int = 1
    """Number of processes."""
    local_rank: int = 0
    """Number among those of this host."""
    master: str | None = None
    """Host and port where they meet; None if there is only one process."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes what there is one of."""
        return self.rank == 0


ALONE = Launch()


def launch_of(environment: Mapping[str, str]) -> Launch:
    """Return who this process is by what torchrun, or else srun, says in the environment.

    Raises
    ------
    ValueError
        If torchrun's variables are not whole.
    """
    if "RANK" in environment or "WORLD_SIZE" in environment:
        return _of_torchrun(environment)
    # srun's own variables: a job script that runs Python without srun has SLURM_NTASKS too
    world = int(environment.get("SLURM_STEP_NUM_TASKS", 1))
    if world == 1 or "SLURM_PROCID" not in environment:
        return ALONE
    host = environment.get("MASTER_ADDR") or first_host(environment["SLURM_STEP_NODELIST"])
    # one port for each job, so that two on a host do not meet
    port = environment.get("MASTER_PORT") or 20_000 + int(environment["SLURM_JOB_ID"]) % 20_000
    return Launch(
        rank=int(environment["SLURM_PROCID"]),
        world=world,
        local_rank=int(environment.get("SLURM_LOCALID", 0)),
        master=f"{host}:{port}",
    )


def first_host(nodes: str) -> str:
    """Return the first host of a list of SLURM, such as ``frontier[00012-00015,00020],x1``."""
    found = re.match(r"([^\[,]+)(?:\[(\d+))?", nodes)
    if found is None:
        raise ValueError(f"Wanted SLURM's list of nodes, got {nodes!r}. Set MASTER_ADDR yourself.")
    return found[1] + (found[2] or "")


def _of_torchrun(environment: Mapping[str, str]) -> Launch:
    wanted = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in wanted if name not in environment]
    if missing:
        raise ValueError(
            f"Wanted what torchrun says of a process, {', '.join(wanted)}, got none of "
            f"{', '.join(missing)}. Start it by torchrun or srun, or unset the others."
        )
    return Launch(
        rank=int(environment["RANK"]),
        world=int(environment["WORLD_SIZE"]),
        local_rank=int(environment.get("LOCAL_RANK", environment["RANK"])),
        master=f"{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}",
    )
