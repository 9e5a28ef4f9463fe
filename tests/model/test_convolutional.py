"""What U-Net and EDSR share: the base of Reslim, its inputs, and the contract of all models."""

from typing import Any

import pytest
import torch

from orbitds.checkpoint import load_checkpoint, save_checkpoint
from orbitds.config import LossConfig, ModelConfig, TrainConfig
from orbitds.model.build import build
from orbitds.model.convolutional import ConvolutionalModel
from orbitds.normalize import Statistics
from orbitds.tiles import TileGrid
from orbitds.train import loop
from orbitds.train.keep import export
from orbitds.train.objective import objective
from orbitds.train.setting import prepare

B, H, W = 2, 5, 7
TEMPERATURE, WIND, RAIN = "2m_temperature", "eastward_wind", "total_precipitation_24hr"
INPUTS, OUTPUTS, STATICS = (WIND, RAIN, TEMPERATURE), (TEMPERATURE, RAIN), ("orography",)
kinds = pytest.mark.parametrize("kind", ["unet", "edsr"])
bases = pytest.mark.parametrize("base", ["bicubic", "delta"])


def untrained(kind, *, factor=3, **settings) -> Any:
    torch.manual_seed(71)
    config = ModelConfig(**({"kind": kind, "width": 6, "depth": 2} | settings))
    model = build(config, inputs=INPUTS, outputs=OUTPUTS, statics=STATICS, factor=factor)
    return model.double().eval()


def model_of(kind, **settings) -> Any:
    """A model of random weights, none at its start, in float64."""
    model = untrained(kind, **settings)
    generator = torch.Generator().manual_seed(72)
    with torch.no_grad():
        for weight in model.parameters():
            scale = (2 / weight[0].numel()) ** 0.5 if weight.ndim > 1 else 0.3
            weight.copy_(scale * torch.randn(weight.shape, generator=generator))
    return model


