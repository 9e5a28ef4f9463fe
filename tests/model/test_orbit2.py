"""ORBIT-2's network with published weights: the public code's answers, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from orbitds.model.orbit2 import STATICS, Orbit2, Orbit2Config, unpatchify_strips
from orbitds.model.orbit2_weights import translate
from orbitds.variables import variable

FIXTURES = Path(__file__).parents[2].parent / "shared" / "fixtures" / "orbit2"
needs_fixture = pytest.mark.skipif(
    not (FIXTURES / "official_tiny.ckpt").is_file(), reason="no ../shared/fixtures/orbit2 here"
)


def ours(names):
    return tuple(variable(str(name)).name for name in names)


def network(public, weights, *, inputs=None, **settings):
    """Return our network with weights of the public one."""
    config = Orbit2Config(
        kind="orbit2",
        variables=ours(public.default_vars),
        window=public.window,
        patch=public.patch,
        width=public.width,
        depth=public.depth,
        heads=public.heads,
        mlp_ratio=public.mlp_ratio,
        decoder_depth=public.decoder_depth,
        cnn_ratio=public.cnn_ratio,
        spatial_resolution_km=public.km,
        **settings,
    )
    names = config.variables if inputs is None else ours(inputs)
    model = Orbit2(config, inputs=names, outputs=ours(public.outputs), factor=public.factor)
    model.load_state_dict(translate(weights, config), strict=config.statics_grid is None)
    return model.eval()


def answer(model, northwards, **told):
    """Return the answer to fields with rows from the south, its rows from the south too."""
    batch, _, height, width = northwards.shape
    place = {
        "latitude_deg": torch.linspace(60, -60, height).expand(batch, -1),
        "longitude_deg": torch.linspace(0, 90, width).expand(batch, -1),
        "spacing_km": torch.tensor([28.0, 7.0]).expand(batch, -1),
    }
    with torch.inference_mode():
        return model(northwards.flip(-2), **(place | told)).flip(-2)


def fields(public, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, count, *public.window, generator=generator)


@pytest.fixture
def small(public):
    network_ = public()
    return network_, network_.weights()


# --- the public code's own numbers ---


@needs_fixture
def test_the_public_class_gives_the_same(public):
    with np.load(FIXTURES / "official_tiny_io.npz") as arrays:
        arrays = dict(arrays)
    weights = torch.load(FIXTURES / "official_tiny.ckpt", weights_only=True)["model_state_dict"]
    names = [str(name) for name in arrays["in_variables"]]
    tiny = public(
        window=(12, 24),
        default_vars=tuple(map(str, arrays["default_vars"])),
        outputs=tuple(map(str, arrays["out_variables"])),
        width=32,
        decoder_depth=2,
        mlp_ratio=4,
        cnn_ratio=4,
        factor=4,
    )
    x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])
    given = answer(network(tiny, weights, inputs=names), x)
    assert_close(given, y, rtol=1e-6, atol=1e-6 * float(y.abs().max()))
    # so the plain form above, which stands in for it elsewhere, is the public one
    assert_close(tiny.forward(weights, x, names).float(), y, rtol=1e-5, atol=1e-6)
    # and both see the order of the variables, which the file's own order of names decides
    wrong = answer(network(tiny, weights, inputs=[*names[1:], names[0]]), x)
    assert (wrong - y).abs().max() > 0.01


def test_the_plain_form_gives_the_same(small):
    public, weights = small
    names = list(public.default_vars)
    x = fields(public, len(names))
    expected = public.forward(weights, x, names)
    model = network(public, weights)
    # two biases are added in float32 before they go their way
    assert_close(answer(model.double(), x.double()), expected, rtol=1e-6, atol=1e-6)
    single = answer(network(public, weights), x)
    assert_close(single, expected.float(), rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_rows_run_from_north_to_south(small):
    public, weights = small
    x = fields(public, len(public.default_vars))
    model = network(public, weights)
    upside_down = answer(model, x.flip(-2)).flip(-2)
    assert (upside_down - answer(model, x)).abs().max() > 0.1


def test_order_of_inputs_is_free_and_names_count(small):
    public, weights = small
    names = list(public.default_vars)
    x = fields(public, len(names))
    order = [3, 7, 0, 5, 1, 6, 2, 4]
    model = network(public, weights, inputs=[names[i] for i in order])
    right = answer(model, x[:, order])
    assert_close(right, answer(network(public, weights), x), rtol=1e-4, atol=1e-5)
    assert (answer(model, x) - right).abs().max() > 0.1


def test_some_of_the_variables_do_as_in_the_public_code(small):
    public, weights = small
    names = ["total_precipitation_24hr", "2m_temperature_min", *public.default_vars[:4]]
    x = fields(public, len(names))
    expected = public.forward(weights, x, names)
    model = network(public, weights).double()
    given = answer(model, x.double(), variables=ours(names))
    assert_close(given, expected, rtol=1e-6, atol=1e-6)


def test_the_raw_number_of_kilometres_counts_not_the_grid(small):
    public, weights = small
    x = fields(public, len(public.default_vars))
    base = answer(network(public, weights), x)
    assert torch.equal(
        answer(network(public, weights), x, spacing_km=torch.full((2, 2), 99.0)), base
    )
    other = answer(network(replace(public, km=2), weights), x)
    assert (other - base).abs().max() > 0.1


def test_the_base_is_the_residual_path(small):
    public, weights = small
    x = fields(public, len(public.default_vars))
    silent = weights | {
        name: torch.zeros_like(tensor) for name, tensor in weights.items() if "conv_out" in name
    }
    place = {
        "latitude_deg": torch.zeros(2, 8),
        "longitude_deg": torch.zeros(2, 16),
        "spacing_km": torch.zeros(2, 2),
    }
    with torch.inference_mode():
        said = network(public, silent).predict(x, **place)
        assert torch.equal(said.fine, said.base)
        assert said.log_variance is None
        assert_close(network(public, weights).predict(x, **place).base, said.base)


def test_strips_lie_along_the_row():
    """One token of P = 2, s = 4 paints a strip of 2 x 32 cells, as the specification says."""
    pixels = torch.zeros(1, 6 * 12, 2 * 8 * 8)
    pixels[0, 12 + 3] = 1  # the fourth token of the second row
    fine = unpatchify_strips(pixels, 48, 96, 2)
    rows, columns = fine[0, 0].nonzero().T.unique(dim=1)
    assert (rows.unique().tolist(), len(columns.unique())) == ([10, 11], 32)
    assert torch.equal(fine[0, 0], fine[0, 1])
    assert int(fine.sum()) == 2 * 8 * 8


# --- static fields in the checkpoint ---


def globe(model, rows):
    """Put fields at random into a network as its global statics, and return them."""
    statics = torch.randn(4, rows, 2 * rows, generator=torch.Generator().manual_seed(3))
    model.get_buffer("static_fields").copy_(statics)
    return statics


@pytest.mark.parametrize(("north", "west"), [(0, 0), (3, 5), (4, 30), (2, 20)])
def test_static_fields_of_the_checkpoint_are_those_at_the_window(small, north, west):
    public, weights = small
    weather = public.default_vars[4:]
    model = network(public, weights, inputs=weather, statics_grid=(20, 40))
    statics = globe(model, 20)
    rows, columns = np.arange(north, north + 8), np.arange(west, west + 16)
    # 20 rows of 9 degrees from 81 to -90; columns run on over the date line
    place = {
        "latitude_deg": torch.tensor(81 - 9.0 * rows).float().expand(2, -1),
        "longitude_deg": torch.tensor(9.0 * columns).float().expand(2, -1),
    }
    x = fields(public, len(weather))
    around = statics[:, rows][:, :, columns % 40].flip(-2)
    full = torch.cat([around.expand(2, -1, -1, -1), x], dim=1)
    expected = answer(network(public, weights), full)
    assert_close(answer(model, x, **place), expected, rtol=1e-4, atol=1e-5)
    turned = place | {"longitude_deg": place["longitude_deg"] - 360}
    assert_close(answer(model, x, **turned), expected, rtol=1e-4, atol=1e-5)
    # each sample of a batch has its own place
    mixed = place["longitude_deg"].clone()
    mixed[1] += 9
    both = answer(model, x, **(place | {"longitude_deg": mixed}))
    assert_close(both[0], expected[0], rtol=1e-4, atol=1e-5)
    assert (both[1] - expected[1]).abs().max() > 0.1


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ({"latitude_deg": 90 - 9.0 * torch.arange(8)}, r"Wanted rows from -90 to 81.*90\. Drop"),
        ({"latitude_deg": 79 - 9.0 * torch.arange(8)}, r"Wanted coordinates .*0\.22 of .*Regrid"),
        ({"longitude_deg": 4.5 + 9.0 * torch.arange(16)}, r"Wanted coordinates .*0\.5 of .*Regrid"),
    ],
)
def test_places_off_the_static_fields_are_refused(small, place, told):
    public, weights = small
    model = network(public, weights, inputs=public.default_vars[4:], statics_grid=(20, 40))
    good = {"latitude_deg": 81 - 9.0 * torch.arange(8), "longitude_deg": 9.0 * torch.arange(16)}
    both = {name: value.float().expand(2, -1) for name, value in (good | place).items()}
    with pytest.raises(ValueError, match=told):
        answer(model, fields(public, 4), **both)


# --- what it refuses ---


@pytest.mark.parametrize("window", [(8, 18), (16, 8), (4, 8)])
def test_another_window_is_refused(small, window):
    public, weights = small
    x = torch.zeros(1, 8, *window)
    told = rf"Wanted a window of \(8, 16\) coarse cells.*got \({window[0]}, {window[1]}\)\. Cut"
    with pytest.raises(ValueError, match=told):
        answer(network(public, weights), x)


def test_inputs_of_the_residual_path_are_wanted(small):
    public, weights = small
    model = network(public, weights)
    for missing in ("landcover", "2m_temperature_min"):
        names = [name for name in model.inputs if name != missing]
        with pytest.raises(ValueError, match=rf"without \['{missing}'\]\. Give these too"):
            answer(model, fields(public, 7), variables=names)


def test_what_it_tells_those_who_cut_windows(small):
    public, weights = small
    model = network(public, weights, halo_cells=(1, 2))
    assert (model.window, model.halo_cells, model.patch) == ((8, 16), (1, 2), 1)
    assert (model.placement, model.reach_cells, model.statics) == ("northeast", 2, ())
    assert ours(public.default_vars[:4]) == STATICS
