"""Every architecture is built by its name, under one interface."""

import pytest

from orbitds.config import ModelConfig
from orbitds.model.build import ARCHITECTURES, build
from orbitds.model.orbit2 import STATICS, Orbit2, Orbit2Config


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_an_architecture_is_built_by_its_name(kind):
    config = ModelConfig(kind=kind, width=8, depth=1, heads=2, decoder_depth=1)
    model = build(config, inputs=("a", "b"), outputs=("eastward_wind",), factor=3)
    assert isinstance(model, ARCHITECTURES[kind])
    assert model.config is config
    assert (model.inputs, model.outputs, model.statics) == (("a", "b"), ("eastward_wind",), ())
    assert model.factor == 3


def test_a_published_architecture_is_built_by_its_config():
    config = Orbit2Config(
        kind="orbit2",
        variables=("a", *STATICS),
        window=(4, 8),
        patch=2,
        width=8,
        depth=1,
        heads=2,
        decoder_depth=1,
        spatial_resolution_km=111,
    )
    model = build(config, inputs=config.variables, outputs=("a",), factor=3)
    assert isinstance(model, Orbit2)
    assert model.config is config
    assert (model.inputs, model.outputs, model.factor) == (config.variables, ("a",), 3)
