"""Reslim as a whole: it starts as its base, knows no seam, and decodes to the right place."""

import io
import itertools
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from orbitds.config import ModelConfig
from orbitds.interpolate import interpolate
from orbitds.model.embed import NOISE
from orbitds.model.interface import LOG_VARIANCE
from orbitds.model.reslim import Reslim

B, H, W = 2, 5, 7
WIND, TEMPERATURE, RAIN = "eastward_wind", "2m_temperature", "total_precipitation_24hr"
INPUTS, OUTPUTS = (WIND, RAIN, TEMPERATURE), (TEMPERATURE, RAIN)
STATICS = ("orography", "land_sea_mask")
TINY: dict[str, Any] = {
    "width": 8,
    "depth": 2,
    "heads": 2,
    "mlp_ratio": 2.0,
    "decoder_depth": 1,
    "correction_width": 4,
    "correction_depth": 1,
    "position_octaves": 4,
}


def model_of(*, inputs=INPUTS, outputs=OUTPUTS, statics=STATICS, factor=3, **settings) -> Any:
    """An untrained model in float64 and evaluation mode."""
    torch.manual_seed(34)
    config = ModelConfig(**(TINY | settings))
    model = Reslim(config, inputs=inputs, outputs=outputs, statics=statics, factor=factor)
    return model.double().eval()


def randomised(model) -> Any:
    """Leave nothing at its start, so that every part of the model shows in its output."""
    generator = torch.Generator().manual_seed(35)
    with torch.no_grad():
        for weight in model.parameters():
            scale = weight[0].numel() ** -0.5 if weight.ndim > 1 else 0.3
            start = float(weight.ndim == 1 and weight.mean() == 1)  # layer norms stay near one
            weight.copy_(start + scale * torch.randn(weight.shape, generator=generator))
    return model


