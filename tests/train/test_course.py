"""The course of a run: what is not a number stops it, by name."""

import json

import pytest
import torch

from orbitds.config import TrainConfig
from orbitds.data.loader import Loaded
from orbitds.train.course import Course
from orbitds.train.engine import TorchEngine
from orbitds.train.mesh import ONE
from orbitds.train.setting import prepare
from orbitds.train.step import Numbers
from tests.conftest import TINY, untrained_for


@pytest.fixture
def course(pair, tmp_path):
    config = TrainConfig(pair="synthetic", model=TINY)
    engine = TorchEngine(untrained_for(pair), config, ONE)
    return Course(config, [prepare(config, pair)], engine, ONE, tmp_path)


def numbers(course, step, loss, norm=1.0):
    batch = Loaded(0, course.settings[0].train.batch([1]), [1], 0)
    return Numbers(step, [batch], torch.tensor([loss, norm, 0.0, loss]), None)


@pytest.mark.parametrize(("loss", "norm"), [(float("nan"), 1.0), (1.0, float("inf"))])
def test_what_is_not_finite_stops_with_the_name_of_the_batch(course, loss, norm, tmp_path):
    course.follow(numbers(course, 1, 0.5))
    with pytest.raises(
        FloatingPointError, match="in step 2, whose batch was: synthetic 2001-02-01"
    ):
        course.follow(numbers(course, 2, loss, norm))
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"step": 1, "loss": 0.5, "norm": 1.0}]


def test_a_validation_is_counted_and_told(course):
    told = course.follow(numbers(course, 1, 0.5), validates=True)
    assert told == f"loss 0.5000, validation {course.best:.4f}"
    assert course.stale == 0
    assert (course.output / "best" / "orbitds.json").is_file()
    course.follow(numbers(course, 2, 0.5), validates=True)
    assert course.stale == 1, "the same weights are no better"
