"""Run a function in several processes that talk to each other."""

import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from queue import Empty

import torch

from orbitds.train.launch import free_port
from tests.forking import CONTEXT

LIMIT_S = 120


def run(function: Callable, world: int, *arguments):
    """Call ``function(rank, *arguments)`` in each of ``world`` processes; return what each gives.

    Processes find what torchrun would tell them in their environment. A failure in one is raised
    here with its traceback. The function must be importable: a module's own, no inner one.
    """
    answers = CONTEXT.Queue()
    shared = {"WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    told = os.environ | {name: str(value) for name, value in shared.items()}
    started = [
        CONTEXT.Process(target=_call, args=(function, rank, told | _own(rank), answers, arguments))
        for rank in range(world)
    ]
    for process in started:
        process.start()
    given = {}
    try:
        for _ in started:
            rank, answer, failure = answers.get(timeout=LIMIT_S)
            if failure:
                raise AssertionError(f"process {rank} of {world}:\n{failure}")
            given[rank] = answer
    except Empty:
        raise AssertionError(f"only processes {sorted(given)} of {world} came back") from None
    finally:
        for process in started:
            process.join(timeout=10 if len(given) == world else 0)
            process.kill()
    return [given[rank] for rank in range(world)]


def wait_for(*files: Path, timeout_s: float = 60) -> None:
    """Wait until files are there, by which other processes tell that they have come so far."""
    end = time.monotonic() + timeout_s
    while not all(file.exists() for file in files):
        assert time.monotonic() < end, f"none of {files} after {timeout_s} s"
        time.sleep(0.001)


def _own(rank):
    """Return what a process finds in its environment beside what all of them do."""
    own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    if torch.cuda.device_count() == 1:
        # NCCL refuses two processes of a host that have one GPU: each says that its host is
        # another, and they talk by sockets, which is slow and gives the same
        own |= {"NCCL_HOSTID": f"host{rank}", "NCCL_SOCKET_IFNAME": "lo", "NCCL_IB_DISABLE": "1"}
    return own


def _call(function, rank, environment, answers, arguments):
    # not what it was when their server began
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    try:
        answers.put((rank, function(rank, *arguments), None))
    except BaseException:
        answers.put((rank, None, traceback.format_exc()))
        raise
