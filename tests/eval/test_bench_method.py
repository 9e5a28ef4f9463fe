"""One part of a benchmark: each of the shipped one parses; what is done is known again."""

import json
from importlib import import_module
from pathlib import Path

import pytest

from orbitds.catalog import pair_entry
from orbitds.resources import read_yaml

EVAL = Path(__file__).parents[2] / "eval"

pytestmark = pytest.mark.skipif(not EVAL.is_dir(), reason="the scripts are those of a checkout")


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(EVAL))
    return import_module("bench_method")


@pytest.fixture
def settings(bench):
    return read_yaml(bench.BENCHMARK)


def test_each_part_has_settings_of_equal_budget(bench, settings):
    for task in settings["tasks"]:
        seen = set()
        for method in settings["methods"]:
            budget = settings["budget"]
            config = bench.config_of(settings, task, method, task, budget, 1e-3)
            assert config.model.kind == settings["methods"][method]["kind"]
            alike = config.model_dump(exclude={"model"})
            seen.add(json.dumps(alike, sort_keys=True, default=str))
            assert config.steps // config.validate_every >= budget["validations"]
        assert len(seen) == 1, "methods of a task differ in nothing but the model"


def test_a_shorter_validation_period_lies_within_the_pairs_own(bench, settings, tmp_path):
    shorter = {task: row for task, row in settings["tasks"].items() if "validate" in row}
    assert shorter
    for task, row in shorter.items():
        made = pair_entry(bench.pair_of(task, row, tmp_path, is_tiny=False))
        own = pair_entry(task)
        assert str(own.split["validate"][0]) <= str(made.split["validate"][0])
        assert str(made.split["validate"][1]) <= str(own.split["validate"][1])
        assert {made.split[part] == own.split[part] for part in ("train", "test")} == {True}
    assert bench.pair_of("p", {}, tmp_path, is_tiny=False) == "p"


def test_a_finished_part_is_known_and_another_budget_is_refused(bench, tmp_path):
    budget = {"steps": 2}
    assert bench.finished(tmp_path, budget) is None
    (tmp_path / bench.RESULT).write_text(json.dumps({"budget": budget, "task": "t"}))
    assert bench.finished(tmp_path, budget)["task"] == "t"
    with pytest.raises(ValueError, match="Wanted the budget .*3.*got .*2.*Choose another"):
        bench.finished(tmp_path, {"steps": 3})


def test_options_change_the_budget(bench):
    read = bench.parser().parse_args
    common = ["t", "m", "--output", "o"]
    assert bench.changes_of(read(common)) == {}
    assert bench.changes_of(read([*common, "--steps", "7", "--rates", "1e-3", "2e-3"])) == {
        "steps": 7,
        "rates": [1e-3, 2e-3],
    }
    tiny = bench.changes_of(read([*common, "--tiny", "--steps", "4"]))
    assert tiny == {**bench.TINY, "tiny": True, "steps": 4}
