"""The objective: the plain formula of each loss on what the model predicts; and it is learned."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from orbitds.checkpoint import load_checkpoint
from orbitds.config import LossConfig, ModelConfig, OptimConfig, TilesConfig, TrainConfig
from orbitds.data.batch import Sample
from orbitds.model.build import build
from orbitds.train import loop
from orbitds.train.objective import objective, score
from orbitds.train.setting import prepare
from orbitds.train.validate import validate

WIND, RAIN = "eastward_wind", "total_precipitation_24hr"
TINY = ModelConfig(
    width=8, depth=1, decoder_depth=1, correction_width=4, correction_depth=1, position_octaves=2
)
KINDS = ("bayesian", "mse", "l1", "gaussian", "crps")
LOSSES = [
    {"kind": "mse"},
    {"kind": "l1"},
    {"kind": "gaussian"},
    {"kind": "crps"},
    {"kind": "crps", "members": 4},
    {"kind": "bayesian", "tv_weight": 0.3, "tv_diagonal": 0.6},
    {"kind": "bayesian", "tv_weight": 0.3, "tv_of": "field"},
    {"kind": "bayesian", "tv_weight": 0.1, "tv_weights": {RAIN: 0.5}},
    {"kind": "bayesian", "tv_weight": 0.1, "tv_weights": {WIND: 0.5, RAIN: 0.0}},
]


def config_of(loss, *, tiles=None, **model):
    return TrainConfig(
        pair="synthetic",
        model=TINY.model_copy(update=model),
        loss=LossConfig(**loss),
        tiles=TilesConfig(**(tiles or {})),
    )


def model_of(config, pair) -> Any:
    """A model with nothing left at its start."""
    torch.manual_seed(2)
    model = build(
        config.architecture,
        inputs=pair.inputs,
        outputs=pair.outputs,
        statics=pair.static_names,
        factor=pair.factor,
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return model


def batch_of(samples, *places):
    return samples.batch(places)


def doubled(batch):
    return Sample(*(tensor.double() for tensor in batch))


def predictions_of(model, setting, batch, loss, seed):
    torch.manual_seed(seed)
    count = loss.members if loss.kind == "crps" else 1
    with torch.no_grad():
        return [setting.forward(model, batch) for _ in range(count)]


def variation(field, diagonal, *, periodic):
    """The total-variation prior of each cell, in numpy."""
    right, below = np.roll(field, -1, axis=-1), np.roll(field, -1, axis=-2)
    across = np.roll(below, -1, axis=-1)
    beside, down = np.abs(right - field), np.abs(below - field)
    both = np.abs(across - field) + np.abs(below - right)
    down[..., -1, :] = both[..., -1, :] = 0
    if not periodic:
        beside[..., -1] = both[..., -1] = 0
    return beside + down + diagonal * both


def density_of(predictions, batch, loss, *, periodic):
    """The loss of each cell by the plain formula."""
    fine = np.stack([p.fine.double().numpy() for p in predictions])
    target = batch.fine.double().numpy()
    if loss.kind == "l1":
        return np.abs(fine[0] - target)
    if loss.kind == "crps":
        members = len(fine)
        pairs = np.abs(fine[:, None] - fine[None]).sum(axis=(0, 1))
        return np.abs(fine - target).mean(axis=0) - pairs / (2 * members * (members - 1))
    error = (fine[0] - target) ** 2
    if loss.kind == "gaussian":
        log_variance = predictions[0].log_variance.double().numpy()
        return 0.5 * (log_variance + error / np.exp(log_variance) + math.log(2 * math.pi))
    if loss.kind == "bayesian":
        base = predictions[0].base.double().numpy() if loss.tv_of == "residual" else 0.0
        prior = variation(fine[0] - base, loss.tv_diagonal, periodic=periodic)
        priors = [loss.tv_weights.get(name, loss.tv_weight) for name in (WIND, RAIN)]
        return error + np.array(priors)[:, None, None] * prior
    return error


@pytest.fixture(scope="module")
def masked(pair):
    """The pair without some of its targets: a different share of each time."""
    fine = pair.fine.copy(deep=True).assign_attrs(missing="mask")
    for step in range(fine.sizes["time"]):
        fine[RAIN].values[step, : step % 7] = np.nan
        fine[WIND].values[step, :, : step % 5] = np.nan
    return replace(pair, fine=fine)


# --- values ---


@pytest.mark.parametrize("tiles", [{}, {"rows": 2, "columns": 3, "halo_cells": 1}])
@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_is_the_plain_formula(masked, loss, tiles):
    config = config_of(loss, tiles=tiles)
    setting, model = prepare(config, masked), model_of(config, masked)
    assert masked.outputs == (WIND, RAIN)
    batch = batch_of(setting.train, 3, 11, 6)
    assert (batch.weight == 0).any()
    torch.manual_seed(7)
    value, weight = objective(model, batch, setting, config.loss)
    predictions = predictions_of(model, setting, batch, config.loss, seed=7)
    density = density_of(predictions, batch, config.loss, periodic=not tiles)
    weights = batch.weight.double().numpy()
    assert float(value.detach()) == pytest.approx((weights * density).sum(), rel=1e-5)
    assert float(weight) == pytest.approx(weights.sum(), rel=1e-5)
    value.backward()
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert sum(float(gradient.abs().sum()) for gradient in gradients) > 0


@pytest.mark.parametrize("members", [2, 3])
@pytest.mark.parametrize("kind", ["reslim", "vit"])
def test_members_are_runs_with_noise_of_their_own(pair, members, kind):
    config = config_of({"kind": "crps", "members": members}, kind=kind)
    setting, model = prepare(config, pair), model_of(config, pair)
    batch, seen = batch_of(setting.train, 0, 5), []
    model.trunk.resolution.register_forward_pre_hook(lambda _, told: seen.append(told[1]))
    first = objective(model, batch, setting, config.loss)[0]
    again = objective(model, batch, setting, config.loss)[0]
    assert len(seen) == 2 * members
    vectors = torch.cat(seen)
    assert len(vectors) == 2 * members * 2, "each sample has its own"
    assert torch.cdist(vectors, vectors).fill_diagonal_(torch.inf).min() > 0.5
    assert first != again


@pytest.mark.parametrize("kind", ["bayesian", "mse", "l1", "gaussian"])
def test_other_losses_run_the_model_once_without_noise(pair, kind):
    config = config_of({"kind": kind, "members": 5})
    setting, model = prepare(config, pair), model_of(config, pair)
    batch, seen = batch_of(setting.train, 0, 5), []
    model.trunk.resolution.register_forward_pre_hook(lambda _, told: seen.append(told[1]))
    values = [objective(model, batch, setting, config.loss)[0].detach() for _ in range(2)]
    assert seen == [None, None]
    assert values[0] == values[1]


def test_the_variance_is_learned_by_the_gaussian_loss_alone(pair):
    config = config_of({"kind": "gaussian"})
    setting, model = prepare(config, pair), model_of(config, pair)
    batch = batch_of(setting.train, 0, 5)
    with torch.no_grad():
        prediction = setting.forward(model, batch)
    assert prediction.log_variance is not None
    assert prediction.log_variance.std() > 1e-3
    value = score([prediction], batch, setting, config.loss)[0]
    wider = prediction._replace(log_variance=prediction.log_variance + 1)
    assert score([wider], batch, setting, config.loss)[0] != value
    for kind in ("bayesian", "mse", "l1"):
        loss = LossConfig(kind=kind)
        same, other = (score([p], batch, setting, loss)[0] for p in (prediction, wider))
        assert same == other


def test_a_prior_by_name_reaches_its_output(pair):
    """Roughening one output costs what its own prior says, and nothing where that is zero."""
    config = config_of({})
    setting, model = prepare(config, pair), model_of(config, pair)
    batch = batch_of(setting.train, 0, 5)
    with torch.no_grad():
        prediction = setting.forward(model, batch)
    plain = score([prediction], batch, setting, LossConfig(kind="mse"))[0]
    for name, place in ((WIND, 0), (RAIN, 1)):
        loss = LossConfig(tv_weight=0.0, tv_weights={name: 0.5}, tv_diagonal=0.7)
        value = score([prediction], batch, setting, loss)[0]
        added = (prediction.fine - prediction.base).double().numpy()[:, place]
        weight = batch.weight.double().numpy()[:, place]
        expected = 0.5 * (weight * variation(added, 0.7, periodic=True)).sum()
        assert expected > 1e-3 * float(plain)
        assert float(value - plain) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_stays_close_and_sums_in_float32(pair, kind):
    config = config_of({"kind": kind})
    setting, model = prepare(config, pair), model_of(config, pair)
    batch, values = batch_of(setting.train, 3, 11, 6), []
    for dtype in ("float32", "bfloat16"):
        torch.manual_seed(7)
        value, weight = objective(model, batch, setting, config.loss, dtype)
        assert value.dtype == weight.dtype == torch.float32
        assert weight == batch.weight.sum()
        value.backward()
        assert all(w.grad.isfinite().all() for w in model.parameters() if w.grad is not None)
        values.append(float(value.detach()))
    assert values[1] == pytest.approx(values[0], rel=0.05)
    assert values[1] != values[0]


@pytest.mark.parametrize("loss", LOSSES)
def test_parts_of_a_batch_add_up(masked, loss):
    config = config_of(loss)
    setting, model = prepare(config, masked), model_of(config, masked).double()
    batch = doubled(batch_of(setting.train, 0, 3, 11, 6, 20))
    predictions = predictions_of(model, setting, batch, config.loss, seed=7)
    whole = score(predictions, batch, setting, config.loss)
    parts = []
    for part in (slice(0, 1), slice(1, 3), slice(3, 5)):
        own = [
            type(p)(*(None if field is None else field[part] for field in p)) for p in predictions
        ]
        small = Sample(*(tensor[part] for tensor in batch))
        parts.append(score(own, small, setting, config.loss))
        if config.loss.kind != "crps":  # whose noise is drawn anew
            again = objective(model, small, setting, config.loss)
            torch.testing.assert_close(again, parts[-1], rtol=1e-6, atol=0)
    for got, wanted in zip(map(sum, zip(*parts, strict=True)), whole, strict=True):
        assert wanted.dtype == torch.float64
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=0)


# --- learning ---


@pytest.mark.parametrize("kind", KINDS)
def test_each_loss_is_learned_and_leaves_a_checkpoint_that_downscales(pair, coarse, tmp_path, kind):
    config = TrainConfig(
        pair="synthetic",
        model=TINY,
        loss=LossConfig(kind=kind),
        steps=25,
        batch_size=4,
        validate_every=25,
        device="cpu",
        optim=OptimConfig(lr=5e-3, warmup_steps=5),
    )
    torch.manual_seed(config.seed)
    untrained = build(
        config.architecture,
        inputs=pair.inputs,
        outputs=pair.outputs,
        statics=pair.static_names,
        factor=pair.factor,
    )
    setting = prepare(config, pair)
    before = validate(untrained, setting, config.loss)
    folder = tmp_path / "run"
    folder.mkdir()
    best = loop.fit(config, [pair], folder)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert log[-1]["validation"] < 0.9 * before["validation"]
    assert np.mean([entry["loss"] for entry in log[-5:]]) < np.mean(
        [entry["loss"] for entry in log[:5]]
    )

    checkpoint = load_checkpoint(best)
    predicts = {"gaussian": "gaussian", "crps": "members"}.get(kind, "field")
    assert checkpoint.description.model.predicts == predicts
    assert checkpoint.description.provenance["config"]["loss"]["kind"] == kind
    again = validate(checkpoint.model, setting, config.loss)
    assert again == pytest.approx({name: log[-1][name] for name in again}, rel=1e-6)
    fine = coarse.orbit.downscale(best)
    assert list(fine.data_vars) == [WIND, RAIN]
    assert fine.sizes["latitude"] == 21
    assert all(np.isfinite(fine[name]).all() for name in fine.data_vars)
    # what it learned shows: it comes closer to the truth than its base
    truth = pair.part("test").fine[WIND]
    start = before[f"rmse_{WIND}"]
    assert float(((fine[WIND] - truth.values) ** 2).mean() ** 0.5) < 1.1 * start
