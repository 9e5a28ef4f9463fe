"""One step: its random numbers, its parts, and what it says of its batch."""

import itertools

import torch

from orbitds.config import TrainConfig
from orbitds.data.loader import Loaded
from orbitds.train.setting import prepare
from orbitds.train.step import Numbers, name_batch, seed_part


def test_random_numbers_follow_from_the_place_in_the_run():
    drawn = {}
    for place in itertools.product((0, 1), repeat=4):
        seed_part(*place)
        drawn[place] = torch.rand(3).tolist()
    assert len({tuple(numbers) for numbers in drawn.values()}) == 16
    torch.rand(7)
    for place, numbers in drawn.items():
        seed_part(*place)
        assert torch.rand(3).tolist() == numbers


def test_a_batch_has_names(pair):
    setting = prepare(TrainConfig(pair="synthetic", tiles={"rows": 2}), pair)  # pyright: ignore[reportArgumentType]  parsed
    sample = setting.train.batch([3, 0])
    told = Numbers(
        4,
        [Loaded(0, sample, [3], 0), Loaded(0, sample, [0], 1)],
        torch.tensor([1.0, 2.0, 0.0, torch.nan]),
        None,
    )
    assert name_batch(told, [setting], own_loss=torch.nan) == (
        "synthetic 2001-02-01 00:00:00 tile 1; synthetic 2001-01-01 00:00:00 tile 0"
    )
    assert told.read()[:3] == (1.0, 2.0, False)
