"""The log: lines of JSON, cut on a restart; TensorBoard; Weights & Biases by a stand-in."""

import json
import sys
from dataclasses import replace
from types import ModuleType

import pytest

from orbitds.config import LogConfig
from orbitds.train import log as module
from orbitds.train.log import EVENTS, LOG, REPORTED, SPEED, JsonLines, Log, RunLog, tell_pairs

LINES_ALONE = LogConfig(tensorboard=False)


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def values(step):
    return {"loss": 1 / step, "norm": 0.1 + 0.2} | ({"validation": 0.5} if step % 4 == 0 else {})


def logged(folder, config, first, last):
    with RunLog(folder, config, first=first) as log:
        for step in range(first + 1, last + 1):
            log.write(step, values(step))
            log.speed(step, {"step_s": 0.25})
        log.sync()


def test_lines_come_back_in_order_as_soon_as_they_are_written(tmp_path):
    file = JsonLines(tmp_path / "log.jsonl", last=0)
    file.write(1, {"loss": 0.1 + 0.2})
    assert lines(tmp_path / "log.jsonl") == [{"step": 1, "loss": 0.1 + 0.2}]
    file.write(2, {"note": "a\nb \u00e9"})
    file.close()
    assert lines(tmp_path / "log.jsonl")[1:] == [{"step": 2, "note": "a\nb \u00e9"}]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_null(tmp_path, value):
    path = tmp_path / "log.jsonl"
    file = JsonLines(path, last=0)
    file.write(3, {"loss": value})
    file.close()
    assert path.read_text() == '{"step": 3, "loss": null}\n'


@pytest.mark.parametrize("first", [0, 1, 4, 5, 9])
@pytest.mark.parametrize("every", [1, 3])
def test_a_restart_leaves_the_bytes_of_a_run_that_never_stopped(tmp_path, first, every):
    config = LogConfig(tensorboard=False, every=every)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
    logged(whole, config, 0, 9)
    logged(stopped, config, 0, 7)
    with (stopped / LOG).open("a") as file:  # killed while it wrote
        file.write('{"step": 8, "lo')
    if first > 7:  # no state of a step that is not logged
        logged(stopped, config, 7, first)
    logged(stopped, config, first, 9)
    assert (stopped / LOG).read_bytes() == (whole / LOG).read_bytes()
    assert [line["step"] for line in lines(stopped / SPEED)] == list(range(1, 10))
    assert sorted(path.name for path in stopped.iterdir()) == [LOG, SPEED]


def test_some_steps_alone_are_written_and_each_validation(tmp_path):
    logged(tmp_path, LogConfig(tensorboard=False, every=3), 0, 10)
    assert [line["step"] for line in lines(tmp_path / LOG)] == [3, 4, 6, 8, 9]


def test_events_for_tensorboard_hold_the_scalars_and_hide_those_of_a_lost_time(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logged(tmp_path, LogConfig(), 0, 5)
    logged(tmp_path, LogConfig(), 3, 6)
    events = accumulator.EventAccumulator(str(tmp_path / EVENTS)).Reload()
    assert sorted(events.Tags()["scalars"]) == ["loss", "norm", "step_s", "validation"]
    found = {event.step: event.value for event in events.Scalars("loss")}
    assert found == pytest.approx({step: 1 / step for step in range(1, 7)})
    assert len(events.Scalars("loss")) == 6


def test_without_tensorboard_a_line_says_so_and_the_run_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    logged(tmp_path, LogConfig(), 0, 2)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "tensorboard is not installed" in told
    assert len(lines(tmp_path / LOG)) == 2
    assert not (tmp_path / EVENTS).exists()


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for the package: what it was told."""

    class Run:
        def log(self, values, step):
            told.append((step, values))

        def finish(self):
            told.append("end")

    told = []
    stand_in = ModuleType("wandb")
    stand_in.init = lambda **settings: told.append(settings) or Run()
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: stand_in)
    return told


def test_weights_and_biases_is_told_the_same_and_a_restart_goes_on_with_its_run(tmp_path, wandb):
    (tmp_path / "config.json").write_text('{"seed": 3}')
    config = LogConfig(tensorboard=False, wandb="winds")
    for first in (0, 1):
        with RunLog(tmp_path, config, first=first) as log:
            log.write(first + 1, {"loss": 0.5, "note": "text is for the file alone"})
            log.speed(first + 1, {"step_s": 0.25})
    begun, *told, end = wandb[:4]
    assert told == [(1, {"loss": 0.5}), (1, {"step_s": 0.25})]
    assert end == "end"
    assert (begun["project"], begun["resume"], begun["config"]) == ("winds", "allow", {"seed": 3})
    assert (begun["name"], begun["dir"]) == (tmp_path.name, str(tmp_path))
    assert begun["id"] == wandb[4]["id"] == (tmp_path / REPORTED).read_text()


def test_weights_and_biases_that_is_not_installed_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"orbitds\[wandb\]"):
        RunLog(tmp_path, LogConfig(tensorboard=False, wandb="winds"), first=0)


def test_other_processes_write_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Log() as log:
        log.write(1, {"validation": 0.5})
        log.speed(1, {"step_s": 0.25})
        log.sync()
        assert not log.wants(1)
    assert not list(tmp_path.iterdir())
    with RunLog(tmp_path, LINES_ALONE, first=0) as log:
        assert log.wants(1)


def test_what_is_left_out_and_which_statics_are_used_is_told(pair, capsys):
    notes = ("coarse: 10 of 12 times kept, 2001-01-01 to 2001-10-01", "fine: 4 x 5 cells kept")
    statics = pair.statics.assign_attrs(source="orography: a survey")
    tell_pairs([pair, replace(pair, name="other", notes=notes, statics=statics)])
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [f"other: {note}" for note in notes] + [
        "other: statics: orography: a survey"
    ]
