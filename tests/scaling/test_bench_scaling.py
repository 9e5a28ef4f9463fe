"""The benchmark of scaling, rehearsed with small models on CPUs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from scaling.rows import efficiency_table, table

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "eval" / "bench_scaling.py"


def _run(*command):
    told = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *map(str, command)], check=False, capture_output=True, text=True, env=told
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_are_measured_and_compared_with_one(tmp_path):
    launch = ("-m", "torch.distributed.run", "--nproc-per-node", 2, SCRIPT, "measure", "--tiny")
    out = _run(
        *launch,
        "--sizes",
        "9.5M",
        "10B",
        "--cases",
        "tiles",
        "fsdp",
        "strong",
        "--output",
        tmp_path,
    )
    told = json.loads((tmp_path / "measured_2.json").read_text(encoding="utf-8"))
    rows = {row["case"]: row for row in told["rows"] if "error" not in row}
    assert set(rows) == {"one", "tiles", "fsdp", "strong"}
    assert set(rows["one"]["by_parts_ms"]) == {"1", "8", "16"}
    for name in ("tiles", "fsdp", "strong"):
        row = rows[name]
        whole = "16" if name == "strong" else "1"
        work = 8 if name == "strong" else 1
        assert row["samples_per_s"] == pytest.approx(2 * work * 4e3 / row["ms"])
        gain = rows["one"]["by_parts_ms"][whole] / row["ms"]
        assert row["efficiency"] == pytest.approx(gain / (2 if name == "strong" else 1))
        assert row["exposed"] == pytest.approx(1 - row["alone_ms"] / row["ms"])
    assert told["rows"][-1]["error"] == "the 10B size takes 4 processes"
    timed = {row["operation"] for row in told["probe"] if "s" in row}
    assert {"all_reduce", "all_gather"} <= timed
    assert table(told["rows"]) in out


@pytest.mark.slow
@pytest.mark.distributed
def test_the_first_of_many_takes_steps_without_the_others(tmp_path):
    _run(SCRIPT, "cut", "--tiny", "--processes", 8, "--sizes", "9.5M", "10B", "--output", tmp_path)
    told = json.loads((tmp_path / "cut_8.json").read_text(encoding="utf-8"))
    assert not [row for row in told["rows"] if "error" in row]
    assert {(row["size"], row["case"]) for row in told["rows"]} >= {
        ("9.5M", "tensor"),
        ("10B", "hsdp"),
    }
    assert all(row["ms"] > 0 for row in told["rows"])


@pytest.mark.slow
def test_late_cases_are_not_begun(tmp_path):
    arguments = ("--sizes", "9.5M", "--seconds", 0, "--output", tmp_path)
    out = _run(SCRIPT, "cut", "--tiny", "--processes", 2, *arguments)
    assert "not begun: the time is over" in out


@pytest.mark.slow
def test_predictions_are_told_and_drawn(tmp_path):
    figure = tmp_path / "scaling.png"
    out = _run(SCRIPT, "predict", "--sizes", "9.5M", "--figure", figure)
    assert "| 9.5M | tiles over copies | **0.983** |" in out
    assert figure.stat().st_size > 10_000


def test_a_case_that_failed_has_its_reason_in_the_table():
    rows = [
        {"size": "1B", "case": "one", "ms": 10.0, "samples_per_s": 100.0},
        {"size": "1B", "case": "fsdp", "error": "CUDA out of memory"},
    ]
    lines = table(rows).splitlines()
    assert lines[2] == "| 1B | one | 10.0 | 100.00 |  |  |  |  |  |"
    assert "CUDA out of memory" in lines[3]
    assert len({line.count("|") for line in lines}) == 1
    assert efficiency_table([]).count("\n") == 1