def normal(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def sample_of(height=H, width=W, *, factor=3, periodic=False) -> dict[str, Any]:
    """Arguments of ``forward``."""
    fine = normal(B, len(OUTPUTS), factor * height, factor * width, seed=75).abs()
    return {
        "coarse": normal(B, len(INPUTS), height, width, seed=73).abs(),
        "latitude_deg": torch.zeros(B, height).double(),
        "longitude_deg": torch.zeros(B, width).double(),
        "spacing_km": torch.ones(B, 2).double(),
        "statics": normal(B, len(STATICS), factor * height, factor * width, seed=74),
        "climatology": (fine, torch.nn.functional.avg_pool2d(fine, factor)),
        "periodic": periodic,
    }


def run(model, sample):
    with torch.no_grad():
        return model(**sample)


def close(got, want, tolerance=1e-12):
    torch.testing.assert_close(got, want, rtol=0, atol=tolerance)


# --- what it starts from ---


@kinds
@bases
@pytest.mark.parametrize("predicts", ["field", "gaussian"])
def test_an_untrained_one_is_the_base_of_reslim(kind, base, predicts):
    sample = sample_of()
    reslim = untrained("reslim", base=base, heads=2, correction_width=0, decoder_depth=1)
    with torch.no_grad():
        fine, start, log_variance = untrained(kind, base=base, predicts=predicts).predict(**sample)
        wanted = reslim.predict(**sample).base
    assert torch.equal(start, wanted)
    assert torch.equal(fine, wanted)
    assert log_variance is None if predicts == "field" else not log_variance.any()


@kinds
@bases
@pytest.mark.parametrize(
    ("height", "width", "factor"), [(5, 7, 3), (1, 1, 2), (2, 9, 4), (3, 4, 5), (4, 3, 1)]
)
@pytest.mark.parametrize("periodic", [False, True])
def test_any_size_and_factor(kind, base, height, width, factor, periodic):
    model = model_of(kind, factor=factor, base=base)
    assert isinstance(model, ConvolutionalModel)
    sample = sample_of(height, width, factor=factor, periodic=periodic)
    with torch.no_grad():
        fine, start, log_variance = model.predict(**sample)
    assert fine.shape == start.shape == (B, len(OUTPUTS), factor * height, factor * width)
    assert fine.isfinite().all()
    assert (fine - start).std() > 0.01
    assert log_variance is None
    assert torch.equal(run(model, sample), fine)


@kinds
def test_it_sees_statics_and_the_structure_of_the_climatology(kind):
    model, sample = model_of(kind, base="delta"), sample_of()
    plain = run(model, sample)
    assert (run(model, sample | {"statics": None}) - plain).std() > 0.01
    assert torch.equal(
        run(model, sample | {"statics": None}),
        run(model, sample | {"statics": torch.zeros_like(sample["statics"])}),
    )
    fine, coarse = sample["climatology"]
    with torch.no_grad():
        one = model.predict(**sample)
        other = model.predict(**(sample | {"climatology": (1 + fine, coarse)}))
    added = other.fine - other.base - (one.fine - one.base)
    assert added.std() > 0.01


@kinds
def test_variables_go_by_name(kind):
    model, sample = model_of(kind), sample_of()
    order = [2, 0, 1]
    names = [INPUTS[place] for place in order]
    turned = sample | {"coarse": sample["coarse"][:, order], "variables": names}
    assert torch.equal(run(model, turned), run(model, sample))
    missing = sample | {"coarse": sample["coarse"][:, 1:], "variables": INPUTS[1:]}
    silent = sample["coarse"].clone()
    silent[:, 0] = 0
    assert torch.equal(run(model, missing), run(model, sample | {"coarse": silent}))


@kinds
def test_a_sample_is_its_own(kind):
    model, sample = model_of(kind), sample_of()
    del sample["climatology"]
    together = run(model, sample)
    for place in range(B):
        alone = {
            name: value[place : place + 1] if isinstance(value, torch.Tensor) else value
            for name, value in sample.items()
        }
        close(run(model, alone)[0], together[place])


@kinds
def test_a_variance_is_painted_beside_the_mean(kind):
    model, sample = model_of(kind, predicts="gaussian"), sample_of()
    with torch.no_grad():
        fine, _, log_variance = model.predict(**sample)
    assert log_variance.shape == fine.shape
    assert log_variance.std() > 0.01
    assert log_variance.dtype == torch.float32


# --- space ---


@kinds
@bases
@pytest.mark.parametrize(("factor", "width", "cells"), [(2, 8, 2), (3, 8, 4), (4, 7, 3)])
def test_a_rolled_circle_gives_the_rolled_output(kind, base, factor, width, cells):
    """Where the circle is a whole number of the lowest level's cells; EDSR anywhere."""
    model = model_of(kind, factor=factor, base=base)
    sample = sample_of(width=width, factor=factor, periodic=True)
    fine = run(model, sample).roll(cells * factor, dims=-1)
    rolled = sample | {
        "coarse": sample["coarse"].roll(cells, dims=-1),
        "statics": sample["statics"].roll(cells * factor, dims=-1),
        "climatology": (
            sample["climatology"][0].roll(cells * factor, dims=-1),
            sample["climatology"][1].roll(cells, dims=-1),
        ),
    }
    close(run(model, rolled), fine)
    assert (run(model, rolled | {"periodic": False}) - fine).std() > 0.001


@kinds
@bases
@pytest.mark.parametrize(("top", "left"), [(0, 3), (3, 5), (2, 2)])
def test_a_window_has_the_field_s_values_beyond_its_reach(kind, base, top, left):
    """With the phase of where it is cut; so the seams of tiles are within their margin."""
    factor = 3
    model = model_of(kind, factor=factor, base=base, depth=1)
    reach = model.reach_cells
    height, width = 2 * reach + 9, 2 * reach + 8
    sample = sample_of(height, width, factor=factor)
    whole = run(model, sample)
    rows, columns = slice(top, top + 2 * reach + 3), slice(left, left + 2 * reach + 2)

    def cut(field, times=1):
        return field[
            ...,
            rows.start * times : rows.stop * times,
            columns.start * times : columns.stop * times,
        ]

    window = sample | {
        "coarse": cut(sample["coarse"]),
        "latitude_deg": sample["latitude_deg"][:, rows],
        "longitude_deg": sample["longitude_deg"][:, columns],
        "statics": cut(sample["statics"], factor),
        "climatology": (
            cut(sample["climatology"][0], factor),
            cut(sample["climatology"][1]),
        ),
        "phase": (top % model.patch, left % model.patch),
    }
    margin = reach * factor
    inside = (..., slice(margin, -margin), slice(margin, -margin))
    assert run(model, window)[inside].numel() > 0
    close(run(model, window)[inside], cut(whole, factor)[inside])


@kinds
def test_blended_tiles_are_the_whole_field(kind):
    model = model_of(kind, factor=2, depth=1)
    reach = model.reach_cells
    tiles = TileGrid(55, 61, 2, 2, reach + 4, margin_cells=reach, align_cells=model.patch)
    sample = sample_of(55, 61, factor=2)
    del sample["climatology"]
    windows = []
    for tile in tiles.tiles:
        rows, columns = tiles.index(tile)
        told = sample | {
            "coarse": tiles.cut(sample["coarse"], tile),
            "statics": tiles.cut(sample["statics"], tile, 2),
            "latitude_deg": sample["latitude_deg"][:, rows],
            "longitude_deg": sample["longitude_deg"][:, columns],
        }
        windows.append(run(model, told))
    assert tiles.window[0] < 55
    close(tiles.blend(windows, 2), run(model, sample), 1e-11)


# --- learning and storage ---


@kinds
def test_gradients_reach_every_weight(kind):
    model, sample = model_of(kind, base="delta"), sample_of(9, 9)
    fine = model(**sample)
    (fine * normal(*fine.shape, seed=76)).sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad.any(), name


@kinds
@pytest.mark.parametrize("loss", ["bayesian", "gaussian"])
def test_learns(pair, kind, loss):
    """On one batch of the small pair the loss falls below that of the base."""
    model = ModelConfig(kind=kind, width=8, depth=1, base="delta")
    config = TrainConfig(pair="p", model=model, loss=LossConfig(kind=loss))
    setting = prepare(config, pair)
    torch.manual_seed(78)
    network = build(
        config.architecture,
        inputs=pair.inputs,
        outputs=pair.outputs,
        statics=pair.static_names,
        factor=pair.factor,
    )
    batch = torch.utils.data.default_collate([setting.train[index] for index in range(2)])
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.003)
    losses = []
    for _ in range(12):
        value, weight = objective(network, batch, setting, config.loss)
        losses.append((value / weight).detach())
        (value / weight).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert torch.stack(losses).isfinite().all()
    assert losses[-1] < losses[0]


