"""A process among echoes of itself."""

import math

import pytest
import torch
import torch.distributed as dist
from scaling.cases import SIZES, Case, run_of
from scaling.echo import among
from scaling.probe import all_gather, reduce_scatter

from orbitds.train.launch import Launch
from tests.distributed.processes import run


def _collectives(_rank):
    own = torch.arange(3.0)
    with among(4):
        gathered, scattered, exchanged = torch.empty(12), torch.empty(3), torch.empty(7)
        all_gather(gathered, own)
        reduce_scatter(scattered, torch.arange(12.0))
        dist.all_to_all_single(exchanged, own, [1, 2, 3, 1], [1, 1, 1, 0])
        dist.all_reduce(own)
        told = (dist.get_world_size(), gathered, scattered, exchanged, own)
    assert not dist.is_initialized()
    return [one if isinstance(one, int) else one.tolist() for one in told]


@pytest.mark.distributed
def test_others_say_the_same():
    world, gathered, scattered, exchanged, summed = run(_collectives, 1)[0]
    assert world == 4
    assert gathered == 4 * [0, 1, 2]
    assert scattered == [0, 1, 2]
    assert exchanged == [0, 1, 2, 0, 1, 2, 0]
    assert summed == [0, 1, 2]


def _losses(_rank, axes, world):
    size, device = SIZES["9.5M"], torch.device("cpu")
    with among(world):
        launch = Launch(world=world, master="nobody")
        training = run_of(size, Case("some", axes), launch, device, tiny=True)
        return [training.step() for _ in range(4)]


@pytest.mark.distributed
@pytest.mark.parametrize(
    "axes", [{"shard": 8}, {"replicate": 2, "shard": 4}, {"sequence": 2}, {"tensor": 2}]
)
def test_numbers_stay_those_of_a_run(axes):
    losses = run(_losses, 1, axes, math.prod(axes.values()))[0]
    assert all(math.isfinite(loss) for loss in losses)
    assert len(set(losses)) == 4
