"""The losses against the public code's values, loops in numpy, and sums over tiles."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from orbitds.loss import (
    absolute_error,
    bayesian_tv,
    fair_crps,
    gaussian,
    square_error,
    total_variation,
)
from orbitds.model.interface import LOG_VARIANCE, spread_of
from orbitds.tiles import TileGrid
from orbitds.variables import variable

PUBLIC = (
    Path(__file__).parents[1].parent / "shared" / "fixtures" / "orbit2" / "official_tiny_io.npz"
)


def fields(*shape, count=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(count)]


def weights(*shape, seed=5, missing=0.2):
    """Uneven weights with holes."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.rand(shape, generator=generator, dtype=torch.float64) + 0.1
    return weight * (torch.rand(shape, generator=generator) > missing)


def variation_by_loops(field, diagonal, *, periodic):
    """Weighted absolute differences of each cell of [H, W] to its neighbours, pair by pair."""
    height, width = field.shape
    total = np.zeros((height, width))

    def value(i, j):
        inside = i < height and (periodic or j < width)
        return field[i, j % width] if inside else None

    for i in range(height):
        for j in range(width):
            pairs = [
                (1, value(i, j), value(i + 1, j)),
                (1, value(i, j), value(i, j + 1)),
                (diagonal, value(i, j), value(i + 1, j + 1)),
                (diagonal, value(i + 1, j), value(i, j + 1)),
            ]
            # the cross pair of a cell exists where all four cells do
            if value(i + 1, j + 1) is None:
                pairs = pairs[:2]
            for factor, one, other in pairs:
                if one is not None and other is not None:
                    total[i, j] += factor * abs(one - other)
    return total


# --- values ---


def test_public_values():
    if not PUBLIC.is_file():
        pytest.skip("the public code's values are not in this checkout's neighbourhood")
    with np.load(PUBLIC) as stored:
        prediction, target, expected = (stored[name] for name in ("y", "target", "bayesian_tv"))
        names = [str(name) for name in stored["out_variables"]]
    prediction, target = torch.from_numpy(prediction), torch.from_numpy(target)
    of_variable = torch.tensor([variable(name).loss_weight for name in names])
    assert of_variable.tolist() == [1, 10]
    for v, weight in enumerate(of_variable):
        one = slice(v, v + 1)
        cells = weight.expand(1, 1, *target.shape[-2:]).contiguous()
        value, _ = bayesian_tv(prediction[:, one], target[:, one], weight=cells, tv_weight=0.02)
        assert float(value) / target[:, one].numel() == pytest.approx(expected[v], rel=1e-5)
    cells = of_variable[:, None, None].expand(1, 2, *target.shape[-2:]).contiguous()
    value, weight = bayesian_tv(prediction, target, weight=cells, tv_weight=0.02)
    assert float(value) / target.numel() == pytest.approx(expected[-1], rel=1e-5)
    assert float(weight) == 11 * target[:, 0].numel()


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("shape", [(5, 7), (2, 9), (6, 2), (1, 5), (4, 1), (1, 1)])
def test_total_variation_against_loops(shape, periodic):
    (field,) = fields(2, 3, *shape, count=1)
    variation = total_variation(field, diagonal=0.7, periodic=periodic)
    for b in range(2):
        for u in range(3):
            expected = variation_by_loops(field[b, u].numpy(), 0.7, periodic=periodic)
            np.testing.assert_allclose(variation[b, u], expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("with_base", [True, False])
def test_loss_against_loops(periodic, with_base):
    prediction, target, base = fields(2, 3, 5, 7, count=3)
    weight = weights(2, 3, 5, 7)
    value, total = bayesian_tv(
        prediction,
        target,
        weight=weight,
        tv_weight=0.3,
        tv_diagonal=0.6,
        base=base if with_base else None,
        periodic=periodic,
    )
    smoothed = (prediction - base if with_base else prediction).numpy()
    expected = 0.0
    for b, u in np.ndindex(2, 3):
        variation = variation_by_loops(smoothed[b, u], 0.6, periodic=periodic)
        error = (prediction - target)[b, u].numpy() ** 2
        expected += (weight[b, u].numpy() * (error + 0.3 * variation)).sum()
    assert float(value) == pytest.approx(expected, rel=1e-13)
    assert float(total) == pytest.approx(float(weight.sum()), rel=1e-14)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (2, 1)])
