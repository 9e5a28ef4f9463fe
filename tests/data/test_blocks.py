"""Blocks of time: all steps once, in order, none larger than memory allows."""

from dataclasses import replace

import numpy as np
import pytest

from orbitds.data import blocks
from orbitds.data.climatology import Climatology
from orbitds.data.stats import statistics as statistics_of

# fine cells of a step of the pair: 21 x 33 of two variables
STEP = 21 * 33 * 2


@pytest.mark.parametrize(
    ("cells", "steps"),
    [(1, 1), (STEP - 1, 1), (STEP, 1), (5 * STEP, 5), (7 * STEP + 1, 7), (100 * STEP, 48)],
)
def test_blocks_are_as_large_as_they_may_be_and_cover_all_steps(pair, monkeypatch, cells, steps):
    monkeypatch.setattr(blocks, "BLOCK_CELLS", cells)
    slices = blocks.block_slices(pair.coarse, pair.fine)
    taken = [np.arange(48)[part] for part in slices]
    np.testing.assert_array_equal(np.concatenate(taken), np.arange(48))
    assert [len(part) for part in taken[:-1]] == [steps] * (len(taken) - 1)
    assert 0 < len(taken[-1]) <= steps


def test_blocks_of_several_datasets_hold_the_same_times(pair, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_CELLS", 7 * STEP)
    lazy = pair.fine.chunk(time=5)
    read = list(blocks.time_blocks(pair.coarse, lazy))
    assert len(read) == 7
    for number, (coarse, fine) in enumerate(read):
        part = slice(7 * number, 7 * number + 7)
        assert coarse.identical(pair.coarse.isel(time=part))
        assert fine.identical(pair.fine.isel(time=part))
        assert not fine.chunks
    assert lazy.chunks


@pytest.mark.parametrize("steps", [1, 7, 48])
def test_results_do_not_depend_on_the_blocks(pair, statistics, monkeypatch, steps):
    expected = Climatology.of(pair).means()
    monkeypatch.setattr(blocks, "BLOCK_CELLS", steps * STEP)
    lazy = replace(pair, fine=pair.fine.chunk(time=5), coarse=pair.coarse.chunk(time=4))
    for got, wanted in zip(Climatology.of(lazy).means(), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
    rows = statistics_of(lazy.part("train"))
    for name, row in statistics.items():
        np.testing.assert_allclose([rows[name].mean, rows[name].std], [row.mean, row.std])
