"""What a plan says before anything is written."""

import numpy as np
import pytest

from orbitds.data.plan import BLOCK_BYTES, LARGEST_BLOCK_BYTES, _block_times, plan, training_times
from orbitds.data.recipe import Recipe

WINDS = "navy_winds_10deg_to_2p5deg"


@pytest.mark.parametrize(
    ("step", "chunk", "times"),
    [
        (BLOCK_BYTES // 10, 1, 10),
        (BLOCK_BYTES // 10, 4, 8),
        (BLOCK_BYTES // 10, 10, 10),
        (BLOCK_BYTES // 10, 31, 31),  # a month a file: read once
        (LARGEST_BLOCK_BYTES // 100, 365, 92),  # a year a file: four times
        (10 * LARGEST_BLOCK_BYTES, 1, 1),
    ],
)
def test_a_block_holds_whole_chunks_where_they_fit(step, chunk, times):
    assert _block_times(step, chunk) == times


def test_a_plan_lays_out_the_store():
    planned = plan(Recipe(pair=WINDS, dtype="int16", tiles=(3, 2)))
    assert planned.blocks == [slice(0, 132)]
    assert set(planned.identity) == {"recipe", "pair", "dataset fnoc_navy_winds_2p5deg"}
    text = planned.describe()
    for line in (
        "132 times, 1982-01-01 00:00:00 to 1992-12-01 00:00:00",
        "132 x 2 x 72 x 144 int16, 5.2 MiB before compression; chunks 1 x 2 x 24 x 72, shards "
        "132 x 2 x 72 x 144",
        "statics: orography, land_sea_mask",
        "int16: error of eastward_wind at most 0.0018 m s-1",
        "1 blocks of 132 times, 11.1 MiB each in memory",
    ):
        assert line in text


def test_training_times_are_those_of_the_split():
    chosen = training_times(plan(Recipe(pair=WINDS)).source)
    np.testing.assert_array_equal(chosen, np.arange(132) < 96)


def test_the_identity_follows_the_options():
    plans = [plan(Recipe(pair=WINDS, **told)).identity for told in ({}, {}, {"dtype": "int16"})]
    assert plans[0] == plans[1]
    assert [key for key in plans[0] if plans[0][key] != plans[2][key]] == ["recipe"]