def test_weights_are_shared_over_samples_and_variables(shape):
    prediction, target = fields(2, 3, 5, 7)
    weight = weights(*shape, 5, 7)
    got = bayesian_tv(prediction, target, weight=weight, tv_weight=0.1)
    whole = weight.expand(2, 3, 5, 7).clone()
    assert_close(got, bayesian_tv(prediction, target, weight=whole, tv_weight=0.1))


# --- invariants ---


def test_a_perfect_constant_costs_nothing():
    field = torch.full((1, 2, 4, 6), 3.7, dtype=torch.float64)
    weight = weights(1, 2, 4, 6)
    for periodic in (True, False):
        value, _ = bayesian_tv(field, field, weight=weight, tv_weight=1.0, periodic=periodic)
        assert float(value) == 0


def test_prior_acts_on_what_the_model_adds_to_its_base():
    prediction, target = fields(1, 2, 4, 6)
    weight = weights(1, 2, 4, 6)
    likelihood = bayesian_tv(prediction, target, weight=weight, tv_weight=0.0)
    shifted = bayesian_tv(
        prediction, target, weight=weight, tv_weight=1.0, base=prediction.detach() - 2.5
    )
    assert_close(shifted, likelihood)
    on_field = bayesian_tv(prediction, target, weight=weight, tv_weight=1.0)
    assert on_field[0] > 2 * likelihood[0]