def normal(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def sample_of(
    height=H, width=W, *, factor=3, climatology=True, longitude=None, periodic=False
) -> dict[str, Any]:
    """Arguments of ``forward``: two samples at different places."""
    fine = factor * height, factor * width
    step = 360 / width if periodic else 2.5
    latitude = torch.tensor([[61.25], [8.75]]) - 2.5 * torch.arange(height)
    longitude = (torch.tensor([[20.0], [-35.0]]) if longitude is None else longitude).double()
    coarse = normal(B, len(INPUTS), height, width, seed=36)
    coarse[:, 1] = coarse[:, 1].abs()
    sample = {
        "coarse": coarse,
        "latitude_deg": latitude.double(),
        "longitude_deg": longitude + step * torch.arange(width, dtype=torch.float64),
        "spacing_km": torch.tensor([[278.0, 93.0], [111.0, 37.0]]).double(),
        "statics": normal(B, len(STATICS), *fine, seed=37),
        "climatology": None,
        "periodic": periodic,
    }
    if climatology:
        sample["climatology"] = (
            normal(B, len(OUTPUTS), *fine, seed=38).abs(),
            normal(B, len(OUTPUTS), height, width, seed=39).abs(),
        )
    return sample


def run(model, sample):
    with torch.no_grad():
        return model(**sample)


def decoded(model, sample):
    """The trunk's share of the output, of a model without correction."""
    assert model.config.correction_width == 0
    with torch.no_grad():
        fine, base, _ = model.predict(**sample)
    return fine - base


def mapped(sample, change) -> dict[str, Any]:
    """Apply a change to every tensor of a sample."""
    return {
        name: change(value)
        if isinstance(value, torch.Tensor)
        else tuple(change(part) for part in value)
        if isinstance(value, tuple)
        else value
        for name, value in sample.items()
    }


def close(got, want, tolerance=1e-12):
    torch.testing.assert_close(got, want, rtol=0, atol=tolerance)


# At step 0


@pytest.mark.parametrize("base", ["bilinear", "bicubic", "delta"])
@pytest.mark.parametrize("statics", [False, True])
@pytest.mark.parametrize("climatology", [False, True])
@pytest.mark.parametrize("periodic", [False, True])
def test_an_untrained_model_is_its_base(base, statics, climatology, periodic):
    model, sample = model_of(base=base), sample_of(climatology=climatology, periodic=periodic)
    if not statics:
        sample["statics"] = None
    with torch.no_grad():
        fine, start, _ = model.predict(**sample)
    assert torch.equal(fine, start)
    assert torch.equal(run(model, sample), start)
    method = "bilinear" if base == "bilinear" else "bicubic"

    def refine(field):
        return interpolate(field, 3, method, periodic=periodic)

    temperature, amount = refine(sample["coarse"][:, 2]), refine(sample["coarse"][:, 1].expm1())
    if base == "delta" and climatology:
        normals = sample["climatology"]
        temperature = temperature + normals[0][:, 0] - refine(normals[1][:, 0])
        ratio = normals[0][:, 1].expm1() + 0.1
        ratio = ratio / (refine(normals[1][:, 1].expm1()).clamp(min=0) + 0.1)
        amount = amount * ratio.clamp(max=5)
    close(fine[:, 0], temperature)
    close(fine[:, 1], amount.clamp(min=0).log1p())


@pytest.mark.parametrize("factor", [2, 3, 4, 5, 8, 10])
@pytest.mark.parametrize("base", ["bilinear", "bicubic", "delta"])
def test_an_untrained_model_of_any_factor_is_its_base(factor, base):
    model = model_of(factor=factor, base=base)
    sample = sample_of(factor=factor, periodic=True)
    with torch.no_grad():
        fine, start, _ = model.predict(**sample)
        expected, _ = model.base(
            sample["coarse"],
            INPUTS,
            sample["climatology"],
            factor=factor,
            periodic=sample["periodic"],
        )
    assert torch.equal(fine, start)
    assert torch.equal(start, expected)
    assert start.std() > 0.1


def test_the_zero_ends_wake_up_in_the_first_step():
    model, sample = model_of(base="delta"), sample_of()
    model(**sample).square().sum().backward()
    for end in (model.trunk.decode.paint, model.correct.layers[-1]):
        assert end.weight.grad.abs().max() > 1e-3
        assert end.bias.grad.abs().max() > 1e-3


# Shapes


@pytest.mark.parametrize("factor", [2, 3, 4, 5, 8, 10])
@pytest.mark.parametrize("patch", [1, 2, 4])
def test_any_factor_and_patch(factor, patch):
    model = randomised(model_of(factor=factor, patch=patch))
    fine = run(model, sample_of(factor=factor))
    assert fine.shape == (B, len(OUTPUTS), factor * H, factor * W)
    assert fine.isfinite().all()


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (3, 2)])
def test_a_window_smaller_than_a_patch(height, width, depth):
    model = randomised(model_of(patch=4, depth=depth, decoder_depth=0))
    fine = run(model, sample_of(height, width))
    assert fine.shape == (B, len(OUTPUTS), 3 * height, 3 * width)
    assert fine.isfinite().all()


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize(("height", "width", "patch"), [(5, 7, 2), (5, 9, 4), (3, 5, 4)])
def test_patches_over_the_border_see_the_field_continued(height, width, patch, periodic):
    model = randomised(model_of(patch=patch, correction_width=0))
    sample = sample_of(height, width, climatology=False, periodic=periodic)
    south, east = -height % patch, -width % patch
    rows = torch.arange(height + south).clamp(max=height - 1)
    columns = torch.arange(width + east)
    columns = columns % width if periodic else columns.clamp(max=width - 1)

    def continued(centres_deg, cells):
        step = centres_deg[:, 1:2] - centres_deg[:, :1]
        return centres_deg[:, :1] + step * torch.arange(centres_deg.shape[1] + cells)

    coarse_mean = F.avg_pool2d(sample["statics"], 3)
    whole = sample | {
        "coarse": sample["coarse"][:, :, rows][..., columns],
        "statics": coarse_mean[:, :, rows][..., columns]
        .repeat_interleave(3, dim=-1)
        .repeat_interleave(3, dim=-2),
        "latitude_deg": continued(sample["latitude_deg"], south),
        "longitude_deg": continued(sample["longitude_deg"], east),
        "periodic": False,
    }
    expected = decoded(model, whole)[..., : 3 * height, : 3 * width]
    assert expected.std() > 0.1
    close(decoded(model, sample), expected)


