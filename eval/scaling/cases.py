"""What is measured: sizes of the model, and ways to share work among processes."""

import math
from typing import Literal, NamedTuple

import torch
from training_run import GLOBE, TINY, Run, mesh_of

from orbitds.config import ModelConfig, ParallelConfig, model_preset
from orbitds.train.launch import Launch

FIELD_TILES = 16
"""Tiles of the field of strong scaling."""


class Size(NamedTuple):
    """A size of the model."""

    name: str
    preset: str
    batch: int
    """Samples of a tile: times that are worked through at once."""
    least: int = 1
    """Processes that it takes."""
    weak_alone: bool = False
    """Whether it is measured for weak scaling alone."""


SIZES = {
    size.name: size
    for size in (
        Size("9.5M", "reslim_9m_h128", 4),
        Size("126M", "reslim_126m_h128", 4),
        Size("1B", "reslim_1b", 1),
        Size("1B-batch4", "reslim_1b", 4, weak_alone=True),
        Size("10B", "reslim_10b_h128", 1, least=2),
    )
}


class Case(NamedTuple):
    """A way to share work."""

    name: str
    axes: dict[str, int]
    """As of ``ParallelConfig``."""
    parts: int = 1
    """Tiles of a process in a step, one after another."""
    reduce_dtype: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of sums of blocks' gradients."""

    @property
    def told(self) -> str:
        """The axes in words."""
        return " x ".join(f"{axis} {size}" for axis, size in self.axes.items())

    def samples(self, batch: int) -> int:
        """Return the samples of a step over all processes."""
        data = math.prod(self.axes.get(axis, 1) for axis in ("replicate", "tiles", "shard"))
        return data * batch * self.parts


def cases(size: Size, processes: int, heads: int) -> list[Case]:
    """Return the ways to share work that so many processes have.

    Where heads do not let all processes share a sample, those that can do, and the groups of them
    take tiles.
    """
    found = [
        Case("fsdp", {"shard": processes}),
        Case("fsdp-bf16", {"shard": processes}, reduce_dtype="bfloat16"),
    ]
    if processes >= 4:  # with two there is one copy of the weights, or nothing to share
        found.append(Case("hsdp", {"replicate": 2, "shard": processes // 2}))
    if size.least > 1:  # the weights do not fit a single process
        return found
    found.insert(0, Case("tiles", {"tiles": processes}))
    found.insert(1, Case("tiles-bf16", {"tiles": processes}, reduce_dtype="bfloat16"))
    if size.weak_alone:
        return found
    if processes <= FIELD_TILES and FIELD_TILES % processes == 0:
        found.append(Case("strong", {"tiles": processes}, FIELD_TILES // processes))
    together = math.gcd(processes, heads)
    for axis in ("sequence", "tensor") if together > 1 else ():
        rest = {"tiles": processes // together} if together < processes else {}
        found.append(Case(axis, {**rest, axis: together}))
    return found


def model_of(size: Size, *, tiny: bool) -> ModelConfig:
    """Return the model of a size; a small one to rehearse."""
    return TINY if tiny else model_preset(size.preset)


def grid_of(*, tiny: bool) -> tuple[int, int]:
    """Return rows and columns of a tile."""
    return (8, 16) if tiny else GLOBE


def settings_of(size: Size) -> dict:
    """Return what else the config of a size is told."""
    return {"checkpointing": "full", "compile": False} if size.least > 1 else {}


def run_of(size: Size, case: Case, launch: Launch, device: torch.device, *, tiny: bool) -> Run:
    """Return a run of a size whose processes share work as in a case."""
    return Run(
        model_of(size, tiny=tiny),
        mesh_of(case.axes, launch, device),
        device,
        grid=grid_of(tiny=tiny),
        batch=size.batch,
        starts_here=True,
        parallel=ParallelConfig(reduce_dtype=case.reduce_dtype),
        **settings_of(size),
    )
