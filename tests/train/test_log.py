"""The log: lines of JSON, appended."""

import json

import pytest

from orbitds.train.log import JsonLines


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
