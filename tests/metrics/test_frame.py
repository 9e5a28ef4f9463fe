"""Times and frames: seasons and blocks of dates, what a fingerprint tells apart."""

import pytest
import torch
from torch.testing import assert_close

from orbitds.metrics.frame import When, blocks, runs
from tests.metrics.frames import days, frame_of


@pytest.mark.parametrize(
    ("month", "season"), [(12, "DJF"), (2, "DJF"), (3, "MAM"), (8, "JJA"), (9, "SON"), (11, "SON")]
)
def test_seasons(month, season):
    assert When("x", 2004, month, 5).season == season


def test_blocks_are_thirds_of_a_month():
    blocks = [When("x", 2004, 2, day).block for day in (1, 10, 11, 20, 21, 29)]
    assert [block[-1] for block in blocks] == ["1", "1", "2", "2", "3", "3"]
    assert When("x", 850, 1, 31).block == "0850-01-3"


def test_runs_of_times_end_with_their_month():
    when = days(40, "2004-01-28")
    assert list(runs(when, most=15)) == [
        slice(0, 4), slice(4, 19), slice(19, 33), slice(33, 40),
    ]  # fmt: skip
    assert blocks(when)[:2] == [("2004-01-3", slice(0, 4)), ("2004-02-1", slice(4, 14))]


def test_coarse_weights_sum_up_to_regions():
    frame = frame_of()
    assert frame.coarse_weight.shape == (4, 6, 9)
    assert_close(frame.coarse_weight.sum(dim=(1, 2)), frame.cells.area)


def test_fingerprints_tell_frames_apart():
    assert frame_of().fingerprint == frame_of().fingerprint
    others = [frame_of(seed=1), frame_of(18, 30), frame_of(factor=None), frame_of(factor=9)]
    renamed = frame_of()
    renamed.regions["Land"] = renamed.regions.pop("land")
    found = {frame.fingerprint for frame in (frame_of(), renamed, *others)}
    assert len(found) == 6
    assert torch.equal(frame_of().area, frame_of().area)
