"""Every architecture is built by its name, under one interface."""

import pytest

from orbitds.config import ModelConfig
from orbitds.model.build import ARCHITECTURES, build


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_an_architecture_is_built_by_its_name(kind):
    config = ModelConfig(kind=kind, width=8, depth=1, heads=2, decoder_depth=1)
    model = build(config, inputs=("a", "b"), outputs=("eastward_wind",), factor=3)
    assert isinstance(model, ARCHITECTURES[kind])
    assert model.config is config
    assert (model.inputs, model.outputs, model.statics) == (("a", "b"), ("eastward_wind",), ())
    assert model.factor == 3
