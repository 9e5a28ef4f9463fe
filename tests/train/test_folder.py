"""The folder of a run: its best weights, and whether a run may begin or go on there."""

import pytest

from orbitds.config import TrainConfig
from orbitds.train.folder import best_of, check_new, check_same_run, write_settings

CONFIG = TrainConfig(pair="synthetic", loss={"tv_weights": {"a": 0.5}})  # pyright: ignore[reportArgumentType]  parsed


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


def test_a_new_run_wants_a_folder_of_its_own(tmp_path):
    check_new(CONFIG, tmp_path)
    check_new(CONFIG, tmp_path / "new")
    write_settings(CONFIG, tmp_path / "new")
    with pytest.raises(FileExistsError, match="new or empty folder.*--resume"):
        check_new(CONFIG, tmp_path / "new")


def changed(**settings):
    return TrainConfig.model_validate(CONFIG.model_dump() | settings)


def test_a_run_goes_on_with_its_settings_alone(tmp_path):
    check_same_run(CONFIG, tmp_path)  # nothing to go on from: it begins
    write_settings(CONFIG, tmp_path)
    check_same_run(CONFIG, tmp_path)
    free = {"device": "cpu", "parallel": {"shard": 4}, "accumulate": 4, "save": {"every": 7}}
    check_same_run(changed(**free, data={"workers": 3}), tmp_path)
    for settings, told in (
        ({"steps": 7}, r"steps 7 \(it was 1000\)"),
        ({"data": {"history": 1}}, r"data.history 1 \(it was 0\)"),
        ({"loss": {"tv_weights": {"a": 0.5, "b": 1.0}}}, r"loss.tv_weights.b 1.0 \(it was None\)"),
    ):
        with pytest.raises(ValueError, match=told):
            check_same_run(changed(**settings), tmp_path)


def test_another_folder_is_no_run(tmp_path):
    (tmp_path / "thesis.tex").write_text("chapter 1")
    with pytest.raises(FileExistsError, match="new or empty"):
        check_same_run(CONFIG, tmp_path)
