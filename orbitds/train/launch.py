"""Who this process is among those of a run: alone, under torchrun, or under srun."""

import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

from orbitds.device import choose_device


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


@contextmanager
def launched(device: str) -> Iterator[tuple[Launch, torch.device]]:
    """Join the processes of a run while the context lasts; yields this one and its device.

    Parameters
    ----------
    device
        As in ``TrainConfig.device``; with several processes `auto` and `cuda` mean one GPU each.
    """
    launch = launch_of(os.environ)
    if launch.master is None:
        yield launch, choose_device(device)
        return
    on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if on_gpu and ":" not in device:
        # where the launcher shows a process its own GPU alone, that one is number 0
        number = launch.local_rank % max(torch.cuda.device_count(), 1)
        chosen = choose_device(f"cuda:{number}")
        torch.cuda.set_device(chosen)
    else:
        chosen = choose_device("cpu" if device == "auto" else device)
    dist.init_process_group(
        # gloo beside NCCL: states are saved from host memory
        "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo",
        init_method=f"tcp://{launch.master}",
        rank=launch.rank,
        world_size=launch.world,
    )
    try:
        yield launch, chosen
    finally:
        dist.destroy_process_group()


def free_port() -> int:
    """Return a port of this host that nobody listens to."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


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
