"""Which states are kept, and what a killed run leaves."""

import pytest

from orbitds.config import SaveConfig
from orbitds.train.manifest import Manifest, read_manifest
from orbitds.train.shelf import LATEST, Shelf


def _write(shelf, step, told=0):
    shelf.partial(step).mkdir(parents=True)
    shelf.commit(Manifest(step=step, world=1, facts={"told": told}, files={}, tensors={}))


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"keep_last": 1}, [7]),
        ({"keep_last": 3}, [7, 6, 5]),
        ({"keep_last": 2, "keep_every": 3}, [7, 6, 3]),
        ({"keep_last": 1, "keep_every": 2}, [7, 6, 4, 2]),
    ],
)
def test_which_are_kept(tmp_path, settings, kept):
    shelf = Shelf(tmp_path / "states", SaveConfig(**settings))
    for step in range(1, 8):
        _write(shelf, step)
    assert shelf.steps() == kept
    names = {f"step-{step:08d}" for step in kept}
    assert {path.name for path in shelf.folder.iterdir()} == names | {LATEST}
    assert (shelf.folder / LATEST).read_text() == "step-00000007\n"


def test_steps_are_numbers(tmp_path):
    shelf = Shelf(tmp_path, SaveConfig(keep_last=9))
    for step in (99_999_999, 5, 100_000_000):
        _write(shelf, step)
    for stranger in ("step-12", "step-0000000x", "damaged-step-00000009", "steps"):
        (tmp_path / stranger).mkdir()
    assert shelf.steps() == [100_000_000, 99_999_999, 5]


def test_no_folder_is_no_state(tmp_path):
    assert Shelf(tmp_path / "none", SaveConfig()).steps() == []


def test_the_same_step_is_replaced(tmp_path):
    shelf = Shelf(tmp_path, SaveConfig())
    for told in (1, 2):
        _write(shelf, 4, told)
    assert shelf.steps() == [4]
    assert read_manifest(shelf.whole(4)).facts == {"told": 2}


def test_leftovers_are_removed_and_nothing_else(tmp_path):
    shelf = Shelf(tmp_path, SaveConfig())
    _write(shelf, 3)
    (tmp_path / "mine.txt").touch()
    shelf.partial(8).mkdir()
    (shelf.partial(8) / "shard").touch()
    (tmp_path / ".removed-step-00000001").mkdir()
    (tmp_path / ".partial-latest").touch()
    shelf.clear()
    assert {path.name for path in tmp_path.iterdir()} == {"step-00000003", LATEST, "mine.txt"}


def test_set_aside(tmp_path):
    shelf = Shelf(tmp_path, SaveConfig())
    for _ in range(2):  # a second one takes the place of the first
        _write(shelf, 3)
        assert shelf.set_aside(3).name == "damaged-step-00000003"
        assert shelf.steps() == []
