"""Tables of a benchmark: numbers of the scores, costs of the parts, what failed, plain words."""

import json
from importlib import import_module
from pathlib import Path

import pytest

EVAL = Path(__file__).parents[2] / "eval"
WIND = "eastward_wind"

pytestmark = pytest.mark.skipif(not EVAL.is_dir(), reason="the scripts are those of a checkout")


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(EVAL))
    return import_module("bench_table")


def record(method, rmse, skill, *, variable=WIND, region="all"):
    """A record of scores.json, with the interval of its skill."""
    low, value, high = skill
    return {
        "variable": variable,
        "method": method,
        "region": region,
        "season": "all",
        "value": {"rmse": rmse, "skill": value},
        "low": {"skill": low},
        "high": {"skill": high},
    }


@pytest.fixture
def output(bench, tmp_path):
    """A task with a good, a bad and a failed method."""
    task = tmp_path / "winds"
    for method, rate in (("good", 1e-3), ("bad", 3e-3)):
        folder = task / method
        folder.mkdir(parents=True)
        run = {"rate": rate, "best_step": 40, "steps": 60, "seconds": 2.5}
        result = {
            "method": method,
            "parameters": 1234,
            "budget": {"steps": 60, "batch_size": 4, "rates": [1e-3, 3e-3]},
            "runs": [run, run],
            "best": run,
            "device": "cpu",
        }
        (folder / bench.RESULT).write_text(json.dumps(result))
        (folder / bench.LOG).write_text("")
    (task / "lost").mkdir()
    (task / "lost" / bench.LOG).write_text("a line\nValueError: no room\n\n")
    scores = {
        "times": 24,
        "first": "1991-01-01",
        "last": "1992-12-01",
        "grid": "a grid",
        "scores": [
            record("good", 1.0, (0.2, 0.3, 0.4)),
            record("bad", 3.0, (-0.4, -0.3, -0.2)),
            record("bilinear", 2.0, (0.0, 0.0, 0.0)),
            record("good", 9.0, (0, 0, 0), region="land"),
            record("good", 9.0, (0, 0, 0), variable=f"log1p({WIND})"),
        ],
    }
    path = task / bench.SCORES
    path.parent.mkdir()
    path.write_text(json.dumps(scores))
    return tmp_path


def test_rows_are_those_of_the_whole_and_the_best_comes_first(bench, output):
    (table,) = bench.write_tables(output)
    lines = (output / "winds.md").read_text().splitlines()
    rows = [line for line in lines if " [" in line]
    assert [row.split("|")[2].strip() for row in rows] == ["good", "bilinear", "bad"]
    assert "| 1.000 |" in rows[0]
    assert "0.300 [0.200, 0.400]" in rows[0]
    assert "9.000" not in "\n".join(lines)
    assert (output / "tasks.md").read_text() == (output / "winds.md").read_text()
    assert json.loads((output / "winds.json").read_text()) == json.loads(
        json.dumps(table.as_dict())
    )


def test_words_follow_the_interval(bench, output):
    text = bench.markdown(bench.TaskTable.of(output / "winds"))
    assert f"* {WIND}, against bilinear: better good; worse bad; not to be told none." in text
    assert f"* {WIND}, against delta change: better none; worse none; not to be told good" in text


def test_costs_and_failures_are_told(bench, output):
    text = bench.markdown(bench.TaskTable.of(output / "winds"))
    assert "60 steps of 4 samples at most, at 2 learning rates (0.001, 0.003)" in text
    assert "| good | 1,234 | 0.001 | 40 | 60, 60 | 2, 2 | cpu |" in text
    assert "No result of lost: not finished; last heard: ValueError: no room" in text
    assert "winds, lost: not finished" in bench.short(bench.write_tables(output))


def test_a_task_without_scores_says_why(bench, output):
    (output / "winds" / bench.SCORES).unlink()
    (output / "winds" / bench.LOG).write_text("killed")
    text = bench.markdown(bench.TaskTable.of(output / "winds"))
    assert "No result of the scores: not finished; last heard: killed" in text
    assert "RMSE" not in text
