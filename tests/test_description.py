"""What a checkpoint folder says of itself, checked and found without building its network."""

import shutil
from pathlib import Path

import pytest

from orbitds.checkpoint import load_checkpoint
from orbitds.description import CLIMATOLOGY, DESCRIPTION, WEIGHTS, describe, find_checkpoint


@pytest.fixture
def folder(checkpoint_folder, tmp_path):
    """A copy, yours to change."""
    return Path(shutil.copytree(checkpoint_folder, tmp_path / "copy"))


def test_a_folder_is_described_without_its_network(folder, monkeypatch):
    wanted = load_checkpoint(folder).description
    assert wanted.objective == "downscale"
    monkeypatch.setattr(
        "orbitds.checkpoint.build_bare", lambda *a, **k: pytest.fail("built a network")
    )
    assert describe(folder) == wanted
    (folder / WEIGHTS).unlink()
    text = (folder / DESCRIPTION).read_text()
    (folder / DESCRIPTION).write_text(text + "\n")  # another file: read anew
    with pytest.raises(FileNotFoundError, match=f"Wanted .*{WEIGHTS}"):
        describe(folder)


def test_a_checkpoint_is_found_by_its_folder_without_being_read(checkpoint_folder, tmp_path):
    assert find_checkpoint(checkpoint_folder) == checkpoint_folder.resolve()
    empty = tmp_path / "hollow"
    empty.mkdir()
    (empty / WEIGHTS).write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=f"{DESCRIPTION}.*Export the run"):
        find_checkpoint(empty)
    (empty / DESCRIPTION).write_text("nothing")
    assert find_checkpoint(empty) == empty.resolve()
    with pytest.raises(ValueError, match="Wanted the description of a checkpoint"):
        describe(empty)


def test_a_region_that_is_named_and_missing_is_told(folder):
    (folder / CLIMATOLOGY).unlink()
    (folder / DESCRIPTION).write_text((folder / DESCRIPTION).read_text() + "\n")
    with pytest.raises(FileNotFoundError, match=f"{CLIMATOLOGY}, which belongs to the checkpoint"):
        describe(folder)
