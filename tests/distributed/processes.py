"""Run a function in several processes that talk to each other."""

import os
import traceback
from collections.abc import Callable
from queue import Empty

import torch
import torch.multiprocessing as mp

from orbitds.train.launch import free_port

LIMIT_S = 120


def run(function: Callable, world: int, *arguments):
    """Call ``function(rank, *arguments)`` in each of ``world`` processes; return what each gives.

    Processes find what torchrun would tell them in their environment. A failure in one is raised
    here with its traceback. The function must be importable: a module's own, no inner one.
    """
    context = mp.get_context("spawn")
    answers = context.Queue()
    port = free_port()
    started = [
        context.Process(target=_call, args=(function, rank, world, port, answers, arguments))
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


def _call(function, rank, world, port, answers, arguments):
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    try:
        answers.put((rank, function(rank, *arguments), None))
    except BaseException:
        answers.put((rank, None, traceback.format_exc()))
        raise
