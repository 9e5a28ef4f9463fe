"""Masked pre-training: what is hidden, that none of it is seen, and that something is learned."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from orbitds.checkpoint import load_checkpoint
from orbitds.config import (
    LossConfig,
    MaskedConfig,
    ModelConfig,
    OptimConfig,
    TilesConfig,
    TrainConfig,
)
from orbitds.data.synthetic import synthetic_pair
from orbitds.grid import block_mean
from orbitds.model.build import build
from orbitds.train import loop
from orbitds.train.keep import export
from orbitds.train.masked import hidden_in_step, hide, reconstruction
from orbitds.train.objective import objective
from orbitds.train.setting import prepare
from orbitds.train.validate import validate

WIND = "eastward_wind"
TINY = ModelConfig(
    width=8, depth=1, decoder_depth=1, correction_width=4, correction_depth=1, position_octaves=2
)
DEFAULTS: dict[str, Any] = {
    "pair": "synthetic",
    "model": TINY,
    "objective": "masked",
    "batch_size": 4,
    "device": "cpu",
    "validate_every": 1000,
}


def settings(**changes):
    return TrainConfig(**(DEFAULTS | changes))


def model_for(config, setting, *, seed=0):
    """A model none of whose weights is at its start."""
    torch.manual_seed(seed)
    pair = setting.pair
    model = build(
        config.architecture,
        inputs=setting.inputs,
        outputs=pair.outputs,
        statics=pair.static_names,
        factor=pair.factor,
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model.eval()


def seen_of(setting, config, *, step=1, indices=(0, 5, 9), batch=None):
    batch = setting.train.batch(list(indices)) if batch is None else batch
    return hidden_in_step(batch, config, periodic=setting.tiles.wraps, step=step)


def hidden_of(batch, seen):
    """Cells that were hidden, [B, H, W]: these alone have weight."""
    hidden = seen.weight.sum(1) > 0
    assert torch.equal(seen.weight, batch.weight * hidden[:, None])
    return hidden


# --- the task -----------------------------------------------------------------------------------


def test_outputs_are_the_inputs(pair):
    only = replace(pair, coarse=pair.coarse[[WIND]], same_product=True)
    task = reconstruction(only)
    assert (task.inputs, task.outputs, task.factor) == ((WIND,), (WIND,), 1)
    assert not task.same_product
    means = block_mean(pair.statics, 3)["orography"]
    np.testing.assert_array_equal(task.statics["orography"], means)
    assert task.statics.attrs == pair.statics.attrs
    assert task.coarse_grid.matches(task.fine_grid)
    again = reconstruction(task)
    np.testing.assert_allclose(again.statics["orography"], means, rtol=1e-6)


def test_a_pair_without_statics_is_a_task_too(pair):
    task = reconstruction(replace(pair, statics=pair.statics.drop_vars("orography")))
    assert task.static_names == ()
    assert task.factor == 1


def test_the_model_is_a_trunk_with_a_plain_head():
    config = settings(model=TINY.model_copy(update={"base": "delta"}), loss=LossConfig(kind="crps"))
    plain = config.architecture
    assert (plain.base, plain.correction_width, plain.predicts) == ("bicubic", 0, "field")
    assert plain.width == 8


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("bayesian", "mse"), ("mse", "mse"), ("l1", "l1"), ("gaussian", "mse"), ("crps", "mse")],
)
def test_errors_are_plain(kind, wanted):
    assert settings(loss=LossConfig(kind=kind)).minimised.kind == wanted
    assert settings(loss=LossConfig(kind=kind), objective="downscale").minimised.kind == kind


# --- what is hidden -----------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "patches"), [(0.5, 12), (0.01, 1), (0.99, 23), (0.3, 7)])
def test_so_many_patches_are_hidden_whole(pair, share, patches):
    config = settings(masked=MaskedConfig(share=share))
    setting = prepare(config, pair)  # 7 x 11 cells: 4 x 6 patches
    batch = setting.train.batch([0, 5, 9])
    seen = seen_of(setting, config)
    hidden = hidden_of(batch, seen)
    assert (seen.coarse == torch.where(hidden[:, None], 0, batch.coarse)).all()
    assert torch.equal(seen.fine, batch.fine)
    assert torch.equal(seen.statics, batch.statics)
    corners = hidden[:, ::2, ::2]
    assert corners.sum(dim=(1, 2)).tolist() == [patches] * 3
    whole = corners.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, :7, :11]
    assert torch.equal(hidden, whole)
    if patches > 1:
        assert not torch.equal(hidden[0], hidden[1])


@pytest.mark.parametrize("cells", ["patches", "quadtree"])
def test_what_is_hidden_follows_from_seed_step_and_place(pair, cells):
    config = settings(masked=MaskedConfig(cells=cells))
    setting = prepare(config, pair)
    batch = setting.train.batch([3, 3, 3, 3])
    hidden = hidden_of(batch, seen_of(setting, config, batch=batch))
    again = hidden_of(batch, seen_of(setting, config, batch=batch))
    assert torch.equal(hidden, again)
    assert len({tuple(one.flatten().tolist()) for one in hidden}) == 4
    for step, seed in ((2, 0), (1, 1)):
        config_ = config.model_copy(update={"seed": seed})
        other = hidden_of(batch, seen_of(setting, config_, step=step, batch=batch))
        assert not torch.equal(hidden, other)
    # a process that has the last two samples hides what one that has all four does
    part = batch.part(slice(2, 4))
    share = hidden_in_step(part, config, periodic=True, step=1, first=2)
    assert torch.equal(hidden_of(part, share), hidden[2:])


def test_leaves_are_large_where_the_field_is_calm():
    """A front through an otherwise uniform field: leaves there are single patches."""
    pair = synthetic_pair(rows=16, columns=24, factor=2, years=3)
    config = settings(masked=MaskedConfig(cells="quadtree", share=0.5))
    setting = prepare(config, pair)
    batch = setting.train.batch([0])
    front = torch.zeros_like(batch.coarse)
    front[..., 9:] = 4
    batch = batch._replace(coarse=front, fine=front)
    count = torch.zeros(2)
    pieces = []
    for step in range(40):
        hidden = hidden_of(batch, seen_of(setting, config, step=step, batch=batch))[0]
        share = float(hidden.float().mean())
        assert 0.25 <= share <= 0.75  # a leaf is hidden whole
        pieces.append(share)
        patches = hidden[::2, ::2]
        # whole blocks of 2 x 2 patches, far from the front and at it
        blocks = patches.unflatten(1, (-1, 2)).unflatten(0, (-1, 2)).sum(dim=(1, 3))
        mixed = ((blocks > 0) & (blocks < 4)).float()
        count += torch.stack([mixed[:, 4:].mean(), mixed[:, 1:3].mean()])
    assert 0.42 < np.mean(pieces) < 0.58
    assert count[0] < 0.02 * 40 < count[1]


@pytest.mark.parametrize("cells", ["patches", "quadtree"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 5)])
def test_fields_of_few_cells_have_hidden_ones(pair, cells, shape):
    height, width = shape
    config = settings(masked=MaskedConfig(cells=cells))
    batch = prepare(config, pair).train.batch([0, 7])
    small = batch._replace(
        coarse=batch.coarse[..., :height, :width],
        fine=batch.fine[..., :height, :width],
        weight=batch.weight[..., :height, :width],
    )
    seen = hide(small, config.masked, patch=2, periodic=False, seeds=[(0,), (1,)])
    hidden = hidden_of(small, seen)
    assert hidden.flatten(1).any(dim=1).all()


def test_nothing_is_hidden_from_those_who_downscale(pair):
    config = settings(objective="downscale")
    setting = prepare(config, pair)
    batch = setting.train.batch([0])
    assert hidden_in_step(batch, config, periodic=True, step=1) is batch
    assert setting.pair.factor == 3


# --- nothing hidden is seen ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["reslim", "vit"])
@pytest.mark.parametrize("compression", [1.0, 2.0])
@pytest.mark.parametrize("periodic", [True, False])
def test_hidden_cells_do_not_change_the_prediction(pair, kind, compression, periodic):
    columns = 11 if periodic else 9
    region = replace(
        pair,
        coarse=pair.coarse.isel(longitude=slice(columns)),
        fine=pair.fine.isel(longitude=slice(3 * columns)),
        statics=pair.statics.isel(longitude=slice(3 * columns)),
    )
    config = settings(model=TINY.model_copy(update={"kind": kind, "compression": compression}))
    setting = prepare(config, region)
    assert setting.tiles.wraps is periodic
    model = model_for(config, setting)
    batch = setting.train.batch([0, 5, 9])
    seen = seen_of(setting, config, batch=batch)
    hidden = hidden_of(batch, seen)[:, None]
    noise = torch.randn_like(batch.coarse)
    other = batch._replace(
        coarse=torch.where(hidden, batch.coarse + noise, batch.coarse),
        fine=torch.where(hidden, batch.fine + noise, batch.fine),
    )
    with torch.no_grad():
        plain, wanted = (setting.forward(model, one).fine for one in (batch, seen))
        got = setting.forward(model, seen_of(setting, config, batch=other)).fine
    assert torch.equal(got, wanted)
    assert not torch.equal(plain, wanted)


def test_the_loss_counts_hidden_cells_by_their_area(pair):
    config = settings(loss=LossConfig(kind="l1"))
    setting = prepare(config, pair)
    model = model_for(config, setting)
    batch = setting.train.batch([0, 5, 9])
    seen = seen_of(setting, config, batch=batch)
    hidden = hidden_of(batch, seen)
    value, weight = objective(model, seen, setting, config.minimised)
    with torch.no_grad():
        error = (setting.forward(model, seen).fine - batch.fine).abs()
    edges = np.linspace(90, -90, 8)
    area = -np.diff(np.sin(np.deg2rad(edges)))
    area = torch.tensor(area / area.mean()).float()[:, None] * hidden[:, None]
    got = float(value.detach()) / float(weight)
    assert got == pytest.approx(float((error * area).sum() / (2 * area.sum())), rel=1e-5)


def with_gaps(pair):
    """The pair with cells missing in the inputs, others each time."""
    missing = np.random.default_rng(3).random(pair.coarse[WIND].shape) < 0.2
    coarse = pair.coarse.where(~pair.coarse[WIND].copy(data=missing.astype(bool)))
    return replace(pair, coarse=coarse.assign_attrs(missing="mask")), torch.tensor(missing)


@pytest.mark.parametrize("mirror", [(), ("longitude", "latitude")])
@pytest.mark.parametrize("cells", ["patches", "quadtree"])
def test_what_fills_a_gap_tells_nothing_of_hidden_neighbours(pair, mirror, cells):
    gappy, missing = with_gaps(pair)
    config = settings(masked=MaskedConfig(cells=cells))
    setting = prepare(config, gappy)
    chosen = setting.train.reader.read([4, 8])._replace(mirror=mirror)
    batch = setting.train.assemble(chosen)
    absent = missing[[4, 8]]
    if mirror:
        absent = absent.flip(1, 2)
    seen = seen_of(setting, config, batch=batch)
    hidden = seen.weight.sum(1) > 0
    assert not (hidden & absent).any(), "a missing cell has no truth"
    assert (seen.coarse[absent[:, None].expand_as(seen.coarse)] == 0).all()
    kept = ~hidden & ~absent & (seen.coarse != 0).any(1)
    assert kept.flatten(1).sum(1).min() > 10
    assert torch.equal(
        torch.where(kept[:, None], seen.coarse, 0), torch.where(kept[:, None], batch.coarse, 0)
    )


# --- validation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("tiles", [{}, {"rows": 2, "columns": 2, "halo_cells": 2}])
def test_validation_hides_the_same_cells_each_time(pair, tiles):
    config = settings(tiles=TilesConfig(**tiles))
    setting = prepare(config, pair)
    first, again = (setting.validate.batch([2, 7]) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)
    alone = setting.validate.batch([7])
    assert torch.equal(alone.coarse[0], first.coarse[1])
    model = model_for(config, setting)
    assert validate(model, setting, config.minimised) == validate(model, setting, config.minimised)
    # a tenth of all weights at least, and not all of them
    whole = super(type(setting.validate), setting.validate).batch(range(12)).weight.sum()
    share = float(setting.validate.batch(range(12)).weight.sum() / whole)
    assert 0.45 < share < 0.75


def test_the_error_is_that_of_hidden_cells(pair):
    config = settings()
    setting = prepare(config, pair)
    model = model_for(config, setting)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()  # the base alone: what is hidden stays at its mean
    got = validate(model, setting, config.minimised)
    total = weight = 0.0
    for index in range(12):
        batch = setting.validate.batch([index])
        total += float((batch.weight * batch.fine**2).sum())
        weight += float(batch.weight.sum())
    assert got["validation"] == pytest.approx(total / weight, rel=1e-5)


# --- runs ---------------------------------------------------------------------------------------


def run(pair, folder, **changes):
    folder.mkdir()
    best = loop.fit(settings(**changes), [pair], folder)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return best, log


@pytest.mark.parametrize("cells", ["patches", "quadtree"])
def test_the_loss_falls_and_the_trunk_is_a_start(pair, tmp_path, cells):
    optim = OptimConfig(lr=1e-2, warmup_steps=3)
    masked = MaskedConfig(share=0.4, cells=cells)
    changes = {"masked": masked, "steps": 30, "optim": optim, "batch_size": 8, "validate_every": 30}
    best, log = run(pair, tmp_path / "pre", **changes)
    losses = [entry["loss"] for entry in log]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    description = load_checkpoint(best).description
    assert (description.objective, description.factor) == ("masked", 1)
    assert description.outputs == description.inputs == pair.inputs
    export(tmp_path / "pre", tmp_path / "exported")
    assert load_checkpoint(tmp_path / "exported").description == description
    with pytest.raises(ValueError, match="'exported', which was pre-trained to reconstruct"):
        pair.coarse.orbit.downscale(tmp_path / "exported")

    still = OptimConfig(lr=1e-12, warmup_steps=0, weight_decay=0)
    changes = {"objective": "downscale", "start_from": str(tmp_path / "pre"), "optim": still}
    fine, _ = run(pair, tmp_path / "fine", steps=1, **changes)
    before, after = (load_file(folder / "weights.safetensors") for folder in (best, fine))
    heads = ("trunk.decode.paint.", "correct.", "trunk.decode.smooth.")
    shared = {name for name in after if not name.startswith(heads)}
    assert {name for name in before if not name.startswith(heads)} == shared
    for name in shared:
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-9, msg=name)
    assert load_checkpoint(fine).description.statistics == description.statistics
    assert load_checkpoint(fine).description.objective == "downscale"


def test_parts_of_a_batch_hide_what_the_batch_does(pair, tmp_path):
    _, whole = run(pair, tmp_path / "1", steps=3)
    _, parts = run(pair, tmp_path / "2", steps=3, accumulate=4)
    for got, wanted in zip(parts, whole, strict=True):
        assert got == pytest.approx(wanted, rel=1e-5)


def test_earlier_times_are_hidden_where_the_present_is(pair):
    config = settings(data={"history": 1})
    setting = prepare(config, pair)
    batch = setting.train.batch([2, 6])
    assert batch.coarse.shape[1] == 4
    assert batch.fine.shape[1] == 2
    hidden = hidden_of(batch, seen_of(setting, config, batch=batch))
    seen = seen_of(setting, config, batch=batch).coarse
    assert (seen == torch.where(hidden[:, None], 0, batch.coarse)).all()
    assert (batch.coarse[:, 2:] != 0).any(1)[hidden].all()
