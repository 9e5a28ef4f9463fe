"""Validation: the errors of a model that a few lines of numpy find too."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from orbitds.config import LossConfig, ModelConfig, TilesConfig, TrainConfig
from orbitds.interpolate import interpolate
from orbitds.model.interface import Prediction
from orbitds.model.reslim import Reslim
from orbitds.train.setting import prepare
from orbitds.train.validate import validate

CPU = torch.device("cpu")
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
        CPU,
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
        CPU,
    )
    wind, rain = years(replace(pair, fine=fine))
    row = setting.statistics[WIND]
    assert got[f"rmse_{WIND}"] == pytest.approx(mean_square(wind - row.mean, 21) ** 0.5, rel=1e-5)
    assert got[f"rmse_{RAIN}"] == pytest.approx(mean_square(rain, 21) ** 0.5, rel=1e-5)


@pytest.mark.parametrize("base", ["bilinear", "bicubic", "delta"])
def test_an_untrained_model_has_the_errors_of_its_base(pair, base):
    setting = prepare(config(base), pair)
    got = validate(untrained(config(base), pair), setting, LossConfig(), CPU)
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
        scores.append(validate(untrained(config(base), pair), setting, LossConfig(), CPU))
    assert scores[1] == pytest.approx(scores[0], rel=1e-5)


def test_nothing_is_dropped_in_validation(pair):
    settings = config(dropout=0.5)
    setting, model = prepare(settings, pair), untrained(settings, pair)
    torch.nn.init.normal_(model.trunk.decode.paint.weight)
    scores = [validate(model.train(), setting, LossConfig(), CPU) for _ in range(2)]
    assert scores[0] == scores[1]
    assert all(weight.grad is None for weight in model.parameters())
