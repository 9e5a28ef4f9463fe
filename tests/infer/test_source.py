"""The source of a checkpoint: it travels as path and hash, and another one is refused."""

import pickle
import shutil

import pytest

from orbitds.checkpoint import load_checkpoint
from orbitds.infer.downscaler import Downscaler
from orbitds.infer.source import Source


def test_a_folder_travels_without_weights(checkpoint_folder):
    source = Source.of(checkpoint_folder)
    again = pickle.loads(pickle.dumps(source))
    assert len(pickle.dumps(source)) < 500
    assert again.checkpoint is source.checkpoint is load_checkpoint(checkpoint_folder)


def test_another_checkpoint_in_its_place_is_refused(checkpoint_folder, tmp_path):
    folder = shutil.copytree(checkpoint_folder, tmp_path / "mine")
    message = pickle.dumps(Downscaler(folder))
    text = (folder / "orbitds.json").read_text(encoding="utf-8")
    (folder / "orbitds.json").write_text(text.replace('"pair"', '"pairs"'), encoding="utf-8")
    with pytest.raises(ValueError, match=r"Wanted the checkpoint in .*mine that the job began"):
        pickle.loads(message).checkpoint  # noqa: B018  loading is what is refused
    (folder / "orbitds.json").write_text(text, encoding="utf-8")
    assert pickle.loads(message).checkpoint.name == "mine"


def test_one_in_memory_travels_whole(checkpoint_folder):
    source = Source.of(load_checkpoint(checkpoint_folder))
    assert len(pickle.dumps(source)) > 5000
    assert source.folder is None
