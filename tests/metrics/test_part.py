"""Parts as files: they come back as they were, and only into their own evaluation."""

import pytest
import torch

from orbitds.metrics.part import load_part, save_part
from tests.metrics.frames import frame_of
from tests.metrics.test_scores import FRAME, WARM, assert_same, scores_of


@pytest.mark.parametrize("members", [0, 3])
def test_saved_parts_come_back_as_they_were(tmp_path, members):
    part = scores_of(slice(0, 30), members=members)
    save_part(part, tmp_path / "part.safetensors")
    back = load_part(tmp_path / "part.safetensors", WARM, FRAME)
    assert back.names == part.names
    assert back.sums.keys() == part.sums.keys()
    assert all(torch.equal(back.sums[key], value) for key, value in part.sums.items())
    rest = scores_of(slice(30, 60), members=members)
    assert_same(scores_of(members=members), back.merge(rest))


def test_a_file_of_another_evaluation_is_refused(tmp_path):
    save_part(scores_of(slice(0, 10)), tmp_path / "part.safetensors")
    with pytest.raises(ValueError, match="differs in frame"):
        load_part(tmp_path / "part.safetensors", WARM, frame_of(seed=4))
