"""A block: coarse values of some times in, fine values of a part out, in whatever process."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from orbitds.checkpoint import load_checkpoint
from orbitds.grid import Grid
from orbitds.infer.block import Block, settings_of
from orbitds.infer.downscaler import Downscaler
from orbitds.infer.part import Part

WIND, RAIN = "eastward_wind", "total_precipitation_24hr"


@pytest.fixture
def block(coarse, checkpoint_folder):
    """Make the work of a part of the field in tiles."""
    grid = Grid.of(coarse)

    def make(part=None, checkpoint=checkpoint_folder, **options):
        downscaler = Downscaler(checkpoint, tiles=(3, 2), batch_size=1, **options)
        return Block(downscaler, grid, Part.whole(grid.shape) if part is None else part)

    return make


def given(work, coarse):
    """What dask hands to a block."""
    rows, columns = work.window
    window = coarse.isel(latitude=slice(rows.start, rows.stop), longitude=columns)
    return coarse["time"].values, None, *([[window[name].values]] for name in work.inputs)


def test_a_block_of_the_whole_field_is_what_the_downscaler_gives(coarse, block):
    work = block()
    wanted = work.downscaler(coarse)
    answer = work(*given(work, coarse))
    assert list(answer) == [WIND, RAIN]
    for name, values in answer.items():
        np.testing.assert_array_equal(values, wanted[name])


def test_a_block_of_a_part_is_its_crop(coarse, block):
    whole = block()
    fine = whole(*given(whole, coarse))[WIND]
    for part in (Part(range(2), range(11)), Part(range(5, 7), range(3, 8))):
        work = block(part)
        rows = slice(3 * part.rows.start, 3 * part.rows.stop)
        columns = slice(3 * part.columns.start, 3 * part.columns.stop)
        np.testing.assert_array_equal(work(*given(work, coarse))[WIND], fine[:, rows, columns])


def test_a_block_travels_without_weights(coarse, block):
    work = block()
    wanted = work(*given(work, coarse))
    message = pickle.dumps(work)
    assert len(message) < 3000
    again = pickle.loads(message)
    for name, values in again(*given(again, coarse)).items():
        np.testing.assert_array_equal(values, wanted[name])


def test_a_block_in_memory_does_not_travel(coarse, block, checkpoint_folder):
    mine = replace(load_checkpoint(checkpoint_folder), name="mine")
    work = block(checkpoint=mine)
    assert work(*given(work, coarse))
    with pytest.raises(ValueError, match="got 'mine', which is in memory alone.*'threads'"):
        pickle.dumps(work)


def test_tokens_tell_parts_and_checkpoints_in_memory_apart(block, checkpoint_folder):
    part = Part(range(2), range(11))
    mine = replace(load_checkpoint(checkpoint_folder), name="mine")
    tokens = [str(work.__dask_tokenize__()) for work in (block(), block(part), block())]
    assert tokens[0] == tokens[2] != tokens[1]
    one, other = (str(block(checkpoint=mine).__dask_tokenize__()) for _ in range(2))
    assert one != other


def test_settings_are_plain_values(block):
    work = block(missing="mask", variables=[RAIN])
    assert settings_of(work.downscaler, work.grid) == {
        "variables": [RAIN],
        "tiles": [3, 2],
        "halo": [8, 8],
        "constraints": [],
        "missing": "mask",
        "dtype": "float32",
        "members": None,
        "spread": None,
    }
