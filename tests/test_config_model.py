"""The architecture: shipped presets are those of the paper."""

import pytest
import yaml

from orbitds.config_model import ModelConfig, model_preset
from orbitds.resources import names, share


@pytest.mark.parametrize("name", names("configs/model"))
def test_shipped_preset_is_whole(name):
    stored = yaml.safe_load(share(f"configs/model/{name}.yaml").read_text(encoding="utf-8"))
    preset = model_preset(name)
    assert preset.model_dump() == ModelConfig().model_dump() | stored
    assert preset == model_preset(share(f"configs/model/{name}.yaml"))


@pytest.mark.parametrize(
    ("name", "width", "depth", "heads"),
    [
        ("reslim_9m", 256, 6, 4),
        ("reslim_126m", 1024, 8, 16),
        ("reslim_1b", 3072, 8, 24),
        ("reslim_10b", 8192, 11, 32),
    ],
)
def test_presets_are_those_of_the_paper(name, width, depth, heads):
    preset = model_preset(name)
    assert (preset.width, preset.depth, preset.heads) == (width, depth, heads)
    assert (preset.kind, preset.patch) == ("reslim", 2)
    assert (preset.decoder_depth, preset.mlp_ratio, preset.compression) == (4, 4, 1)


@pytest.mark.parametrize("name", [n for n in names("configs/model") if n.endswith("_h128")])
def test_presets_with_other_heads_differ_in_nothing_else(name):
    preset, published = model_preset(name), model_preset(name.removesuffix("_h128"))
    assert preset.width / preset.heads == 128
    assert preset.model_copy(update={"heads": published.heads}) == published
    assert preset != published


def test_each_size_has_heads_of_128():
    sizes = [name for name in names("configs/model") if name.startswith("reslim_")]
    heads = {name: model_preset(name).width / model_preset(name).heads for name in sizes}
    assert {name.removesuffix("_h128") for name, head in heads.items() if head == 128} == {
        "reslim_9m",
        "reslim_126m",
        "reslim_1b",
        "reslim_10b",
    }
