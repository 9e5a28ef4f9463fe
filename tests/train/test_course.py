"""The course of a run: what is not a number stops it, by name."""

import json

import pytest
import torch

from orbitds.config import TrainConfig
from orbitds.data.loader import Loaded
from orbitds.train.course import Course
from orbitds.train.engine import TorchEngine
from orbitds.train.launch import ALONE
from orbitds.train.mesh import ONE
from orbitds.train.setting import prepare
from orbitds.train.states import States
from orbitds.train.step import Numbers
from orbitds.train.stop import EXIT_CODE, Stopped
from tests.conftest import TINY, untrained_for


@pytest.fixture
def course(pair, tmp_path):
    settings = {"pair": "synthetic", "model": TINY, "patience": 2, "validate_every": 6}
    config = TrainConfig.model_validate(settings | {"save": {"every": 4}, "steps": 14})
    engine = TorchEngine(untrained_for(pair), config, ONE)
    with Course(config, [prepare(config, pair)], engine, ONE, tmp_path, facts={}) as course:
        yield course


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
    assert not course.is_over
    course.follow(numbers(course, 3, 0.5), validates=True)
    assert course.is_over, "two validations without a better one"


def test_steps_to_validate_and_to_save(course):
    steps = range(1, 15)
    assert [step for step in steps if course.validates(step)] == [6, 12, 14]
    assert [step for step in steps if course.due(step)] == [4, 6, 8, 12, 14]


def test_what_a_state_knows_is_taken_up(course, tmp_path):
    states = States(tmp_path / "states", course.config.save, ALONE, None)
    states.load(course.engine.state())
    course.follow(numbers(course, 4, 0.5), validates=True)
    with pytest.raises(Stopped, match="state of step 4 and stopped: got SIGTERM") as stopped:
        course.leave(states, 4, "got SIGTERM")
    assert stopped.value.code == EXIT_CODE
    facts = States(tmp_path / "states", course.config.save, ALONE, None).load(course.engine.state())
    assert facts is not None
    assert facts == {"step": 4, "best": course.best, "stale": 0}
    args = course.config, course.settings, course.engine, ONE, tmp_path
    with Course(*args, facts=facts | {"stale": 1}) as later:
        assert (later.best, later.stale) == (course.best, 1)
