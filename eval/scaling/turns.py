"""Steps of several ways taken in turns: devices grow warm and slow, and no two are alike."""

import itertools
import statistics
from collections.abc import Callable, Mapping
from typing import Any

import torch.distributed as dist
from scaling.trace import profiled
from training_run import Run

Times = list[list[float]]
"""Of each process, in ms."""


def in_turns(ways: Mapping[str, Callable[[], list[float]]], rounds: int) -> dict[str, Times]:
    """Return the times of each way, each of which gives some in a round."""
    own: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, call in ways.items():
            dist.barrier()
            own[way] += call()
    everyone = [own] * dist.get_world_size()
    dist.all_gather_object(everyone, own)
    return {way: [one[way] for one in everyone] for way in ways}


def compared(times: Times, apart: Times, share: float = 1.0) -> dict[str, Any]:
    """Return what times say beside those of the same devices that say nothing to each other.

    Parameters
    ----------
    share
        What a process does in a step, of what it does apart.

    Returns
    -------
    dict
        Median of all processes' steps; efficiency, the rate over the sum of the rates apart; where
        a process does all that it does apart, the share of the step that this does not take.
    """
    step = statistics.median(itertools.chain(*times))
    alone = [statistics.median(one) for one in apart]
    row: dict[str, Any] = {"ms": step, "all_ms": times, "apart_ms": alone}
    row["efficiency"] = share * len(times) / step / sum(1 / one for one in alone)
    if share == 1:
        row["exposed"] = 1 - row["efficiency"]
    return row


def profile(run: Run) -> dict[str, Any]:
    """Return what a profile of three steps says, on a GPU."""
    if run.device.type != "cuda":
        return {}
    return {"profile_ms": profiled(run.several, 3)._asdict()}