@settings(max_examples=20, deadline=None)
@given(
    height=st.integers(1, 6),
    width=st.integers(1, 7),
    shift=st.integers(-7, 7),
    scale=st.floats(0, 9),
)
def test_total_variation_is_a_seminorm_that_knows_no_origin(height, width, shift, scale):
    one, other = fields(1, 1, height, width)

    def total(field, *, periodic):
        return total_variation(field, diagonal=0.7, periodic=periodic).sum()

    for periodic in (True, False):
        value = total(one, periodic=periodic)
        assert value >= 0
        assert_close(total(scale * one, periodic=periodic), scale * value)
        assert_close(total(one + 3.2, periodic=periodic), value)
        assert_close(total(one.flip(-1), periodic=periodic), value)
        assert_close(total(one.flip(-2), periodic=periodic), value)
        both = total(one + other, periodic=periodic)
        assert both <= value + total(other, periodic=periodic) + 1e-12
    rolled = total_variation(one.roll(shift, -1), diagonal=0.7, periodic=True)
    expected = total_variation(one, diagonal=0.7, periodic=True).roll(shift, -1)
    assert_close(rolled, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("with_base", [True, False])
@pytest.mark.parametrize(
    "grid",
    [
        TileGrid(7, 11, 2, 3, halo_cells=1, periodic=True),
        TileGrid(7, 11, 2, 3, halo_cells=1),
        TileGrid(5, 6, 3, 1, halo_cells=2, periodic=True),
        TileGrid(5, 8, 1, 2, halo_cells=4, periodic=True),
        TileGrid(6, 7, 1, 1, periodic=True),
    ],
)
def test_cores_add_up_to_the_whole_with_its_gradients(grid, with_base):
    factor = 2
    shape = (2, 2, grid.height * factor, grid.width * factor)
    prediction, target, base = fields(*shape, count=3)
    prediction.requires_grad_()
    weight = weights(*shape)
    target[weight == 0] = torch.nan
    settings_ = {"tv_weight": 0.4, "tv_diagonal": 0.7}
    whole = bayesian_tv(
        prediction,
        target,
        weight=weight,
        base=base if with_base else None,
        periodic=grid.periodic,
        **settings_,
    )
    parts = []
    for tile in grid.tiles:
        window = [grid.cut(field, tile, factor) for field in (prediction, target, weight, base)]
        part = bayesian_tv(
            window[0],
            window[1],
            weight=window[2] * grid.core_mask(tile, factor),
            base=window[3] if with_base else None,
            periodic=grid.wraps,
            **settings_,
        )
        parts.append(part)
    values, totals = (torch.stack(sums).sum() for sums in zip(*parts, strict=True))
    assert_close(values, whole[0], rtol=1e-12, atol=0)
    assert_close(totals, whole[1], rtol=1e-12, atol=0)
    (expected,) = torch.autograd.grad(whole[0] / whole[1], prediction)
    (gradient,) = torch.autograd.grad(values / totals, prediction)
    assert_close(gradient, expected, rtol=1e-10, atol=1e-14)


# --- masks and gradients ---


def test_missing_targets_leave_no_trace():
    prediction, target = fields(2, 2, 5, 7)
    weight = weights(2, 2, 5, 7, missing=0.4)
    assert (weight == 0).any()
    results = []
    for filler in (torch.nan, torch.inf, 1e30, 0.0):
        filled = torch.where(weight > 0, target, filler)
        leaf = prediction.clone().requires_grad_()
        value, total = bayesian_tv(leaf, filled, weight=weight, tv_weight=0.2)
        (gradient,) = torch.autograd.grad(value, leaf)
        results.append((value.detach(), total, gradient))
        assert gradient.isfinite().all()
    for result in results[1:]:
        assert_close(result, results[0], rtol=0, atol=0)


def test_no_weight_gives_no_loss_and_no_gradient():
    prediction, target = fields(1, 2, 4, 6)
    prediction.requires_grad_()
    value, total = bayesian_tv(
        prediction,
        target * torch.nan,
        weight=torch.zeros(1, 1, 4, 6, dtype=torch.float64),
        tv_weight=0.2,
    )
    assert (value.item(), total.item()) == (0, 0)
    value.backward()
    assert (prediction.grad == 0).all()


def test_a_cell_answers_for_its_pairs_to_the_south_and_east():
    prediction = torch.zeros(1, 1, 4, 5, dtype=torch.float64)
    prediction[0, 0, 1, 2] = 1
    weight = torch.zeros_like(prediction)
    found = {}
    for i, j in np.ndindex(4, 5):
        weight.zero_()
        weight[0, 0, i, j] = 1
        value, _ = bayesian_tv(
            prediction, prediction, weight=weight, tv_weight=1.0, tv_diagonal=0.7
        )
        if value:
            found[i, j] = round(float(value), 6)
    # itself: south, east, south-east; its western, northern and north-western neighbour; and the
    # anti-diagonal pairs, each at the upper left cell of its square
    assert found == {(1, 2): 2.7, (1, 1): 1.7, (0, 2): 1.7, (0, 1): 0.7}


@pytest.mark.parametrize("periodic", [True, False])
def test_gradient_of_the_prior_against_differences(periodic):
    # distinct values, further apart than the step: no pair is at the kink of |x|
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1)).double()
    prediction = (0.1 * order).reshape(1, 2, 4, 5).requires_grad_()
    target, base = fields(1, 2, 4, 5)
    weight = weights(1, 2, 4, 5)
    base = 0.01 * base

    def value(prediction):
        return bayesian_tv(
            prediction, target, weight=weight, tv_weight=0.5, base=base, periodic=periodic
        )[0]

    assert torch.autograd.gradcheck(value, (prediction,), eps=1e-6)


