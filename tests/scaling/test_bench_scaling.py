"""The benchmark of scaling, rehearsed with small models on CPUs."""

import json

import pytest
import torch
from scaling.cases import SIZES
from scaling.measure import Bench
from scaling.rows import echo_table, efficiency_table, table

from orbitds.train.launch import Launch
from tests.scaling.scripts import EVAL, python

SCRIPT = EVAL / "bench_scaling.py"


def _run(*command):
    done = python(*command)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_are_measured_and_compared_with_one(tmp_path):
    launch = ("-m", "torch.distributed.run", "--nproc-per-node", 2, SCRIPT, "measure", "--tiny")
    cases = ("tiles", "tiles-bf16", "fsdp", "fsdp-bf16", "strong", "tensor")
    out = _run(*launch, "--sizes", "9.5M", "10B", "--cases", *cases, "--output", tmp_path)
    told = json.loads((tmp_path / "measured_2.json").read_text(encoding="utf-8"))
    assert not [row for row in told["rows"] if "error" in row]
    rows = {row["case"]: row for row in told["rows"] if row["size"] == "9.5M"}
    assert set(rows) == {"one", "apart", "met", *cases}
    for name in ("met", *cases):
        row = rows[name]
        # samples of a process in a step; of a sample that two share, half
        own = {"strong": 8 * 4, "tensor": 2}.get(name, 4)
        assert row["samples_per_s"] == pytest.approx(2 * own * 1e3 / row["ms"])
        rate = sum(max(own, 4) * 1e3 / ms for ms in row["apart_ms"])
        assert row["efficiency"] == pytest.approx(row["samples_per_s"] / rate)
        assert [len(times) > 2 for times in row["all_ms"]] == [True, True]
        expected = None if name == "tensor" else pytest.approx(1 - row["efficiency"])
        assert row.get("exposed") == expected
    assert [row["case"] for row in told["rows"] if row["size"] == "10B"] == [
        "fsdp",
        "fsdp-bf16",
    ]
    timed = {row["operation"] for row in told["probe"] if "s" in row}
    assert {"all_reduce", "all_gather"} <= timed
    assert table(told["rows"]) in out


def test_a_size_says_how_many_processes_it_takes():
    rows = []
    bench = Bench(
        Launch(), torch.device("cpu"), tiny=True, pace=None, until=float("inf"), say=rows.append
    )
    bench.size(SIZES["10B"], ["fsdp"])
    assert [row["error"] for row in rows] == ["the 10B size takes 2 processes"]


@pytest.mark.slow
@pytest.mark.distributed
def test_the_first_of_many_takes_steps_among_echoes(tmp_path):
    _run(SCRIPT, "cut", "--tiny", "--processes", 8, "--sizes", "9.5M", "10B", "--output", tmp_path)
    told = json.loads((tmp_path / "cut_8.json").read_text(encoding="utf-8"))
    assert not [row for row in told["rows"] if "error" in row]
    rows = {(row["size"], row["case"]): row for row in told["rows"]}
    assert rows.keys() >= {("9.5M", "tensor"), ("10B", "hsdp")}
    for (size, case), row in rows.items():
        assert row["ms"] > 0
        if case in ("one", "apart", "met"):
            continue
        assert row["paced"]["ms"] > 0
        assert "samples_per_s" not in row
        if size == "9.5M":
            assert [len(row["apart_ms"]), len(row["all_ms"])] == [1, 1]
            share = 0.5 if case in ("sequence", "tensor") else 1
            for one in (row, row["paced"]):
                assert one["efficiency"] == pytest.approx(share * row["apart_ms"][0] / one["ms"])
    assert echo_table(told["rows"]).count("\n") == 1 + sum("paced" in row for row in told["rows"])
    assert "tiles-bf16 at a pace (tiles 8)" in table(told["rows"])


@pytest.mark.slow
def test_late_cases_are_not_begun(tmp_path):
    arguments = ("--sizes", "9.5M", "--seconds", 0, "--output", tmp_path)
    out = _run(SCRIPT, "cut", "--tiny", "--processes", 2, *arguments)
    assert "not begun: the time is over" in out


@pytest.mark.slow
def test_predictions_are_told_and_drawn(tmp_path):
    figure = tmp_path / "scaling.png"
    out = _run(SCRIPT, "predict", "--sizes", "9.5M", "--figure", figure)
    assert "| 9.5M | tiles over copies | **0.972** |" in out
    assert figure.stat().st_size > 10_000


@pytest.mark.slow
def test_predictions_want_two_processes(tmp_path):
    done = python(SCRIPT, "predict", tmp_path)
    assert done.returncode == 1
    assert "Wanted measured_2.json in" in done.stderr


@pytest.mark.slow
def test_what_more_processes_took_stands_beside_predictions(tmp_path):
    for processes in (2, 8):
        case = {"processes": processes, "axes": {"tiles": processes}, "efficiency": 0.9}
        rows = [
            {"size": "9.5M", "case": "one", "processes": processes, "ms": 60.0},
            {"size": "9.5M", "case": "met", "processes": processes, "efficiency": 0.98},
            {"size": "9.5M", "case": "tiles", "ms": 66.7, **case},
        ]
        told = {"device": "it", "torch": "2", "processes": processes, "probe": [], "rows": rows}
        (tmp_path / f"measured_{processes}.json").write_text(json.dumps(told), encoding="utf-8")
    out = _run(SCRIPT, "predict", tmp_path, "--sizes", "9.5M")
    assert "| 2, measured | 2 | 4 | 8, measured | 8 | 64 |" in out
    assert "several 0.020" in out


def test_a_case_that_failed_has_its_reason_in_the_table():
    rows = [
        {"size": "1B", "case": "one", "ms": 10.0, "samples_per_s": 100.0},
        {"size": "1B", "case": "fsdp", "error": "CUDA out of memory"},
    ]
    lines = table(rows).splitlines()
    assert lines[2] == "| 1B | one | 10.0 | 100.00 |" + "  |" * 8
    assert "CUDA out of memory" in lines[3]
    assert len({line.count("|") for line in lines}) == 1
    assert efficiency_table([]).count("\n") == 1
