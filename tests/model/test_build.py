"""Every architecture is built by its name, under one interface."""

import pytest
import torch

from orbitds.config import ModelConfig, model_preset
from orbitds.model import orbit2
from orbitds.model.build import ARCHITECTURES, build, build_bare
from orbitds.model.orbit2 import Orbit2, Orbit2Config

# Of ORBIT-2: parameters at 180 x 360 with patches of 2, 23 variables in and 3 out.
PUBLISHED = {
    "reslim_9m": (256, 9_501_571),
    "reslim_126m": (1024, 126_099_843),
    "reslim_1b": (3072, 1_032_601_987),
    "reslim_10b": (8192, 9_531_912_579),
}
SAME_SIZE = {f"{name}_h128": name for name in ("reslim_9m", "reslim_126m", "reslim_10b")}
INPUTS = (
    "2m_temperature",
    "2m_temperature_max",
    "2m_temperature_min",
    "total_precipitation_24hr",
    "volumetric_soil_water_layer_1",
    *(f"{name}_wind" for name in ("eastward", "northward")),
    *(
        f"{name}_{level}"
        for name in ("temperature", "eastward_wind", "northward_wind", "specific_humidity")
        for level in (200, 500, 850)
    ),
)
OUTPUTS = ("total_precipitation_24hr", "2m_temperature_min", "2m_temperature_max")
STATICS = ("land_sea_mask", "orography", "lattitude", "landcover")


def on_meta(name, **settings):
    """A preset of the size of a task of ORBIT-2, without its weights."""
    config = model_preset(name).model_copy(update=settings)
    with torch.device("meta"):
        return build(config, inputs=INPUTS, outputs=OUTPUTS, statics=STATICS, factor=4)


def size_of(model):
    return sum(weight.numel() for weight in model.parameters())


# --- sizes ---


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_has_the_published_size(name):
    width, published = PUBLISHED[name]
    assert len(INPUTS) + len(STATICS) == 23
    model = on_meta(name)
    assert all(weight.is_meta for weight in model.parameters())
    # the published count holds a table of positions, which we do without; our residual path and
    # embeddings of place and resolution add 0.2 million, which show in the smallest model alone
    table = 90 * 180 * width
    assert size_of(model) == pytest.approx(
        published - table, rel=0.04 if name == "reslim_9m" else 0.02
    )


@pytest.mark.parametrize(("name", "published"), SAME_SIZE.items())
def test_other_heads_leave_the_size(name, published):
    assert size_of(on_meta(name)) == size_of(on_meta(published))


@pytest.mark.parametrize("settings", [{}, {"compression": 4.0}])
@pytest.mark.parametrize("name", ["reslim_9m", "reslim_10b"])
def test_shapes_need_no_values(name, settings):
    model = on_meta(name, **settings)
    with torch.device("meta"):
        fine = model(
            torch.empty(1, len(INPUTS), 180, 360),
            latitude_deg=torch.empty(1, 180),
            longitude_deg=torch.empty(1, 360),
            spacing_km=torch.empty(1, 2),
            statics=torch.empty(1, len(STATICS), 720, 1440),
            periodic=True,
        )
    assert fine.shape == (1, len(OUTPUTS), 720, 1440)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_bare_network_with_weights_of_its_own_is_the_network(kind):
    config = ModelConfig(kind=kind, width=8, depth=1, decoder_depth=1, correction_width=4)
    told = {"inputs": ("eastward_wind",), "outputs": ("total_precipitation_24hr",), "factor": 3}
    whole = build(config, **told).eval()
    before = torch.get_rng_state()
    bare = build_bare(config, **told).eval()
    assert torch.equal(torch.get_rng_state(), before), "no random number drawn"
    assert all(weight.is_meta for weight in bare.parameters())
    bare.load_state_dict(whole.state_dict(), assign=True)
    # what is not stored is made anew
    assert not any(held.is_meta for held in (*bare.parameters(), *bare.buffers()))
    fields = torch.rand(1, 1, 6, 8)
    place = {"latitude_deg": torch.linspace(50, 40, 6)[None]}
    place |= {"longitude_deg": torch.linspace(0, 14, 8)[None]}
    spacing = torch.tensor([[222.0, 74.0]])
    with torch.inference_mode():
        answers = [model(fields, **place, spacing_km=spacing) for model in (whole, bare)]
    assert torch.equal(*answers)


# --- by name ---


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
        variables=("a", *orbit2.STATICS),
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


@pytest.mark.parametrize("kind", ["vit", "unet", "edsr"])
def test_kinds_of_one_factor_refuse_several(kind):
    config = ModelConfig(kind=kind, width=8, depth=1)
    with pytest.raises(ValueError, match=rf"one factor for a {kind}, got \[4, 2\].*reslim"):
        build(config, inputs=INPUTS, outputs=OUTPUTS, factor=(4, 2))
    assert build(config, inputs=INPUTS, outputs=OUTPUTS, factor=(4,)).factor == 4