def test_gradient_of_flat_fields_is_that_of_the_likelihood():
    # the subgradient of |x| at 0 that keeps a flat correction at rest
    prediction = torch.zeros(1, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    (target,) = fields(1, 1, 4, 5, count=1)
    weight = weights(1, 1, 4, 5)
    bayesian_tv(prediction, target, weight=weight, tv_weight=0.5)[0].backward()
    assert_close(prediction.grad, -2 * weight * target)


@pytest.mark.parametrize("periodic", [True, False])
def test_a_prior_for_each_variable_is_the_sum_of_single_variables(periodic):
    prediction, target, base = fields(2, 3, 5, 7, count=3)
    weight, priors = weights(2, 3, 5, 7), [0.3, 0.0, 1.7]
    settings_ = {"tv_diagonal": 0.6, "periodic": periodic}
    together = bayesian_tv(
        prediction,
        target,
        weight=weight,
        tv_weight=torch.tensor(priors, dtype=torch.float64),
        base=base,
        **settings_,
    )
    alone = [
        bayesian_tv(
            prediction[:, u : u + 1],
            target[:, u : u + 1],
            weight=weight[:, u : u + 1],
            tv_weight=prior,
            base=base[:, u : u + 1],
            **settings_,
        )
        for u, prior in enumerate(priors)
    ]
    for got, parts in zip(together, zip(*alone, strict=True), strict=True):
        assert_close(got, sum(parts), rtol=1e-13, atol=0)


def test_a_zero_switches_the_prior_off_for_one_variable():
    prediction, target = fields(2, 3, 5, 7)
    prediction.requires_grad_()
    weight = weights(2, 3, 5, 7)
    priors = torch.tensor([0.4, 0.0, 0.4], dtype=torch.float64)

    def gradient(tv_weight):
        value, _ = bayesian_tv(prediction, target, weight=weight, tv_weight=tv_weight)
        return torch.autograd.grad(value, prediction)[0]

    got, plain, smoothed = gradient(priors), gradient(0.0), gradient(0.4)
    assert_close(got[:, 1], plain[:, 1], rtol=0, atol=0)
    assert_close(got[:, ::2], smoothed[:, ::2], rtol=1e-13, atol=1e-15)
    assert (plain[:, 1] - smoothed[:, 1]).abs().max() > 0.1


# --- plain errors ---


def density_by_loops(kind, prediction, target, spread):
    """The loss of each cell, cell by cell; of all members for the CRPS."""
    found = np.full(target.shape, np.nan)
    for place in np.ndindex(*target.shape):
        truth = target[place]
        if kind == "crps":
            x = [member[place] for member in prediction]
            pairs = sum(abs(one - other) for one in x for other in x)
            count = len(x)
            error = sum(abs(one - truth) for one in x) / count
            found[place] = error - pairs / (2 * count * (count - 1))
            continue
        error = prediction[place] - truth
        if kind == "square":
            found[place] = error**2
        elif kind == "absolute":
            found[place] = abs(error)
        else:
            variance = math.exp(spread[place])
            found[place] = 0.5 * math.log(2 * math.pi * variance) + error**2 / (2 * variance)
    return found


def loss_of(kind, prediction, target, spread, *, weight):
    if kind == "square":
        return square_error(prediction, target, weight=weight)
    if kind == "absolute":
        return absolute_error(prediction, target, weight=weight)
    if kind == "gaussian":
        return gaussian(prediction, spread, target, weight=weight)
    return fair_crps(prediction, target, weight=weight)


KINDS = ("square", "absolute", "gaussian", "crps")


def drawn(kind, *shape, members=3):
    """A prediction of a kind, a target and logarithms of variances."""
    prediction, target, spread = fields(*shape, count=3, seed=2)
    if kind == "crps":
        (prediction,) = fields(members, *shape, count=1, seed=3)
    return prediction, target, spread


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shared", [(2, 3), (1, 1), (1, 3), (2, 1)])
def test_each_loss_against_loops(kind, shared):
    prediction, target, spread = drawn(kind, 2, 3, 5, 7)
    weight = weights(*shared, 5, 7)
    whole = weight.expand(2, 3, 5, 7)
    assert (whole == 0).any()
    target[whole == 0] = torch.nan
    value, total = loss_of(kind, prediction, target, spread, weight=weight)
    density = density_by_loops(kind, prediction.numpy(), target.numpy(), spread.numpy())
    counts = whole.numpy() > 0
    assert float(value) == pytest.approx((whole.numpy() * density)[counts].sum(), rel=1e-13)
    assert float(total) == pytest.approx(whole.numpy().sum(), rel=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_missing_leaves_no_trace_in_any_loss(kind):
    prediction, target, spread = drawn(kind, 2, 2, 5, 7)
    weight = weights(2, 1, 5, 7, missing=0.4)
    results = []
    for filler in (torch.nan, torch.inf, -1e30, 0.0):
        leaves = [leaf.clone().requires_grad_() for leaf in (prediction, spread)]
        filled = torch.where(weight > 0, target, filler)
        value, total = loss_of(kind, leaves[0], filled, leaves[1], weight=weight)
        gradients = torch.autograd.grad(value, leaves, allow_unused=True)
        results.append((value.detach(), total, *(g for g in gradients if g is not None)))
        for gradient in results[-1][2:]:
            assert gradient.isfinite().all()
            missing = (weight == 0).expand_as(gradient)
            assert (gradient[missing] == 0).all()
            assert (gradient[~missing] != 0).any()
    assert len(results[0]) == (4 if kind == "gaussian" else 3)
    for result in results[1:]:
        assert_close(result, results[0], rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_each_loss_against_differences(kind):
    # distinct values, further apart than the step: nothing is at the kink of |x|
    order = torch.randperm(160, generator=torch.Generator().manual_seed(1)).double()
    values = (0.02 * order).reshape(4, 1, 2, 4, 5)
    target, spread, weight = values[0] + 0.01, values[3] - 1, weights(1, 2, 4, 5)
    prediction = values[1:].clone() if kind == "crps" else values[1].clone()
    prediction.requires_grad_()
    spread.requires_grad_(kind == "gaussian")

    def value(prediction, spread):
        return loss_of(kind, prediction, target, spread, weight=weight)[0]

    assert torch.autograd.gradcheck(value, (prediction, spread), eps=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_a_batch_add_up_in_each_loss(kind):
    prediction, target, spread = drawn(kind, 5, 2, 4, 6)
    weight = weights(5, 2, 4, 6)
    whole = loss_of(kind, prediction, target, spread, weight=weight)
    parts = []
    for part in (slice(0, 1), slice(1, 3), slice(3, 5)):
        one = prediction[:, part] if kind == "crps" else prediction[part]
        parts.append(loss_of(kind, one, target[part], spread[part], weight=weight[part]))
    for got, wanted in zip(map(sum, zip(*parts, strict=True)), whole, strict=True):
        assert_close(got, wanted, rtol=1e-13, atol=0)


def test_squared_error_is_the_bayesian_loss_without_a_prior():
    prediction, target = fields(2, 3, 5, 7)
    weight = weights(2, 1, 5, 7)
    assert_close(
        square_error(prediction, target, weight=weight),
        bayesian_tv(prediction, target, weight=weight, tv_weight=0.0),
        rtol=0,
        atol=0,
    )


# --- predicted distributions ---


def test_gaussian_is_the_likelihood_of_torch_distributions():
    mean, target, spread = fields(2, 3, 5, 7, count=3)
    spread, weight = 3 * spread, weights(2, 1, 5, 7)
    normal = torch.distributions.Normal(mean, (spread / 2).exp())
    expected = -(weight * normal.log_prob(target)).sum()
    value, total = gaussian(mean, spread, target, weight=weight)
    assert_close(value, expected, rtol=1e-13, atol=0)
    assert_close(total, weight.expand_as(mean).sum())


def test_a_standard_normal_target_costs_its_entropy():
    (target,) = fields(1, 1, 500, 400, count=1)
    zero = torch.zeros_like(target)
    value, total = gaussian(zero, zero, target, weight=torch.ones_like(target))
    # three standard errors: the variance of half a chi square is a half
    assert float(value / total) == pytest.approx(1.4189, abs=3 * math.sqrt(0.5 / 200000))
    value, total = gaussian(zero, zero, zero, weight=torch.ones_like(target))
    assert float(value / total) == pytest.approx(math.log(2 * math.pi) / 2, rel=1e-14)


def test_gaussian_is_least_at_the_mean_and_variance_of_the_sample():
    (target,) = fields(2, 1, 5, 7, count=1)
    target, weight = 3 * target + 1.5, weights(2, 1, 5, 7)
    total = weight.sum()
    mean = (weight * target).sum() / total
    variance = (weight * (target - mean) ** 2).sum() / total
    best = torch.stack([mean, variance.log()]).requires_grad_()

    def value(place):
        filled = (part.expand_as(target) for part in place)
        return gaussian(*filled, target, weight=weight)[0]

    least = value(best)
    (gradient,) = torch.autograd.grad(least, best)
    assert gradient.abs().max() < 1e-12 * float(total)
    for step in ((0.1, 0.0), (-0.1, 0.0), (0.0, 0.1), (0.0, -0.1), (0.2, 0.2)):
        moved = value(best.detach() + torch.tensor(step, dtype=torch.float64))
        assert moved > least + 1e-3


@pytest.mark.parametrize("extreme", [-1e4, -20.0, 20.0, 1e4])
def test_extreme_variances_of_a_model_stay_finite(extreme):
    prediction, target = (field.float() for field in fields(1, 2, 4, 6))
    painted = torch.cat([prediction, torch.full_like(prediction, extreme)], dim=1).requires_grad_()
    mean, spread = spread_of(painted, 2)
    low, high = LOG_VARIANCE
    assert_close(spread, torch.full_like(spread, min(max(extreme, low), high)))
    far = target + 100 * (torch.arange(6) > 2)  # a hundred deviations off
    value, _ = gaussian(mean, spread, far, weight=torch.ones_like(target))
    (gradient,) = torch.autograd.grad(value, painted)
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert (gradient[:, :2] != 0).all()


def crps_of_normal(truth, deviation):
    """The score of an endless ensemble from a normal distribution around zero."""
    z = truth / deviation
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    below = 0.5 * (1 + math.erf(z / math.sqrt(2)))
    return deviation * (z * (2 * below - 1) + 2 * density - 1 / math.sqrt(math.pi))


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("truth", [0.0, 1.4])
def test_the_score_of_few_members_is_that_of_an_endless_ensemble(count, truth):
    draws, deviation = 200, 1.3
    (members,) = fields(count, 1, 1, draws, draws, count=1, seed=40 + count)
    members = deviation * members
    target = torch.full((1, 1, draws, draws), truth, dtype=torch.float64)
    value, total = fair_crps(members, target, weight=torch.ones_like(target))
    cells = torch.stack(
        [
            fair_crps(
                members[..., row, :][..., None, :],
                target[..., row, :][..., None, :],
                weight=torch.ones(1, 1, 1, draws, dtype=torch.float64),
            )[0]
            / draws
            for row in range(draws)
        ]
    )
    error = float(cells.std() / draws**0.5)
    expected = crps_of_normal(truth, deviation)
    assert error < 0.01 * deviation
    assert abs(float(value / total) - expected) < 3 * error


def test_two_members_pay_for_their_error_less_half_their_distance():
    one, other, target = fields(2, 3, 5, 7, count=3)
    weight = weights(2, 3, 5, 7)
    value, _ = fair_crps(torch.stack([one, other]), target, weight=weight)
    errors = ((one - target).abs() + (other - target).abs()) / 2
    expected = (weight * (errors - (one - other).abs() / 2)).sum()
    assert_close(value, expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_members_that_agree_pay_the_absolute_error_and_nothing_if_right(count):
    prediction, target = fields(2, 3, 5, 7)
    weight = weights(2, 1, 5, 7)
    agreed = fair_crps(prediction.expand(count, -1, -1, -1, -1), target, weight=weight)
    expected = absolute_error(prediction, target, weight=weight)
    assert_close(agreed, expected, rtol=1e-13, atol=0)
    value, _ = fair_crps(target.expand(count, -1, -1, -1, -1), target, weight=weight)
    assert float(value) == 0


def test_order_of_the_members_does_not_matter():
    (members,), (target,) = fields(5, 2, 3, 4, 6, count=1), fields(2, 3, 4, 6, count=1, seed=1)
    weight = weights(2, 3, 4, 6)
    got = fair_crps(members[torch.tensor([3, 0, 4, 2, 1])], target, weight=weight)
    assert_close(got, fair_crps(members, target, weight=weight), rtol=1e-13, atol=0)


def test_one_member_is_refused():
    members, target = fields(1, 2, 3, 4, 6, count=1)[0], fields(2, 3, 4, 6, count=1)[0]
    with pytest.raises(ValueError, match=r"Wanted two or more members, got 1\. Draw more\."):
        fair_crps(members, target, weight=torch.ones_like(target))
