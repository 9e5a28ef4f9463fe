"""Tensors from the files of a state."""

import pytest
import torch

from orbitds.train.launch import ALONE
from orbitds.train.manifest import Manifest
from orbitds.train.restore import fill
from orbitds.train.share import Share
from orbitds.train.together import Together


@pytest.fixture
def written(tmp_path):
    tensors = {"a.weight": torch.arange(15.0).view(5, 3), "b": torch.tensor(7)}
    share = Share(tensors, Together(ALONE, None))
    share.stage(tensors)
    share.write(tmp_path)
    return tensors, Manifest(step=1, world=1, facts={}, files={}, tensors=share.parts)


def test_in_place(tmp_path, written):
    tensors, manifest = written
    weight = torch.nn.Parameter(torch.zeros(3, 5).mT)
    into = {"a.weight": weight, "b": torch.tensor(0)}
    fill(into, tmp_path, manifest)
    assert into["a.weight"] is weight
    assert torch.equal(weight, tensors["a.weight"])
    assert into["b"].item() == 7


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"b": torch.zeros(2)}, r"b: wanted torch.float32 \[2\], got torch.int64 \[\]\. Go on"),
        ({"a.weight": torch.zeros(5, 4)}, r"a.weight: wanted .*\[5, 4\], got .*\[5, 3\]\. Go"),
        ({"a.weight": torch.zeros(5, 3).half()}, "wanted torch.float16 .* got torch.float32"),
        ({"c": torch.zeros(2)}, r"c: wanted torch.float32 \[2\], got none\. Go"),
        ({f"c{n}": torch.zeros(2) for n in range(10)}, r"c7: .*; and 2 more\. Go"),
    ],
)
def test_others_are_named(tmp_path, written, change, told):
    tensors, manifest = written
    with pytest.raises(ValueError, match=told):
        fill(tensors | change, tmp_path, manifest)


def test_what_is_not_wanted_is_named(tmp_path, written):
    tensors, manifest = written
    with pytest.raises(ValueError, match=r"others: b: wanted none, got torch.int64 \[\]\."):
        fill({"a.weight": tensors["a.weight"]}, tmp_path, manifest)