@kinds
def test_a_checkpoint_gives_the_same_network(kind, tmp_path):
    model = model_of(kind, base="delta").float()
    names = {*INPUTS, *OUTPUTS, *STATICS}
    save_checkpoint(
        tmp_path / "given",
        model,
        statistics={name: Statistics(mean=1.0, std=2.0) for name in names},
        spacing_km=(300.0, 100.0),
        provenance={},
    )
    loaded = load_checkpoint(tmp_path / "given").model
    assert type(loaded) is type(model)
    sample = {
        name: value.float() if isinstance(value, torch.Tensor) else value
        for name, value in sample_of().items()
        if name != "climatology"
    }
    assert torch.equal(run(loaded, sample), run(model, sample))


@kinds
def test_it_is_trained_exported_and_downscales_as_any_other(kind, pair, tmp_path, monkeypatch):
    monkeypatch.setattr("orbitds.train.loop.open_pair", lambda name: pair)
    config = TrainConfig.model_validate(
        {
            "pair": "synthetic",
            "model": {"kind": kind, "width": 8, "depth": 1, "base": "delta"},
            "tiles": {"rows": 2, "columns": 2, "halo_cells": 2},
            "steps": 4,
            "batch_size": 4,
            "validate_every": 2,
            "device": "cpu",
            "log": {"tensorboard": False},
        }
    )
    loop.run(config, tmp_path / "run")
    export(tmp_path / "run", tmp_path / "checkpoint")
    fine = pair.part("test").coarse.orbit.downscale(str(tmp_path / "checkpoint"), tiles=(2, 2))
    assert fine[pair.outputs[0]].shape[1:] == pair.fine_grid.shape
    assert all(fine[name].notnull().all() for name in pair.outputs)


# --- errors ---


@kinds
def test_refuses_members_for_which_it_has_no_noise(kind):
    with pytest.raises(ValueError, match=rf"takes noise.*got {kind}.*reslim or vit"):
        untrained(kind, predicts="members")


@kinds
def test_refuses_variables_it_was_not_built_for(kind):
    sample = sample_of() | {"variables": (WIND, "northward_wind", RAIN)}
    with pytest.raises(ValueError, match=r"Wanted some of.*got.*'northward_wind'.*Select"):
        untrained(kind)(**sample)
