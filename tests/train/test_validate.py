"""Validation: the errors of a model that a few lines of numpy find too."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from orbitds.config import LossConfig, ModelConfig, TilesConfig, TrainConfig
from orbitds.interpolate import interpolate
from orbitds.model.build import build
from orbitds.model.interface import Prediction
from orbitds.model.reslim import Reslim
from orbitds.train.setting import prepare
from orbitds.train.validate import validate

WIND, RAIN = "eastward_wind", "total_precipitation_24hr"


def config(base="bicubic", *, dropout=0.0, **tiles):
    shape = {"width": 8, "depth": 1, "decoder_depth": 1, "position_octaves": 2}
    model = ModelConfig.model_validate(shape | {"base": base, "dropout": dropout})
    return TrainConfig(pair="synthetic", model=model, tiles=TilesConfig(**tiles))


def untrained(config, pair):
    torch.manual_seed(0)
    return Reslim(
        config.model,
        inputs=pair.inputs,
        outputs=pair.outputs,
        statics=pair.static_names,
        factor=pair.factor,
    )


class Mean(Reslim):
    """Says zero everywhere: the mean wind, and no rain."""

    def predict(self, coarse, *, factor=3, **_):
        zero = torch.zeros(*coarse.shape[:2], coarse.shape[2] * factor, coarse.shape[3] * factor)
        return Prediction(zero, zero)


def mean_square(error, rows):
    """Area-weighted mean over all times, without missing cells, of cells that fill the globe."""
    edges = np.linspace(90, -90, rows + 1)
    area = -np.diff(np.sin(np.deg2rad(edges)))[:, None] + 0 * error
    valid = ~np.isnan(error)
    return (area[valid] * error[valid] ** 2).sum() / area[valid].sum()


def years(pair):
    fine = pair.fine.sel(time="2003")
    return fine[WIND].values.astype(float), fine[RAIN].values.astype(float)


def test_errors_of_a_constant(pair):
    setting = prepare(config(), pair)
    got = validate(
        Mean(ModelConfig(), inputs=pair.inputs, outputs=pair.outputs, factor=3),
        setting,
        LossConfig(),
    )
    wind, rain = years(pair)
    row = setting.statistics[WIND]
    assert got[f"rmse_{WIND}"] == pytest.approx(mean_square(wind - row.mean, 21) ** 0.5, rel=1e-5)
    assert got[f"rmse_{RAIN}"] == pytest.approx(mean_square(rain, 21) ** 0.5, rel=1e-5)
    normalized = mean_square((wind - row.mean) / row.std, 21), mean_square(np.log1p(rain), 21)
    assert got["validation"] == pytest.approx(np.mean(normalized), rel=1e-5)


def test_missing_truth_does_not_count(pair):
    fine = pair.fine.copy(deep=True).assign_attrs(missing="mask")
    held = fine["time"].dt.year.values == 2003
    fine[RAIN].values[held, :8] = np.nan
    fine[WIND].values[np.flatnonzero(held)[2], :, 5:] = np.nan
    setting = prepare(config(), replace(pair, fine=fine))
    got = validate(
        Mean(ModelConfig(), inputs=pair.inputs, outputs=pair.outputs, factor=3),
        setting,
        LossConfig(),
    )
    wind, rain = years(replace(pair, fine=fine))
    row = setting.statistics[WIND]
    assert got[f"rmse_{WIND}"] == pytest.approx(mean_square(wind - row.mean, 21) ** 0.5, rel=1e-5)
    assert got[f"rmse_{RAIN}"] == pytest.approx(mean_square(rain, 21) ** 0.5, rel=1e-5)


@pytest.mark.parametrize("base", ["bilinear", "bicubic", "delta"])
def test_an_untrained_model_has_the_errors_of_its_base(pair, base):
    setting = prepare(config(base), pair)
    got = validate(untrained(config(base), pair), setting, LossConfig())
    method = "bicubic" if base == "delta" else base

    def refine(ds, name):
        values = torch.tensor(ds[name].values)
        fine = interpolate(values, 3, method, periodic=True).double().numpy()
        return fine if name == WIND else fine.clip(0)

    coarse = pair.coarse.sel(time="2003")
    base_wind, base_rain = refine(coarse, WIND), refine(coarse, RAIN)
    if base == "delta":
        known = [ds.sel(time=slice("2001", "2002")) for ds in (pair.fine, pair.coarse)]
        fine, smooth = (ds.groupby("time.month").mean() for ds in known)
        base_wind += fine[WIND].values - refine(smooth, WIND)
        ratio = (fine[RAIN].values + 0.1) / (refine(smooth, RAIN) + 0.1)
        base_rain *= ratio.clip(max=5)
    wind, rain = years(pair)
    assert got[f"rmse_{WIND}"] == pytest.approx(mean_square(base_wind - wind, 21) ** 0.5, rel=1e-4)
    assert got[f"rmse_{RAIN}"] == pytest.approx(mean_square(base_rain - rain, 21) ** 0.5, rel=1e-4)


@pytest.mark.parametrize("base", ["bicubic", "delta"])
def test_tiles_do_not_change_the_error_of_the_base(pair, base):
    scores = []
    for tiles in ({}, {"rows": 2, "columns": 3, "halo_cells": 2}):
        setting = prepare(config(base, **tiles), pair)
        scores.append(validate(untrained(config(base), pair), setting, LossConfig()))
    assert scores[1] == pytest.approx(scores[0], rel=1e-5)


@pytest.mark.parametrize("kind", ["mse", "gaussian", "crps"])
def test_batches_do_not_change_what_is_found(pair, kind):
    settings = config("bicubic", rows=2, columns=3, halo_cells=2)
    settings = settings.model_copy(update={"loss": LossConfig(kind=kind)})
    setting = prepare(settings, pair)
    torch.manual_seed(0)
    model = Reslim(
        settings.architecture,
        inputs=pair.inputs,
        outputs=pair.outputs,
        statics=pair.static_names,
        factor=pair.factor,
    )
    torch.nn.init.normal_(model.trunk.decode.paint.weight, std=0.1)
    one, several = (validate(model, setting, settings.loss, at_once=size) for size in (1, 7))
    assert several == pytest.approx(one, rel=1e-5)


def test_nothing_is_dropped_in_validation(pair):
    settings = config(dropout=0.5)
    setting, model = prepare(settings, pair), untrained(settings, pair)
    torch.nn.init.normal_(model.trunk.decode.paint.weight)
    scores = [validate(model.train(), setting, LossConfig()) for _ in range(2)]
    assert scores[0] == scores[1]
    assert all(weight.grad is None for weight in model.parameters())


# --- each kind of loss ---

LOSSES = [
    LossConfig(tv_weight=0.5, tv_weights={RAIN: 2.0}),
    LossConfig(kind="mse"),
    LossConfig(kind="l1"),
    LossConfig(kind="gaussian"),
    LossConfig(kind="crps"),
    LossConfig(kind="crps", members=3),
]


def shaken(loss, pair) -> Any:
    """A model with the head that a loss needs, and nothing left at its start."""
    torch.manual_seed(0)
    architecture = config().model_copy(update={"loss": loss}).architecture
    model = build(
        architecture,
        inputs=pair.inputs,
        outputs=pair.outputs,
        statics=pair.static_names,
        factor=pair.factor,
    )
    with torch.no_grad():
        for weight in model.parameters():
            # not so far that the exponential of a predicted logarithm overflows
            weight.add_(0.04 * torch.randn_like(weight))
    return model


@pytest.fixture
def predicted(monkeypatch):
    """What models predict, and the noise that they were given."""
    seen = []
    plain = Reslim.predict

    def record(self, *args, noise=None, **told):
        prediction = plain(self, *args, noise=noise, **told)
        seen.append((prediction, noise))
        return prediction

    monkeypatch.setattr(Reslim, "predict", record)
    return seen


def wholes(setting, predicted):
    """Targets, weights and members [K, U, Hf, Wf] of each sample, with their log-variance."""
    members = len(predicted) // len(setting.validate)
    for index in range(len(setting.validate)):
        batch = setting.validate.batch([index])
        own = [prediction for prediction, _ in predicted[index * members : (index + 1) * members]]
        fine = torch.stack([prediction.fine[0] for prediction in own]).double().numpy()
        spread = own[0].log_variance
        spread = None if spread is None else spread[0].double().numpy()
        yield batch.fine[0].double().numpy(), batch.weight[0].double().numpy(), fine, spread


@pytest.mark.parametrize("tiles", [{}, {"rows": 2, "columns": 2, "halo_cells": 2}])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_error_is_that_of_the_loss_without_a_prior(pair, predicted, loss, tiles):
    setting = prepare(config(**tiles), pair)
    got = validate(shaken(loss, pair), setting, loss)
    total = weights = 0.0
    for target, weight, fine, spread in wholes(setting, predicted):
        error = np.abs(fine - target).mean(axis=0)
        if loss.kind in ("bayesian", "mse"):
            error = error**2
        elif loss.kind == "gaussian":
            error = (spread + error**2 / np.exp(spread) + math.log(2 * math.pi)) / 2
        elif loss.kind == "crps":
            count = len(fine)
            distances = np.abs(fine[:, None] - fine[None]).sum(axis=(0, 1))
            error = error - distances / (2 * count * (count - 1))
        total += (weight * error).sum()
        weights += weight.sum()
    assert got["validation"] == pytest.approx(total / weights, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_rmse_is_that_of_the_mean_of_the_members(pair, predicted, loss):
    setting = prepare(config(), pair)
    got = validate(shaken(loss, pair), setting, loss)
    assert len(predicted) == 12 * (loss.members if loss.kind == "crps" else 1)
    members = np.stack([fine for _, _, fine, _ in wholes(setting, predicted)])  # T K U Hf Wf
    wind, rain = years(pair)
    row = setting.statistics[WIND]
    error = mean_square(members[:, :, 0].mean(axis=1) * row.std + row.mean - wind, 21) ** 0.5
    assert got[f"rmse_{WIND}"] == pytest.approx(error, rel=1e-5)
    # the mean of amounts, which is not that of their logarithms
    error = mean_square(np.expm1(members[:, :, 1]).mean(axis=1) - rain, 21) ** 0.5
    assert got[f"rmse_{RAIN}"] == pytest.approx(error, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_two_validations_give_the_same_numbers(pair, predicted, loss):
    setting, model = prepare(config(), pair), shaken(loss, pair)
    torch.manual_seed(3)
    first = validate(model, setting, loss)
    torch.manual_seed(4)
    again = validate(model, setting, loss)
    assert first == again
    noise = [noise for _, noise in predicted]
    if loss.kind == "crps":
        one, other = torch.cat(noise).chunk(2)
        assert torch.equal(one, other)
        assert len(one) == 12 * loss.members
        assert torch.cdist(one, one).fill_diagonal_(torch.inf).min() > 0.5
    else:
        assert all(vector is None for vector in noise)


@pytest.mark.parametrize("kind", ["bayesian", "gaussian", "crps"])
def test_validation_data_without_values_are_refused(pair, kind):
    fine = pair.fine.copy(deep=True).assign_attrs(missing="mask")
    held = fine["time"].dt.year.values == 2003
    for name in (WIND, RAIN):
        fine[name].values[held] = np.nan
    setting, loss = prepare(config(), replace(pair, fine=fine)), LossConfig(kind=kind)
    message = r"Wanted validation data with values, got nothing but missing.*2003.*Choose another"
    with pytest.raises(ValueError, match=message):
        validate(shaken(loss, pair), setting, loss)
