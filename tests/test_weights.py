"""The weights of a checkpoint: all that the architecture has, before any memory is taken."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from orbitds.checkpoint import load_checkpoint
from orbitds.description import DESCRIPTION, WEIGHTS, describe
from orbitds.weights import bare_model, read_weights


@pytest.fixture
def folder(checkpoint_folder, tmp_path):
    """A copy, yours to change."""
    return Path(shutil.copytree(checkpoint_folder, tmp_path / "copy"))


def sign(folder, **changes):
    content = json.loads((folder / DESCRIPTION).read_text())
    content["sha256"][WEIGHTS] = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    (folder / DESCRIPTION).write_text(json.dumps(content | changes))


def test_weights_are_yielded_in_the_order_of_the_file(folder):
    wanted = load_file(folder / WEIGHTS)
    got = list(read_weights(folder, describe(folder)))
    assert {name for name, _ in got} == wanted.keys()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in got)


def test_a_bare_model_has_shapes_and_no_memory(folder):
    model = bare_model(describe(folder))
    stored = load_file(folder / WEIGHTS)
    assert {name: tuple(like.shape) for name, like in model.state_dict().items()} == {
        name: tuple(tensor.shape) for name, tensor in stored.items()
    }
    assert all(like.is_meta for like in model.state_dict().values())
    # what is made from names, and not stored, is there
    assert model.base.is_log.tolist() == [0, 1]


def test_weights_of_format_1_come_in_the_order_of_heads(folder):
    heads = describe(folder).model.heads
    wanted = load_file(folder / WEIGHTS)
    old = {
        name: tensor.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2).contiguous()
        if ".query_key_value." in name
        else tensor
        for name, tensor in wanted.items()
    }
    assert any(not torch.equal(old[name], tensor) for name, tensor in wanted.items())
    save_file(old, folder / WEIGHTS)
    sign(folder, format=1)
    for name, tensor in read_weights(folder, describe(folder)):
        assert torch.equal(tensor, wanted[name])


def test_no_weight_comes_from_a_file_that_does_not_fit(folder):
    weights = load_file(folder / WEIGHTS)
    weights["trunk.norm.bias"] = torch.zeros(17)
    weights["trunk.norm.weight"] = torch.zeros(17)
    save_file(weights, folder / WEIGHTS)
    sign(folder)
    told = r"size mismatch for trunk.norm.\w+: \[17\] instead of \[16\]; size mismatch"
    with pytest.raises(ValueError, match=told):
        next(read_weights(folder, describe(folder)))


def test_many_differences_are_counted(folder):
    save_file({f"x{i}": torch.zeros(1) for i in range(40)}, folder / WEIGHTS)
    sign(folder)
    with pytest.raises(ValueError, match=r"got missing '\S+'; missing .* and \d+ more\. Export"):
        next(read_weights(folder, describe(folder)))


def test_more_layers_than_tensors_are_refused_before_they_are_built(folder, monkeypatch):
    content = json.loads((folder / DESCRIPTION).read_text())
    content["model"]["depth"] = 10**12
    (folder / DESCRIPTION).write_text(json.dumps(content))
    monkeypatch.setattr("orbitds.weights.build_bare", lambda *a, **k: pytest.fail("built"))
    with pytest.raises(ValueError, match=r"got \d+ tensors for 1000000000002 layers"):
        next(read_weights(folder, describe(folder)))


def test_damage_is_told_at_the_end_at_the_latest(folder):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-4] ^= 1  # the lowest bit of a number: it fits
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        dict(read_weights(folder, describe(folder)))
    with pytest.raises(ValueError, match="damaged"):
        load_checkpoint(folder)
