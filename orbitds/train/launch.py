"""The processes of a training run meet, each with its device."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from orbitds.device import choose_device
from orbitds.launch import ALONE, Launch, launch_of

__all__ = ["ALONE", "Launch", "free_port", "launch_of", "launched"]


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
