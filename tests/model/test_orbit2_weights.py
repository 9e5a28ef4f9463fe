"""Published weights under our names: each one used once, none at the wrong place."""

import pytest
import torch

from orbitds.model.orbit2 import Orbit2, Orbit2Config
from orbitds.model.orbit2_weights import bare, translate

CONFIG = {
    "kind": "orbit2",
    "variables": ("a", "b", "c", "d", "e", "f", "g", "h"),
    "window": (8, 16),
    "patch": 2,
    "width": 16,
    "depth": 2,
    "heads": 4,
    "mlp_ratio": 3,
    "decoder_depth": 1,
    "cnn_ratio": 3,
    "spatial_resolution_km": 28,
}


@pytest.fixture
def weights(public):
    return public().weights()


@pytest.fixture
def config():
    return Orbit2Config(**CONFIG)


def test_every_weight_finds_its_place(weights, config):
    model = Orbit2(config, inputs=config.variables, outputs=("a", "b"), factor=2)
    ours = translate(weights, config)
    model.load_state_dict(ours)
    added = {"aggregate.to_query.bias", "aggregate.to_value.bias"}  # zero: there is none there
    assert all((ours[name] == 0).all() for name in added)
    numbers = sum(t.numel() for name, t in ours.items() if name not in added)
    merged = 8 * 16  # the bias of a patch and the embedding of its variable are one
    assert numbers + merged == sum(t.numel() for t in weights.values())


@pytest.mark.parametrize(
    "wrap",
    [
        "module.{}".format,
        "_orig_mod.module.{}".format,
        "_fsdp_wrapped_module.{}".format,
        lambda name: name.replace("blocks.0.", "blocks.0._checkpoint_wrapped_module."),
    ],
)
def test_wrappers_of_training_are_taken_off(weights, config, wrap):
    wrapped = {wrap(name): tensor for name, tensor in weights.items()}
    assert wrapped.keys() != weights.keys()
    ours = translate(wrapped, config)
    assert all(torch.equal(ours[name], t) for name, t in translate(weights, config).items())
    assert {bare(name) for name in wrapped} == set(weights)


def test_half_precision_becomes_single(weights, config):
    halves = {name: tensor.to(torch.bfloat16) for name, tensor in weights.items()}
    assert {tensor.dtype for tensor in translate(halves, config).values()} == {torch.float32}


@pytest.mark.parametrize("name", ["pos_embed", "var_agg.kv.weight", "token_embeds.7.proj.bias"])
def test_missing_weights_are_refused(weights, config, name):
    del weights[name]
    with pytest.raises(ValueError, match=rf"with 8 variables, got .*{name}.*\. Give the YAML"):
        translate(weights, config)


def test_weights_of_another_width_are_refused(public, config):
    with pytest.raises(ValueError, match=r"Wanted the weights of .*lack or misshape.*\. Give"):
        translate(public(width=32).weights(), config)