# Parts


def test_the_parts_add_up():
    model, sample = randomised(model_of(base="delta")), sample_of()
    bare = model_of(base="delta", correction_width=0)
    weights = model.state_dict()
    kept = {name: weight for name, weight in weights.items() if name in bare.state_dict()}
    bare.load_state_dict(kept, strict=False)  # its closing convolution stays the identity
    with torch.no_grad():
        start, detail = model.base(
            sample["coarse"],
            INPUTS,
            sample["climatology"],
            factor=model.factor,
            periodic=sample["periodic"],
        )
        added = decoded(bare, sample)
        known = torch.cat([added, start, detail, sample["statics"]], dim=1)
        correction = model.correct(known, periodic=sample["periodic"])
        fine, base, _ = model.predict(**sample)
    assert torch.equal(base, start)
    assert min(added.std(), correction.std()) > 0.1
    close(fine, start + added + correction)


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_a_token_lies_at_the_centre_of_its_patch(patch):
    model, sample, places = model_of(patch=patch), sample_of(), []
    model.trunk.position.register_forward_pre_hook(lambda _, args: places.extend(args[:2]))
    run(model, sample)
    rows, columns = (
        -(-sample[name].shape[1] // patch) for name in ("latitude_deg", "longitude_deg")
    )
    latitude, longitude = (place.unflatten(1, (rows, columns)) for place in places)
    close(latitude, latitude[:, :, :1].expand_as(latitude))  # row by row
    close(longitude, longitude[:, :1].expand_as(longitude))
    axes = {"latitude_deg": latitude[:, :, 0], "longitude_deg": longitude[:, 0]}
    for name, tokens in axes.items():
        whole = sample[name].shape[1] // patch * patch
        cells = sample[name][:, :whole].unflatten(1, (-1, patch))
        close(tokens[:, : whole // patch], cells.mean(dim=-1))
        # the last patch may reach over the border: one patch on from the one before
        step = patch * (sample[name][:, 1] - sample[name][:, 0])
        close(tokens[:, -1] - tokens[:, -2], step)


# Space


@pytest.mark.parametrize("base", ["bilinear", "bicubic", "delta"])
@pytest.mark.parametrize(("patch", "width", "cells"), [(1, 7, 3), (2, 14, 4), (2, 14, -2)])
def test_a_rolled_circle_gives_the_rolled_output(base, patch, width, cells):
    model = randomised(model_of(base=base, patch=patch))
    sample = sample_of(width=width, periodic=True)
    longitude = sample["longitude_deg"] - cells * 360 / width

    def roll(field):
        return field.roll(cells * (field.shape[-1] // width), dims=-1)

    rolled = mapped(sample, lambda value: roll(value) if value.ndim == 4 else value)
    rolled["longitude_deg"] = longitude
    fine = run(model, sample)
    close(run(model, rolled), roll(fine))
    # neither place nor border is without effect
    assert (
        run(model, rolled | {"longitude_deg": sample["longitude_deg"]}) - roll(fine)
    ).std() > 0.01
    assert (run(model, rolled | {"periodic": False}) - roll(fine)).std() > 0.01


@pytest.mark.parametrize("patch", [2, 4])
def test_the_date_line_is_no_border(patch):
    model = randomised(model_of(patch=patch))
    start = torch.tensor([[350.0], [175.0]])
    sample = sample_of(width=9, longitude=start)
    assert sample["longitude_deg"][:, -1].tolist() == [370, 195]
    here = run(model, sample)
    for turns in (-1, 1):
        moved = sample | {"longitude_deg": sample["longitude_deg"] + 360 * turns}
        close(run(model, moved), here)
    moved = sample | {"longitude_deg": sample["longitude_deg"] + 180}
    assert (run(model, moved) - here).std() > 0.01


@pytest.mark.parametrize("factor", [2, 3, 4, 5, 8, 10])
@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize(("row", "column"), [(2, 3), (0, 0), (4, 6)])
def test_without_attention_a_patch_reaches_its_own_block_alone(row, column, patch, factor):
    periodic = True
    model = randomised(model_of(factor=factor, patch=patch, correction_width=0))
    height, width, edge = H * patch, W * patch, factor * patch
    sample = sample_of(height, width, factor=factor, periodic=periodic)
    perturbed = sample["coarse"].clone()
    own = (
        slice(row * patch, (row + 1) * patch),
        slice(column * patch, (column + 1) * patch),
    )
    perturbed[1, 0][own] += 1
    other = sample | {"coarse": perturbed}
    with_attention = decoded(model, other) - decoded(model, sample)
    assert (with_attention[1].abs().amax(dim=0) > 1e-9).all()
    with torch.no_grad():
        for block in model.trunk.blocks:
            block.project.weight.zero_()
            block.project.bias.zero_()
    change = decoded(model, other) - decoded(model, sample)
    rows = [i for i in range(row * edge - 1, (row + 1) * edge + 1) if 0 <= i < height * factor]
    columns = [j % (width * factor) for j in range(column * edge - 1, (column + 1) * edge + 1)]
    expected = torch.zeros(height * factor, width * factor, dtype=torch.bool)
    expected[torch.tensor(rows)[:, None], torch.tensor(columns)] = True
    assert torch.equal((change[1].abs() > 1e-9).any(dim=0), expected)
    assert change[1].abs().amax(dim=0)[~expected].max() < 1e-14
    assert not change[0].any()


@pytest.mark.parametrize(("north", "west"), [(0, 0), (1, 0), (0, 3), (3, 2)])
def test_patches_of_a_window_are_those_of_the_field(north, west):
    """A trunk without attention paints a cut window as it paints the field around it."""
    patch, factor = 4, 2
    model = randomised(model_of(patch=patch, factor=factor, correction_width=0))
    with torch.no_grad():
        for block in model.trunk.blocks:
            block.project.weight.zero_()
            block.project.bias.zero_()
    sample = sample_of(12, 14, factor=factor, climatology=False)
    whole = decoded(model, sample)
    top, left = 4 + north, 4 + west
    window = sample | {
        "coarse": sample["coarse"][..., top:, left:],
        "latitude_deg": sample["latitude_deg"][:, top:],
        "longitude_deg": sample["longitude_deg"][:, left:],
        "statics": sample["statics"][..., factor * top :, factor * left :],
    }
    # the first patch is filled up with what lies in the window, and the rim of the convolution
    first = [factor * (-start % patch) + 1 for start in (top, left)]
    wanted = whole[..., factor * top + first[0] :, factor * left + first[1] :]
    got = decoded(model, window | {"phase": (north, west)})
    close(got[..., first[0] :, first[1] :], wanted)
    if north or west:
        assert (decoded(model, window)[..., first[0] :, first[1] :] - wanted).std() > 0.01


def test_a_sample_is_its_own():
    model, sample = randomised(model_of(base="delta")), sample_of()
    both = run(model, sample)
    for place in range(B):
        alone = mapped(sample, lambda value, place=place: value[place : place + 1])
        close(run(model, alone)[0], both[place])


def test_spacing_matters():
    model, sample = randomised(model_of()), sample_of()
    other = sample | {"spacing_km": sample["spacing_km"].flip(0)}
    assert (run(model, other) - run(model, sample)).std() > 0.01


# Variables


@pytest.mark.parametrize("base", ["bicubic", "delta"])
def test_order_of_the_variables_is_only_an_order(base):
    model, sample = randomised(model_of(base=base)), sample_of()
    expected = run(model, sample)
    for order in itertools.permutations(range(len(INPUTS))):
        shuffled = sample | {"coarse": sample["coarse"][:, list(order)]}
        names = tuple(INPUTS[place] for place in order)
        close(run(model, shuffled | {"variables": names}), expected)
        if names != INPUTS:
            assert (run(model, shuffled) - expected).std() > 0.1


@pytest.mark.parametrize("chosen", [(0,), (1,), (2, 0), (1, 2)])
def test_any_subset_of_the_variables(chosen):
    model, sample = randomised(model_of(correction_width=0)), sample_of(climatology=False)
    names = tuple(INPUTS[place] for place in chosen)
    subset = sample | {"coarse": sample["coarse"][:, list(chosen)], "variables": names}
    # a model that was built for the subset alone, with the same weights
    small = model_of(inputs=names, correction_width=0)
    weights = model.state_dict()
    rows = [*chosen, *(len(INPUTS) + place for place in range(len(STATICS)))]
    for name in ("trunk.aggregate.embed", "trunk.aggregate.bias"):
        weights[name] = weights[name][rows]
    small.load_state_dict(weights)
    fine, base, _ = model.predict(**subset)
    close(fine, run(small, subset))
    for place, name in enumerate(OUTPUTS):
        if name not in names:
            assert torch.equal(base[:, place], torch.zeros_like(base[:, place]))


def test_one_variable_in_and_another_out():
    model = model_of(inputs=(WIND,), outputs=(RAIN,), statics=())
    sample = sample_of(climatology=False)
    sample |= {"coarse": sample["coarse"][:, :1], "statics": None}
    assert torch.equal(run(model, sample), torch.zeros(B, 1, 3 * H, 3 * W).double())
    randomised(model)
    fine = run(model, sample)
    assert fine.std() > 0.01
    assert (run(model, sample | {"coarse": 2 * sample["coarse"]}) - fine).std() > 0.01


def test_without_statics_the_trunk_does_not_attend_to_them():
    model = randomised(model_of(correction_width=0))
    sample = sample_of()
    without = sample | {"statics": None}
    small = model_of(statics=(), correction_width=0)
    weights = model.state_dict()
    for name in ("trunk.aggregate.embed", "trunk.aggregate.bias"):
        weights[name] = weights[name][: len(INPUTS)]
    small.load_state_dict(weights)
    close(run(model, without), run(small, without))
    assert (run(model, without) - run(model, sample)).std() > 0.01


def test_without_statics_the_residual_path_sees_their_mean():
    model, sample = randomised(model_of()), sample_of()
    with torch.no_grad():
        model.trunk.decode.paint.weight.zero_()
    zeros = sample | {"statics": torch.zeros_like(sample["statics"])}
    without = run(model, sample | {"statics": None})
    close(without, run(model, zeros))
    assert (without - run(model, sample)).std() > 0.01


def test_statics_act_at_the_fine_resolution():
    model, sample = randomised(model_of()), sample_of()
    # a change inside a coarse cell that leaves its mean
    ripple = sample["statics"].clone()
    ripple[1, 0, 6, 9] += 1
    ripple[1, 0, 7, 10] -= 1
    change = run(model, sample | {"statics": ripple}) - run(model, sample)
    assert change[1, :, 6, 9].abs().min() > 1e-4
    # two convolutions of the correction reach two coarse cells; the trunk sees nothing
    change[1, :, :15, 3:18] = 0
    assert change.abs().max() < 1e-12


def test_the_correction_sees_the_detail_of_the_climatology():
    model, sample = randomised(model_of(base="delta")), sample_of()
    with torch.no_grad():
        fine, base, _ = model.predict(**sample)
        model.correct.layers[0].weight[:, 4:6] = 0  # decoded, base, then detail: 2 channels each
        without, same, _ = model.predict(**sample)
    assert torch.equal(base, same)
    assert (fine - without).std() > 0.01


# Distributions


def test_a_variance_is_painted_beside_the_mean():
    """The fields are those of a model without a variance and the same weights otherwise."""
    model, sample = randomised(model_of(predicts="gaussian")), sample_of()
    with torch.no_grad():
        fine, base, log_variance = model.predict(**sample)
    assert log_variance.shape == fine.shape == base.shape
    assert log_variance.dtype == torch.float32
    assert (log_variance.std(dim=(0, 2, 3)) > 0.01).all()
    plain, weights = model_of(), model.state_dict()
    for name in ("trunk.decode.paint.weight", "trunk.decode.paint.bias"):
        weights[name] = weights[name].unflatten(0, (2, -1))[0]
    plain.load_state_dict(weights)
    with torch.no_grad():
        alone, _, none = plain.predict(**sample)
    assert none is None
    close(alone, fine)


@pytest.mark.parametrize("settings", [{}, {"correction_width": 0}, {"compression": 4.0}])
def test_a_variance_keeps_within_bounds(settings):
    model, sample = randomised(model_of(predicts="gaussian", **settings)), sample_of()
    with torch.no_grad():
        model.trunk.decode.paint.weight *= 1e4
        log_variance = model.predict(**sample).log_variance
    assert (log_variance.min(), log_variance.max()) == LOG_VARIANCE


def test_mean_and_variance_learn_by_weights_of_their_own():
    model, sample = randomised(model_of(predicts="gaussian")), sample_of()
    paint = model.trunk.decode.paint
    for part, learns in (("fine", [True, False]), ("log_variance", [False, True])):
        model.zero_grad()
        getattr(model.predict(**sample), part).square().sum().backward()
        for weight in (paint.weight, paint.bias):
            mean, spread = (weight.grad.unflatten(0, (2, -1)) != 0).unbind()
            assert [bool(mean.all()), bool(spread.all())] == learns
            assert [bool(mean.any()), bool(spread.any())] == learns
        assert (model.trunk.blocks[0].mlp[0].weight.grad != 0).all()


@pytest.mark.parametrize("settings", [{}, {"compression": 4.0}, {"edge_density": 0.05}])
def test_a_member_is_its_noise(settings):
    model = randomised(model_of(predicts="members", **settings))
    sample, noise = sample_of(12, 20), normal(B, NOISE, seed=42)
    one = run(model, sample | {"noise": noise})
    assert torch.equal(run(model, sample | {"noise": noise}), one)
    # of the second sample alone
    other = run(model, sample | {"noise": torch.stack([noise[0], noise[0]])})
    close(other[0], one[0])
    assert ((other - one)[1].std(dim=(1, 2)) > 0.01).all()
    assert (one - run(model, sample | {"noise": noise.flip(0)})).std() > 0.01


def test_a_member_without_noise_is_drawn_anew():
    model, sample = randomised(model_of(predicts="members")), sample_of()
    torch.manual_seed(43)
    drawn = [run(model, sample) for _ in range(2)]
    assert ((drawn[1] - drawn[0]).std(dim=(2, 3)) > 0.01).all()
    torch.manual_seed(43)
    assert torch.equal(run(model, sample), drawn[0])
    torch.manual_seed(43)
    assert torch.equal(run(model, sample | {"noise": torch.randn(B, NOISE)}), drawn[0])


@pytest.mark.parametrize("predicts", ["field", "gaussian"])
def test_noise_is_of_no_use_to_what_gives_no_members(predicts):
    model, sample = randomised(model_of(predicts=predicts)), sample_of()
    noise = normal(B, NOISE, seed=44)
    assert torch.equal(run(model, sample | {"noise": noise}), run(model, sample))


# Compression


@pytest.mark.parametrize("settings", [{"compression": 4.0}, {"edge_density": 0.05}])
def test_outputs_that_are_no_inputs_with_compression(settings):
    model = model_of(inputs=(WIND,), outputs=(RAIN, TEMPERATURE), **settings)
    sample = sample_of(12, 20, climatology=False)
    sample["coarse"] = sample["coarse"][:, :1]
    zero = torch.zeros(B, 2, 36, 60).double()
    assert torch.equal(run(model, sample), zero)
    with torch.no_grad():
        fine, base, _ = randomised(model).predict(**sample)
    assert torch.equal(base, zero)
    assert (fine.std(dim=(2, 3)) > 0.01).all()
    other = sample | {"coarse": sample["coarse"].flip(-1)}
    assert (run(model, other) - fine).std() > 0.01


# Learning


def test_gradients_reach_every_parameter():
    # one output is no input
    model = randomised(model_of(base="delta", inputs=(WIND, TEMPERATURE)))
    sample = sample_of()
    sample["coarse"] = sample["coarse"][:, [0, 2]]
    for climatology in (None, sample["climatology"]):
        fine = model(**sample | {"climatology": climatology})
        (fine * normal(*fine.shape, seed=40)).sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert (weight.grad != 0).all(), name


def test_training_draws_and_evaluation_does_not():
    for name in ("dropout", "drop_path", "drop_variables"):
        settings: dict[str, Any] = {name: 0.5}
        model, sample = randomised(model_of(**settings)), sample_of()
        assert torch.equal(run(model, sample), run(model, sample))
        torch.manual_seed(41)
        model.train()
        assert not torch.equal(run(model, sample), run(model, sample)), name
        model(**sample).sum().backward()
        assert all(
            weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters()
        )


def test_blocks_are_skipped_more_often_the_deeper_they_lie():
    model = model_of(depth=4, drop_path=0.2)
    rates = [block.drop_path for block in model.trunk.blocks]
    assert rates == pytest.approx([0.05, 0.1, 0.15, 0.2])


def test_bfloat16_stays_close_and_the_base_exact():
    # normalised precipitation to log1p(40 mm): far beyond what bfloat16 resolves
    model = randomised(model_of(base="delta", width=32)).float()
    sample = mapped(sample_of(), lambda value: value.float())
    sample["coarse"][:, 1] *= 2
    with torch.no_grad():
        fine, base, _ = model.predict(**sample)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough, rough_base, _ = model.predict(**sample)
    assert rough.isfinite().all()
    assert rough.dtype == torch.float32
    assert torch.equal(rough_base, base)
    added = fine - base
    error = (rough - fine).square().mean().sqrt() / added.square().mean().sqrt()
    assert 0 < error < 0.03


def test_state_round_trip():
    model, sample = randomised(model_of(base="delta")), sample_of()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = model_of(base="delta")
    assert not torch.equal(run(other, sample), run(model, sample))
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(run(other, sample), run(model, sample))
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


# Errors


def test_refuses_variables_it_was_not_built_for():
    sample = sample_of() | {"variables": (WIND, "northward_wind", RAIN)}
    with pytest.raises(ValueError, match=r"Wanted some of.*got.*'northward_wind'.*Select"):
        model_of()(**sample)


@pytest.mark.parametrize("names", [(WIND,), (TEMPERATURE, RAIN)])
def test_refuses_another_number_of_fields_than_names(names):
    sample = sample_of() | {"variables": names, "statics": None}
    with pytest.raises(ValueError, match=r"Wanted one field for each.*got 3 fields.*Name"):
        model_of()(**sample)


def test_refuses_other_statics_than_its_own():
    sample = sample_of()
    sample["statics"] = sample["statics"][:, :1]
    with pytest.raises(ValueError, match=r"Wanted one field for each.*orography.*got 4 fields"):
        model_of()(**sample)


# Several factors, and a part of the variables


def heads_of(model, factor):
    """The weights of a model of several factors that are of one, named as if it were alone."""
    weights = {}
    for name, weight in model.state_dict().items():
        of = re.fullmatch(r"(trunk\.decode\.(?:paint|smooth)|correct)\.(\d)\.(.+)", name)
        if of is None:
            weights[name] = weight
        elif int(of[2]) == factor:
            weights[f"{of[1]}.{of[3]}"] = weight
    return weights


@pytest.mark.parametrize("settings", [{}, {"correction_width": 0}, {"predicts": "gaussian"}])
@pytest.mark.parametrize("factor", [2, 3])
def test_at_a_factor_it_is_the_model_of_that_factor(factor, settings):
    both = randomised(model_of(factor=(3, 2), **settings))
    alone = model_of(factor=factor, **settings)
    alone.load_state_dict(heads_of(both, factor))
    sample = sample_of(factor=factor, climatology=False, periodic=True)
    view = both.at(factor, inputs=INPUTS, outputs=OUTPUTS, statics=STATICS)
    with torch.no_grad():
        wanted = alone.predict(**sample)
        told = both.predict(**sample, aim=view.aim), view.predict(**sample)
    for got in told:
        for field, same in zip(got, wanted, strict=True):
            assert (field is None and same is None) or torch.equal(field, same)
    assert both.factor == 3
    assert view.factor == factor
    assert view.trunk is both.trunk


@pytest.mark.parametrize("settings", [{}, {"predicts": "gaussian"}])
def test_a_part_of_the_outputs_does_not_depend_on_the_others(settings):
    model, sample = randomised(model_of(**settings)), sample_of(climatology=False)
    aim = model.aim._replace(outputs=(RAIN,))
    with torch.no_grad():
        before = model.predict(**sample, aim=aim)
        painted = model.trunk.decode.paint
        block = (3 * model.patch) ** 2
        painted.weight[:block] = 7.0  # what temperature is painted with
        after = model.predict(**sample, aim=aim)
    assert before.fine.shape[1] == before.base.shape[1] == 1
    for got, wanted in zip(after, before, strict=True):
        assert (got is None and wanted is None) or torch.equal(got, wanted)
    whole = model.predict(**sample)
    assert torch.equal(before.base, whole.base[:, 1:])


def test_a_static_that_is_not_given_is_its_mean_to_convolutions_and_nothing_to_the_trunk():
    model, sample = randomised(model_of()), sample_of(climatology=False)
    land = sample["statics"][:, 1:]
    part = model.aim._replace(statics=("land_sea_mask",))
    seen = {}
    aggregate = model.trunk.aggregate
    aggregate.register_forward_hook(lambda _, args, __: seen.update(fields=args[0], names=args[1]))
    model.correct.register_forward_pre_hook(lambda _, args: seen.update(known=args[0]))
    with torch.no_grad():
        model.predict(**(sample | {"statics": land}), aim=part)
    assert seen["names"] == (*INPUTS, "land_sea_mask")
    assert seen["fields"].shape[1] == len(INPUTS) + 1
    assert torch.equal(seen["known"][:, -1:], land)
    assert not seen["known"][:, -2].any()


def test_heads_that_a_step_does_not_use_have_no_gradient():
    model = randomised(model_of(factor=(3, 2)))
    sample = sample_of(factor=2, climatology=False)
    aim = model.aim._replace(factor=2)
    model.predict(**sample, aim=aim).fine.square().mean().backward()
    with_gradient = {name for name, weight in model.named_parameters() if weight.grad is not None}
    without = {name for name, _ in model.named_parameters()} - with_gradient
    assert without == {name for name, _ in model.named_parameters() if ".3." in name}


def test_what_it_does_not_have_is_refused():
    model = model_of(factor=(3, 2))
    own: dict[str, Any] = {"inputs": INPUTS, "outputs": OUTPUTS, "statics": STATICS}
    with pytest.raises(ValueError, match=r"a head for, one of \[3, 2\], got 4"):
        model.at(4, **own)
    for what in own:
        with pytest.raises(ValueError, match=rf"Wanted {what} of the network.*got \['snow'\]"):
            model.at(2, **(own | {what: ("snow",)}))


# --- places that are not told -------------------------------------------------------------------

KNOWN_IN_PART = torch.tensor([True, False])


@pytest.mark.parametrize(
    "settings", [{}, {"compression": 2.0}, {"compression": 1.5, "edge_density": 0.0}]
)
def test_where_the_place_is_not_told_it_has_no_part_in_the_answer(settings):
    model = randomised(model_of(drop_position=0.2, **settings))
    here = sample_of(8, 12)
    there = here | {
        "latitude_deg": here["latitude_deg"] - 30,
        "longitude_deg": here["longitude_deg"] + 50,
    }
    with torch.no_grad():
        whole = model(**here)
        one, other = (model(**sample, place_known=KNOWN_IN_PART) for sample in (here, there))
    torch.testing.assert_close(one[1], other[1], rtol=0, atol=1e-12)
    torch.testing.assert_close(one[0], whole[0], rtol=0, atol=1e-12)
    assert not torch.allclose(one[0], other[0], atol=1e-6)
    assert not torch.allclose(one[1], whole[1], atol=1e-6)


def test_a_model_that_always_knew_its_place_is_not_asked_to_do_without():
    with pytest.raises(ValueError, match="place_known out"):
        model_of()(**sample_of(), place_known=KNOWN_IN_PART)
