"""What a checkpoint folder says of itself, checked and found without building its network."""

import json
import os
import shutil
from pathlib import Path

import pytest

from orbitds.checkpoint import load_checkpoint
from orbitds.description import (
    CLIMATOLOGY,
    DESCRIPTION,
    DESCRIPTION_BYTES,
    WEIGHTS,
    describe,
    find_checkpoint,
    known_checkpoints,
)


@pytest.fixture
def folder(checkpoint_folder, tmp_path):
    """A copy, yours to change."""
    return Path(shutil.copytree(checkpoint_folder, tmp_path / "copy"))


def test_a_folder_is_described_without_its_network(folder, monkeypatch):
    wanted = load_checkpoint(folder).description
    assert wanted.objective == "downscale"
    monkeypatch.setattr(
        "orbitds.weights.build_bare", lambda *a, **k: pytest.fail("built a network")
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


# --- where files lie ---


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION, CLIMATOLOGY])
def test_a_link_out_of_the_folder_is_refused(folder, tmp_path, name):
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=rf"Wanted .*{name} in the folder.*link to .*else.*Copy"):
        load_checkpoint(folder)


def test_a_link_within_the_folder_and_one_to_the_folder_are_followed(folder, tmp_path):
    (folder / WEIGHTS).rename(folder / "step_7.safetensors")
    (folder / WEIGHTS).symlink_to("step_7.safetensors")
    (tmp_path / "latest").symlink_to(folder)
    assert load_checkpoint(tmp_path / "latest").name == "copy"


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION, CLIMATOLOGY])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "circle", "nowhere"])
def test_what_is_no_file_is_refused_and_not_waited_for(folder, name, kind):
    path = folder / name
    path.unlink()
    make = {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
        "circle": lambda: path.symlink_to(path),
        "nowhere": lambda: path.symlink_to("nowhere"),
    }
    make[kind]()
    with pytest.raises(FileNotFoundError, match=rf"{name}.*[Ee]xport"):
        load_checkpoint(folder)


def test_a_description_without_end_is_refused_before_it_is_read(folder):
    os.truncate(folder / DESCRIPTION, 2**40)  # sparse: a terabyte of nothing
    with pytest.raises(ValueError, match=rf"got more than {DESCRIPTION_BYTES} bytes.*Export"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["../weights.safetensors", "/etc/passwd", "a\0b", "..\\x"])
def test_names_of_files_are_not_followed(folder, name):
    content = json.loads((folder / DESCRIPTION).read_text())
    content["sha256"][name] = "0" * 64
    (folder / DESCRIPTION).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"Wanted hashes of weights.* and clim.*, got \["):
        describe(folder)


@pytest.mark.parametrize("name", ["a\0b", "..\\..\\x", "no\nsuch", "../../no_such"])
def test_odd_names_are_no_checkpoints(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"Wanted a checkpoint folder, one of .*Check the"):
        find_checkpoint(name)


def test_a_shipped_name_with_steps_upwards_is_none(checkpoint_folder, tmp_path, monkeypatch):
    shutil.copytree(checkpoint_folder, tmp_path / "data_catalog/checkpoints/small")
    shutil.copytree(checkpoint_folder, tmp_path / "data_catalog/other")
    monkeypatch.setattr("orbitds.description.share", lambda relative: tmp_path / relative)
    monkeypatch.chdir(checkpoint_folder)
    assert find_checkpoint("small") == tmp_path / "data_catalog/checkpoints/small"
    with pytest.raises(FileNotFoundError, match="Wanted a checkpoint folder"):
        find_checkpoint("../other")


def test_what_a_stranger_wrote_does_not_reach_the_terminal(folder):
    content = json.loads((folder / DESCRIPTION).read_text())
    (folder / DESCRIPTION).write_text(json.dumps(content | {"\x1b[31m" + "x" * 10**6: 1}))
    with pytest.raises(ValueError, match=r"got .*x1b\[31mxxx") as error:
        describe(folder)
    assert "\x1b" not in str(error.value)
    assert len(str(error.value)) < 2000


def test_variables_are_named_once(folder):
    content = json.loads((folder / DESCRIPTION).read_text())
    for told in (content | {"inputs": []}, content | {"outputs": ["x", "x"]}):
        (folder / DESCRIPTION).write_text(json.dumps(told))
        with pytest.raises(ValueError, match="should name each variable once"):
            describe(folder)


def test_known_checkpoints_are_those_that_ship_and_those_in_the_cache(
    checkpoint_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("orbitds.description.share", lambda relative: tmp_path / relative)
    monkeypatch.setattr("orbitds.hub.cached", lambda file: {"hf://a/b@c": tmp_path / file})
    shutil.copytree(checkpoint_folder, tmp_path / "data_catalog/checkpoints/small")
    assert known_checkpoints() == {
        "small": tmp_path / "data_catalog/checkpoints/small",
        "hf://a/b@c": tmp_path / DESCRIPTION,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "several sets in format 2, factor 3"),
        ({"factor": 4}, "several sets in format 3, factor 4"),
        ({"outputs": ["eastward_wind"]}, "outputs of the sets that are not those"),
        ({"statics": []}, "statics of the sets that are not those"),
    ],
)
def test_sets_that_do_not_make_up_a_checkpoint_are_refused(mixed_folder, tmp_path, change, message):
    folder = Path(shutil.copytree(mixed_folder, tmp_path / "copy"))
    told = json.loads((folder / DESCRIPTION).read_text())
    (folder / DESCRIPTION).write_text(json.dumps(told | change))
    with pytest.raises(ValueError, match=message):
        describe(folder)
