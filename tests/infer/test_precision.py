"""Types to compute in: what is chosen, and how far bfloat16 is from float32."""

import numpy as np
import pytest
import torch

from orbitds.checkpoint import load_checkpoint
from orbitds.data.door import enter
from orbitds.infer.downscaler import Downscaler
from orbitds.infer.precision import check_dtype, choose_dtype, computing_in
from orbitds.model.orbit2 import Orbit2
from orbitds.model.vit import ViT

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_the_device_decides_unless_asked(checkpoint_folder, monkeypatch):
    model = load_checkpoint(checkpoint_folder).model
    assert choose_dtype(None, CPU, model) == "float32"
    assert choose_dtype("bfloat16", CPU, model) == "bfloat16"
    for major, wanted in ((7, "float32"), (8, "bfloat16"), (9, "bfloat16")):
        capability = (major, 0)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, c=capability: c)
        assert choose_dtype(None, GPU, model) == wanted
        assert choose_dtype("float32", GPU, model) == "float32"


def test_models_without_a_base_in_float32_stay_in_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    for kind in (Orbit2, ViT):
        assert choose_dtype(None, GPU, kind.__new__(kind)) == "float32"


def test_wrong_types_are_refused():
    assert check_dtype("float32") == "float32"
    assert check_dtype(None) is None
    with pytest.raises(ValueError, match=r"'float32' or 'bfloat16', got 'float16'\. Choose"):
        check_dtype("float16")


def test_products_alone_are_in_bfloat16():
    one = torch.randn(3, 3)
    with computing_in("bfloat16", CPU):
        assert (one @ one).dtype == torch.bfloat16
        assert (one + one).dtype == torch.float32
    with computing_in("float32", CPU):
        assert (one @ one).dtype == torch.float32


@pytest.mark.parametrize("tiles", [None, (2, 3)])
def test_bfloat16_costs_little_beside_what_the_model_adds(coarse, checkpoint_folder, tiles):
    fields, weights = {}, load_checkpoint(checkpoint_folder).model
    block = enter(coarse, weights.inputs).ds
    for dtype in ("float32", "bfloat16"):
        downscaler = Downscaler(checkpoint_folder, dtype=dtype, tiles=tiles)
        fields[dtype] = downscaler(block)
    for name, exact in fields["float32"].data_vars.items():
        rounded = fields["bfloat16"][name]
        assert rounded.dtype == np.float32
        error = float(np.sqrt(((rounded - exact) ** 2).mean()) / exact.std())
        assert 0 < error < 0.01, name
        # the answer has the digits of float32: base and sums are not rounded
        kept = rounded.values[exact.values != 0].view(np.uint32) & 0xFFFF
        assert (kept != 0).mean() > 0.9
