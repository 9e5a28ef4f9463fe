"""Where the best weights of a run lie, also while they change places."""

import pytest

from orbitds.train.folder import best_of


@pytest.mark.parametrize(
    ("folders", "wanted"),
    [
        ((), None),
        (("best",), "best"),
        (("best.old",), "best.old"),
        (("best", "best.old"), "best"),
        (("best.partial",), None),
    ],
)
def test_the_best_weights_are_found(tmp_path, folders, wanted):
    for name in folders:
        (tmp_path / name).mkdir()
    assert best_of(tmp_path) == (None if wanted is None else tmp_path / wanted)


def test_a_file_is_no_run(tmp_path):
    (tmp_path / "best").write_text("no folder")
    assert best_of(tmp_path) is None
    assert best_of(tmp_path / "nowhere") is None
