"""The benchmark: which parts there are, that failures are survived, and one rehearsal."""

import json
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from orbitds.eval.baselines import METHODS

EVAL = Path(__file__).parents[2] / "eval"
NAVY = "navy_winds_10deg_to_2p5deg"

pytestmark = pytest.mark.skipif(not EVAL.is_dir(), reason="the scripts are those of a checkout")

# Stands for a part: the method `broken` fails, and says why.
PART = """
import sys, pathlib
task, method, _, output = sys.argv[1:5]
if method == "broken":
    sys.exit("no luck")
folder = pathlib.Path(output) / task / method
with open(folder / "calls", "a") as file:
    file.write("x")
(folder / "fine.nc").write_text("")
best = '{"rate": 1, "best_step": 1, "steps": 1, "seconds": 1}'
(folder / "result.json").write_text(
    '{"budget": {"steps": 1, "batch_size": 1, "rates": [1]}, "device": "none", "parameters": 1, '
    f'"method": "{method}", "best": {best}, "runs": [{best}]}}'
)
"""


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(EVAL))
    return import_module("bench_tasks")


@pytest.fixture
def settings(tmp_path, bench, monkeypatch):
    """A benchmark of stand-ins, whose scores are made elsewhere."""
    part = tmp_path / "part.py"
    part.write_text(PART)
    monkeypatch.setattr(bench, "PART", part)
    path = tmp_path / "tasks.yaml"
    values = {
        "budget": {"steps": 1, "batch_size": 1, "rates": [1]},
        "methods": {
            "broken": {"kind": "unet", "base": "bicubic"},
            "fine": {"kind": "vit"},
            "shifted": {"kind": "unet", "base": "delta"},
        },
        "tasks": {"one": {"base": ["bicubic"]}, "two": {}},
    }
    path.write_text(yaml.safe_dump(values))
    return path, values


def test_parts_are_all_pairs_less_the_bases_that_a_task_has_not(bench, settings):
    _, values = settings
    assert bench.parts_of(values, None, None) == [
        ("one", "broken"), ("one", "fine"), ("two", "broken"), ("two", "fine"), ("two", "shifted"),
    ]  # fmt: skip
    assert bench.parts_of(values, ["two"], ["fine"]) == [("two", "fine")]
    with pytest.raises(ValueError, match=r"Wanted names of the benchmark.*\['three'\]"):
        bench.parts_of(values, ["three"], None)


def test_what_fails_leaves_the_others_alone_and_is_tried_again(
    bench, settings, tmp_path, monkeypatch, capsys
):
    scored = []
    monkeypatch.setattr(bench.Whole, "_scored", lambda _, task: not scored.append(task))
    call = ["--output", str(tmp_path / "out"), "--benchmark", str(settings[0]), "--jobs", "2"]
    assert bench.main(call) == 1
    told = capsys.readouterr().out
    assert "one broken: FAILED" in told
    assert "one, broken: not finished; last heard: no luck" in told
    assert "two shifted: done" in told
    assert sorted(scored) == ["one", "two"]
    assert "last heard: no luck" in (tmp_path / "out" / "tasks.md").read_text()
    assert bench.main(call) == 1
    assert (tmp_path / "out" / "two" / "fine" / "calls").read_text() == "x", "not done again"


def test_no_part_begins_after_the_time(bench, settings, tmp_path, capsys):
    call = ["--output", str(tmp_path / "out"), "--benchmark", str(settings[0]), "--minutes", "0"]
    assert bench.main(call) == 1
    assert capsys.readouterr().out.count("not begun, the time is over") == 5


def test_methods_that_were_scored_are_told_from_simple_ones(bench, tmp_path):
    path = tmp_path / "scores.json"
    assert bench.scored_methods(path) == set()
    rows = [{"method": name} for name in (*METHODS, "unet", "vit")]
    path.write_text(json.dumps({"rows": rows}))
    assert bench.scored_methods(path) == {"unet", "vit"}


@pytest.mark.slow
def test_a_rehearsal_of_the_embedded_winds_is_whole(bench, tmp_path):
    call = ["--output", str(tmp_path), "--tiny", "--tasks", NAVY, "--methods", "edsr", "unet_delta"]
    assert bench.main(call) == 0
    table = json.loads((tmp_path / f"{NAVY}.json").read_text())
    rows = {(row["variable"], row["method"]): row["value"]["rmse"] for row in table["rows"]}
    methods = {"edsr", "unet_delta", "bilinear", "bicubic", "delta change", "quantile mapping"}
    assert {method for _, method in rows} >= methods
    # what starts at its base is near it after two steps
    assert rows["eastward_wind", "unet_delta"] < rows["eastward_wind", "bilinear"]
    assert table["failed"] == {}
