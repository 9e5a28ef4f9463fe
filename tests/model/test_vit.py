"""The plain vision transformer: Reslim's interface and trunk, on the fine grid."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from orbitds.config import LossConfig, ModelConfig, TrainConfig
from orbitds.grid import Grid
from orbitds.interpolate import interpolate
from orbitds.model.build import build
from orbitds.model.embed import NOISE
from orbitds.model.vit import ViT
from orbitds.train.objective import objective
from orbitds.train.setting import prepare

B, H, W = 2, 5, 7
TEMPERATURE, WIND, RAIN = "2m_temperature", "eastward_wind", "total_precipitation_24hr"
INPUTS, OUTPUTS, STATICS = (WIND, RAIN, TEMPERATURE), (TEMPERATURE, RAIN), ("orography",)
TINY: dict[str, Any] = {
    "kind": "vit",
    "width": 8,
    "depth": 1,
    "heads": 2,
    "mlp_ratio": 2.0,
    "decoder_depth": 1,
    "correction_width": 0,
    "position_octaves": 4,
}
# The offsets of children in their cell are rounded to float32, those of odd factors visibly.
ROUNDED = 1e-11
factors = pytest.mark.parametrize("factor", [2, 3, 5])
patches = pytest.mark.parametrize("patch", [1, 2, 4])


def untrained(*, inputs=INPUTS, outputs=OUTPUTS, statics=STATICS, factor=3, **settings) -> Any:
    torch.manual_seed(61)
    config = ModelConfig(**(TINY | settings))
    return build(config, inputs=inputs, outputs=outputs, statics=statics, factor=factor).double()


def model_of(**settings) -> Any:
    """A model of random weights, none at its start, in float64 and evaluation mode."""
    model = untrained(**settings).eval()
    generator = torch.Generator().manual_seed(62)
    with torch.no_grad():
        for weight in model.parameters():
            scale = weight[0].numel() ** -0.5 if weight.ndim > 1 else 0.3
            start = float(weight.ndim == 1 and weight.mean() == 1)  # layer norms stay near one
            weight.copy_(start + scale * torch.randn(weight.shape, generator=generator))
    return model


def normal(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def sample_of(height=H, width=W, *, factor=3, periodic=False) -> dict[str, Any]:
    """Arguments of ``forward``: two samples at different places."""
    step = 360 / width if periodic else 2.5
    latitude = torch.tensor([[61.25], [58.75]]).double() - 2.5 * torch.arange(height)
    return {
        "coarse": normal(B, len(INPUTS), height, width, seed=63),
        "latitude_deg": latitude,
        "longitude_deg": torch.tensor([[20.0], [-35.0]]) + step * torch.arange(width).double(),
        "spacing_km": torch.tensor([[278.0, 93.0], [111.0, 37.0]]).double(),
        "statics": normal(B, len(STATICS), factor * height, factor * width, seed=64),
        "periodic": periodic,
    }


def run(model, sample):
    with torch.no_grad():
        return model(**sample)


def without_attention(model):
    with torch.no_grad():
        for block in model.trunk.blocks:
            block.project.weight.zero_()
            block.project.bias.zero_()
    return model


def watched(model) -> dict[str, Any]:
    """What passes through the trunk, as of the next run."""
    seen: dict[str, Any] = {}
    trunk = model.trunk
    trunk.register_forward_pre_hook(lambda _, args, given: seen.update(given), with_kwargs=True)
    trunk.aggregate.register_forward_pre_hook(lambda _, args: seen.update(fields=args[0]))
    trunk.position.register_forward_pre_hook(lambda _, args: seen.update(places=args[:2]))
    trunk.blocks[0].register_forward_pre_hook(lambda _, args: seen.update(tokens=args[0]))
    return seen


def close(got, want, tolerance=1e-12):
    torch.testing.assert_close(got, want, rtol=0, atol=tolerance)


# --- shapes ---


@factors
@patches
@pytest.mark.parametrize(("height", "width"), [(5, 7), (1, 1), (2, 9)])
def test_any_factor_patch_and_size(factor, patch, height, width):
    model = model_of(factor=factor, patch=patch)
    assert isinstance(model, ViT)
    sample = sample_of(height, width, factor=factor)
    with torch.no_grad():
        fine, base, log_variance = model.predict(**sample)
    assert fine.shape == (B, len(OUTPUTS), factor * height, factor * width)
    assert fine.isfinite().all()
    assert torch.equal(base, torch.zeros_like(fine))
    assert log_variance is None
    assert torch.equal(run(model, sample), fine)


@pytest.mark.parametrize("predicts", ["field", "gaussian", "members"])
def test_an_untrained_model_paints_nothing(predicts):
    with torch.no_grad():
        fine, base, log_variance = untrained(predicts=predicts).eval().predict(**sample_of())
    zero = torch.zeros(B, len(OUTPUTS), 3 * H, 3 * W).double()
    assert torch.equal(fine, zero)
    assert torch.equal(base, zero)
    assert log_variance is None if predicts != "gaussian" else not log_variance.any()


@factors
@patches
def test_takes_factor_squared_times_the_tokens_of_reslim(factor, patch):
    height, width = 4 * patch, 3 * patch
    tokens = {}
    for kind in ("vit", "reslim"):
        model = model_of(kind=kind, factor=factor, patch=patch)
        seen = watched(model)
        run(model, sample_of(height, width, factor=factor))
        tokens[kind] = seen["tokens"].shape[1]
    assert tokens == {"reslim": 12, "vit": 12 * factor**2}


def test_fits_the_size_of_reslim_but_for_the_blocks_it_paints():
    vit, reslim = (untrained(kind=kind, patch=2, factor=3) for kind in ("vit", "reslim"))
    head = ("trunk.decode.paint.", "trunk.decode.smooth.")
    shapes = [
        {n: w.shape for n, w in model.named_parameters() if not n.startswith(head)}
        for model in (vit, reslim)
    ]
    assert shapes[0] == shapes[1]
    assert vit.trunk.decode.paint.weight.shape == (len(OUTPUTS) * 2**2, 8)
    assert reslim.trunk.decode.paint.weight.shape == (len(OUTPUTS) * 6**2, 8)


def test_compresses_too():
    model = model_of(patch=2, compression=4.0)
    seen = watched(model)
    assert run(model, sample_of(12, 20)).shape == (B, len(OUTPUTS), 36, 60)
    assert seen["tokens"].shape[1] == pytest.approx(18 * 30 / 4, abs=3)


# --- space ---


def reached(place, cells, factor, patch, *, periodic):
    """Fine cells that see a coarse cell: by interpolation, as part of a patch, beside one."""
    count = cells * factor
    # four points: the fine cell lies less than two coarse cells from the coarse one
    near = [
        i
        for i in range((place - 3) * factor, (place + 4) * factor)
        if abs((i + 0.5) / factor - 0.5 - place) < 2
    ]
    near = {i % count for i in near} if periodic else {i for i in near if 0 <= i < count}
    whole = {j for i in near for j in range(i // patch * patch, i // patch * patch + patch)}
    rim = {j + beside for j in whole for beside in (-1, 0, 1)}
    rim = {i % count for i in rim} if periodic else {i for i in rim if 0 <= i < count}
    return torch.tensor([i in rim for i in range(count)])


@factors
@patches
@pytest.mark.parametrize(
    ("row", "column", "periodic"), [(5, 9, False), (0, 15, False), (7, 0, True)]
)
def test_without_attention_a_cell_reaches_as_far_as_interpolation(
    factor, patch, row, column, periodic
):
    height, width = 8, 16
    model = without_attention(model_of(factor=factor, patch=patch))
    sample = sample_of(height, width, factor=factor, periodic=periodic)
    other = sample["coarse"].clone()
    other[1, 0, row, column] += 1
    change = run(model, sample | {"coarse": other}) - run(model, sample)
    rows = reached(row, height, factor, patch, periodic=False)
    columns = reached(column, width, factor, patch, periodic=periodic)
    expected = rows[:, None] & columns
    assert not expected.all()
    got = change[1].abs().amax(dim=0)
    assert torch.equal(got > 1e-9, expected)
    assert got[~expected].max() < 1e-13
    assert not change[0].any()


@factors
@pytest.mark.parametrize("patch", [1, 2, 4])
@pytest.mark.parametrize(("row", "column"), [(3, 4), (0, 0), (7, 11)])
def test_without_attention_a_static_paints_its_own_patch(factor, patch, row, column):
    """A fine static is seen without interpolation: its patch alone, and the rim."""
    height, width = 8, 12
    model = without_attention(model_of(factor=factor, patch=patch))
    sample = sample_of(height, width, factor=factor)
    other = sample["statics"].clone()
    i, j = row * factor, column * factor
    other[1, 0, i, j] += 1
    change = (run(model, sample | {"statics": other}) - run(model, sample))[1].abs().amax(dim=0)
    first = i // patch * patch, j // patch * patch
    expected = torch.zeros(height * factor, width * factor, dtype=torch.bool)
    north, west = (max(0, start - 1) for start in first)
    expected[north : first[0] + patch + 1, west : first[1] + patch + 1] = True
    assert torch.equal(change > 1e-9, expected)


@factors
@patches
def test_interpolation_and_rim_stay_within_the_reach(factor, patch):
    """Of patches of one cell: whole ones are seen to by where windows begin."""
    reach = model_of(factor=factor, patch=patch).reach_cells
    fine = reached(9, 20, factor, 1, periodic=False).nonzero().flatten() // factor
    assert 9 - int(fine.min()) <= reach
    assert int(fine.max()) - 9 <= reach
    assert reach == 3


@pytest.mark.parametrize(
    ("factor", "patch", "width", "cells"),
    [(2, 2, 7, 3), (2, 4, 8, 2), (3, 2, 8, -2), (5, 4, 8, 4), (3, 1, 7, 3)],
)
def test_a_rolled_circle_gives_the_rolled_output(factor, patch, width, cells):
    model = model_of(factor=factor, patch=patch)
    assert cells % model.patch == 0
    sample = sample_of(width=width, factor=factor, periodic=True)
    fine = run(model, sample).roll(cells * factor, dims=-1)
    rolled = sample | {
        "coarse": sample["coarse"].roll(cells, dims=-1),
        "statics": sample["statics"].roll(cells * factor, dims=-1),
        "longitude_deg": sample["longitude_deg"] - cells * 360 / width,
    }
    close(run(model, rolled), fine, ROUNDED)
    # neither place nor border is without effect
    assert (run(model, rolled | {"longitude_deg": sample["longitude_deg"]}) - fine).std() > 0.001
    assert (run(model, rolled | {"periodic": False}) - fine).std() > 0.001


@factors
@pytest.mark.parametrize("periodic", [False, True])
def test_fine_cells_lie_where_the_grid_has_them(factor, periodic):
    model, sample = model_of(factor=factor), sample_of(6, 9, factor=factor, periodic=periodic)
    seen = watched(model)
    run(model, sample)
    for place in range(B):
        coarse = Grid(*(sample[name][place].numpy() for name in ("latitude_deg", "longitude_deg")))
        fine = coarse.refine(factor)
        np.testing.assert_allclose(seen["latitude_deg"][place], fine.latitude_deg, atol=ROUNDED)
        np.testing.assert_allclose(seen["longitude_deg"][place], fine.longitude_deg, atol=ROUNDED)


@factors
@patches
def test_a_token_lies_at_the_centre_of_its_patch(factor, patch):
    model, sample = model_of(factor=factor, patch=patch), sample_of(4, 8, factor=factor)
    seen = watched(model)
    run(model, sample)
    shape = 4 * factor // patch, 8 * factor // patch
    latitude, longitude = (place.unflatten(1, shape) for place in seen["places"])
    for name, tokens in (("latitude_deg", latitude), ("longitude_deg", longitude.mT)):
        want = seen[name].unflatten(1, (-1, patch)).mean(dim=-1)
        close(tokens, want[..., None].expand_as(tokens), ROUNDED)


# --- windows ---


@factors
@patches
def test_windows_begin_where_a_patch_and_a_coarse_cell_do(factor, patch):
    edge = model_of(factor=factor, patch=patch).patch
    assert edge * factor == math.lcm(factor, patch)


@pytest.mark.parametrize(
    ("factor", "patch", "top", "left"),
    # at multiples of the model's patch, and between
    [
        (2, 2, 3, 5),
        (2, 4, 2, 4),
        (3, 4, 4, 4),
        (5, 2, 2, 4),
        (2, 4, 3, 5),
        (3, 4, 5, 6),
        (3, 4, 7, 3),
    ],
)
def test_patches_of_a_window_are_those_of_the_field(factor, patch, top, left):
    model = model_of(factor=factor, patch=patch)
    sample = sample_of(12, 16, factor=factor)
    phase = top % model.patch, left % model.patch
    seen = watched(model)
    run(model, sample)
    whole = dict(seen)
    window = sample | {
        "coarse": sample["coarse"][..., top:, left:],
        "statics": sample["statics"][..., top * factor :, left * factor :],
        "latitude_deg": sample["latitude_deg"][:, top:],
        "longitude_deg": sample["longitude_deg"][:, left:],
        "phase": phase,
    }
    painted = run(model, window)
    assert painted.shape == (B, len(OUTPUTS), (12 - top) * factor, (16 - left) * factor)
    # the patch of the whole field in which the window begins
    first = top * factor // patch, left * factor // patch
    # beside the window's own border interpolation knows less
    margin = 2 * factor + patch
    fields = whole["fields"][..., first[0] * patch :, first[1] * patch :]
    assert seen["fields"].shape == fields.shape
    close(seen["fields"][..., margin:, margin:], fields[..., margin:, margin:])
    shape = [size // patch for size in fields.shape[-2:]]
    all_of = [size // patch for size in whole["fields"].shape[-2:]]
    for got, want in zip(seen["places"], whole["places"], strict=True):
        close(
            got.unflatten(1, shape), want.unflatten(1, all_of)[:, first[0] :, first[1] :], ROUNDED
        )
    if phase != (0, 0):
        got = seen["places"][0]
        run(model, window | {"phase": (0, 0)})
        assert seen["places"][0].shape != got.shape or not torch.allclose(seen["places"][0], got)


# --- variables ---


def test_sees_what_bicubic_interpolation_makes_of_the_inputs():
    model, sample = model_of(patch=1), sample_of()
    seen = watched(model)
    run(model, sample)
    fine = interpolate(sample["coarse"], 3, "bicubic", periodic=False)
    assert torch.equal(seen["fields"], torch.cat([fine, sample["statics"]], dim=1))


def test_statics_act_at_the_fine_resolution():
    model, sample = model_of(patch=2), sample_of()
    # a change inside a coarse cell that leaves its mean
    ripple = sample["statics"].clone()
    ripple[1, 0, 6, 9] += 1
    ripple[1, 0, 7, 10] -= 1
    change = run(model, sample | {"statics": ripple}) - run(model, sample)
    assert change[1, :, 6, 9].abs().min() > 1e-4
    assert not change[0].any()


def test_without_statics_it_does_not_attend_to_them():
    model, sample = model_of(), sample_of() | {"statics": None}
    small = model_of(statics=())
    weights = model.state_dict()
    for name in ("trunk.aggregate.embed", "trunk.aggregate.bias"):
        weights[name] = weights[name][: len(INPUTS)]
    small.load_state_dict(weights)
    close(run(model, sample), run(small, sample))
    assert (run(model, sample) - run(model, sample_of())).std() > 0.01


def test_any_variables_in_any_order():
    model, sample = model_of(), sample_of()
    order = [2, 0]
    names = tuple(INPUTS[place] for place in order)
    got = run(model, sample | {"coarse": sample["coarse"][:, order], "variables": names})
    back = {"coarse": sample["coarse"][:, order[::-1]], "variables": names[::-1]}
    close(run(model, sample | back), got)
    assert (run(model, sample) - got).std() > 0.01


def test_climatology_is_of_no_use_to_it():
    model, sample = model_of(base="delta"), sample_of()
    fine = normal(B, len(OUTPUTS), 3 * H, 3 * W, seed=65)
    climatology = fine, torch.nn.functional.avg_pool2d(fine, 3)
    assert torch.equal(run(model, sample | {"climatology": climatology}), run(model, sample))


def test_a_sample_is_its_own():
    model, sample = model_of(), sample_of()
    together = run(model, sample)
    for place in range(B):
        alone = {
            name: value[place : place + 1] if isinstance(value, torch.Tensor) else value
            for name, value in sample.items()
        }
        close(run(model, alone)[0], together[place])


def test_a_variance_is_painted_beside_the_mean():
    model, sample = model_of(predicts="gaussian"), sample_of()
    with torch.no_grad():
        fine, _, log_variance = model.predict(**sample)
    assert log_variance.shape == fine.shape
    assert log_variance.std() > 0.01
    assert log_variance.dtype == torch.float32


def test_members_come_of_their_noise():
    model, sample = model_of(predicts="members"), sample_of()
    noise = normal(B, NOISE, seed=66)
    one = run(model, sample | {"noise": noise})
    assert torch.equal(run(model, sample | {"noise": noise}), one)
    change = run(model, sample | {"noise": torch.stack([noise[0], -noise[1]])}) - one
    assert not change[0].any()
    assert change[1].std() > 0.01


# --- learning ---


def test_gradients_reach_every_weight():
    model, sample = model_of(), sample_of()
    fine = model(**sample)
    (fine * normal(*fine.shape, seed=67)).sum().backward()
    for name, weight in model.named_parameters():
        reached = weight.grad != 0
        if name.endswith("query_key_value.bias"):  # one of the keys cancels in the softmax
            reached = reached.unflatten(0, (2, 3, -1))[:, [0, 2]]
        assert reached.all(), name


@pytest.mark.parametrize("kind", ["bayesian", "gaussian", "crps"])
def test_learns(pair, kind):
    """On one batch of the small pair the loss falls from that of the training mean."""
    config = TrainConfig(pair="p", model=ModelConfig(**TINY), loss=LossConfig(kind=kind))
    setting = prepare(config, pair)
    torch.manual_seed(68)
    model = build(
        config.architecture,
        inputs=pair.inputs,
        outputs=pair.outputs,
        statics=pair.static_names,
        factor=pair.factor,
    )
    batch = torch.utils.data.default_collate([setting.train[index] for index in range(2)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    losses = []
    for _ in range(6):
        value, weight = objective(model, batch, setting, config.loss)
        loss = value / weight
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    assert torch.stack(losses).isfinite().all()
    assert losses[-1] < 0.98 * losses[0]


# --- errors ---


def test_refuses_variables_it_was_not_built_for():
    sample = sample_of() | {"variables": (WIND, "northward_wind", RAIN)}
    with pytest.raises(ValueError, match=r"Wanted some of.*got.*'northward_wind'.*Select"):
        untrained()(**sample)
