"""Parts of processes: one table; what lacks or does not belong is said. Also test_evaluate.py."""

import numpy as np
import pytest

from orbitds.eval.evaluate import prepare
from orbitds.eval.parts import table_of_parts, write_part
from tests.eval.test_evaluate import rainy


def test_a_process_that_has_not_written_is_named(tmp_path):
    evaluation = prepare(*rainy(12))
    write_part(evaluation, tmp_path, (0, 2))
    with pytest.raises(FileNotFoundError, match=r"of 2 processes.*2_of_2.*Run these"):
        table_of_parts(evaluation, tmp_path, 2)


def test_parts_of_another_truth_grid_are_refused(tmp_path):
    write_part(prepare(*rainy(12)), tmp_path, (0, 1))
    other = prepare(*rainy(12, columns=24))
    with pytest.raises(ValueError, match="differs in frame"):
        table_of_parts(other, tmp_path, 1)


def test_one_process_alone_leaves_whole_files_only(tmp_path):
    evaluation = prepare(*rainy(12))
    write_part(evaluation, tmp_path, (0, 1))
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors"}
    assert np.isfinite(
        table_of_parts(evaluation, tmp_path, 1)["value"].sel(metric="rmse")[:, 0, 0, 0]
    ).all()
