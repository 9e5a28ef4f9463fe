"""The log: lines of JSON, appended."""

import json
from dataclasses import replace

import pytest

from orbitds.train.log import JsonLines, tell_pairs


def test_lines_come_back_in_order(tmp_path):
    path = tmp_path / "log.jsonl"
    first, second = {"step": 1, "loss": 0.1 + 0.2}, {"step": 2, "note": "a\nb \u00e9"}
    JsonLines(path).write(**first)
    JsonLines(path).write(**second)  # another process goes on where the first stopped
    assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == [first, second]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_null(tmp_path, value):
    path = tmp_path / "log.jsonl"
    JsonLines(path).write(step=3, loss=value)
    assert path.read_text() == '{"step": 3, "loss": null}\n'


def test_what_is_left_out_and_which_statics_are_used_is_told(pair, capsys):
    notes = ("coarse: 10 of 12 times kept, 2001-01-01 to 2001-10-01", "fine: 4 x 5 cells kept")
    statics = pair.statics.assign_attrs(source="orography: a survey")
    tell_pairs([pair, replace(pair, name="other", notes=notes, statics=statics)])
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [f"other: {note}" for note in notes] + [
        "other: statics: orography: a survey"
    ]
