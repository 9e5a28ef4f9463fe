"""Outlines: names and sizes of a pair, and what is refused before anything is read."""

import pytest

from orbitds.config import TrainConfig
from orbitds.train.outline import outline_of
from orbitds.train.setting import prepare


def test_an_outline_is_what_a_run_would_see(pair):
    config = TrainConfig(
        pair="x", tiles={"rows": 2, "columns": 3, "halo_cells": 1}, data={"history": 2}
    )
    outline = outline_of(config, pair)
    setting = prepare(config, pair)
    assert outline.inputs == setting.inputs
    assert len(outline.inputs) == 3 * len(pair.inputs)
    assert (outline.outputs, outline.statics) == (pair.outputs, pair.static_names)
    assert (outline.name, outline.factor) == (pair.name, 3)
    assert outline.tiles == setting.tiles
    assert outline.samples == len(setting.train)
    assert outline.stored_bytes == setting.train.reader.bytes_of(1)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tiles": {"rows": 8}}, "at most 7 x 11 tiles"),
        ({"data": {"history": 500}}, "history of 500"),
    ],
)
def test_what_a_run_would_refuse_is_refused(pair, changes, told):
    with pytest.raises(ValueError, match=told):
        outline_of(TrainConfig(pair="x", **changes), pair)
