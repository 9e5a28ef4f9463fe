"""The loop: what a step computes, what a run leaves behind, and that it learns."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from orbitds.checkpoint import load_checkpoint
from orbitds.config import (
    DataConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    TilesConfig,
    TrainConfig,
)
from orbitds.data.history import with_earlier
from orbitds.data.loader import training_loader
from orbitds.data.order import Order
from orbitds.data.pair import Pair
from orbitds.data.sample import Samples
from orbitds.data.stats import statistics
from orbitds.data.synthetic import synthetic_pair
from orbitds.model.build import build
from orbitds.model.reslim import Reslim
from orbitds.train import course, loop
from orbitds.train import step as step_of
from orbitds.train.keep import export
from orbitds.train.mixture import Scope, pooled
from orbitds.train.setting import prepare, prepare_all
from orbitds.train.validate import validate
from tests.mixed import other_pair

TINY = ModelConfig(
    width=8, depth=1, decoder_depth=1, correction_width=4, correction_depth=1, position_octaves=2
)
DEFAULTS = {"pair": "synthetic", "model": TINY, "batch_size": 4, "device": "cpu"}


def settings(**changes):
    return TrainConfig(
        **(DEFAULTS | {"steps": 3, "validate_every": changes.get("steps", 3)} | changes)
    )


def entries(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def train(pair, folder, **changes):
    """Train, and return the log and the weights that were kept."""
    folder.mkdir()
    best = loop.fit(settings(**changes), [pair], folder)
    return entries(folder), load_file(best / "weights.safetensors")


def untrained(config, pair):
    torch.manual_seed(config.seed)
    return Reslim(
        config.model,
        inputs=pair.inputs,
        outputs=pair.outputs,
        statics=pair.static_names,
        factor=pair.factor,
    )


def batches(config, samples):
    order = Order(seed=config.seed, batch_size=config.batch_size, first=0, last=config.steps)
    return (loaded.sample for loaded in training_loader([samples], order=order))


def assert_close(got, wanted, atol):
    assert got.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(got[name], wanted[name], rtol=0, atol=atol, msg=name)


@pytest.fixture(scope="module")
def masked(pair):
    """The pair without some of its targets: a different share of each time."""
    share = (np.arange(pair.fine.sizes["time"]) * 5) % 20
    rows = np.arange(pair.fine.sizes["latitude"])
    missing = rows[None, :, None] < share[:, None, None]
    fine = pair.fine.where(
        ~pair.fine.eastward_wind.copy(data=missing | (pair.fine.eastward_wind > 99))
    )
    return replace(pair, fine=fine.assign_attrs(missing="mask"))


@pytest.fixture
def recorded(monkeypatch):
    """The weights at each validation, and the errors these shall have; they fall by default."""
    seen, errors = [], [1 / step for step in range(1, 100)]

    def record(model, settings, shares, loss, mesh, *, at_once):
        seen.append({name: weight.clone() for name, weight in model.state_dict().items()})
        return {"validation": errors[len(seen) - 1]}

    monkeypatch.setattr(course, "validate_all", record)
    return seen, errors


# --- a step -------------------------------------------------------------------------------------


def test_steps_are_those_of_a_plain_loop(pair, tmp_path):
    optim = OptimConfig(lr=0.01, weight_decay=0, warmup_steps=2, final_lr_fraction=0.5, clip=0.3)
    changes = {"steps": 4, "optim": optim, "loss": LossConfig(tv_weight=0)}
    log, weights = train(pair, tmp_path / "run", **changes)

    config = settings(**changes)
    setting, model = prepare(config, pair), untrained(config, pair)
    adam = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0)
    rates = [0.005, 0.01, 0.01, 0.005]
    norms = []
    for entry, rate, batch in zip(log, rates, batches(config, setting.train), strict=True):
        prediction = model(
            batch.coarse,
            latitude_deg=batch.latitude_deg,
            longitude_deg=batch.longitude_deg,
            spacing_km=batch.spacing_km,
            statics=batch.statics,
            periodic=True,
        )
        loss = (batch.weight * (prediction - batch.fine) ** 2).sum() / batch.weight.sum()
        adam.zero_grad()
        loss.backward()
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        norm = sum(float((gradient**2).sum()) for gradient in gradients) ** 0.5
        for gradient in gradients:
            gradient *= min(1, 0.3 / norm)
        adam.param_groups[0]["lr"] = rate
        adam.step()
        norms.append(norm)
        assert entry["loss"] == pytest.approx(float(loss.detach()), rel=1e-5)
        assert entry["norm"] == pytest.approx(norm, rel=1e-4)
    assert max(norms) > 0.3  # the clip has acted
    assert_close(weights, {k: v for k, v in model.state_dict().items() if k in weights}, atol=1e-5)


@pytest.mark.parametrize(("columns", "prior_of"), [(11, "field"), (11, "residual"), (6, "field")])
def test_the_prior_is_counted_over_all_neighbours(pair, tmp_path, columns, prior_of):
    pair = replace(
        pair,
        coarse=pair.coarse.isel(longitude=slice(columns)),
        fine=pair.fine.isel(longitude=slice(3 * columns)),
        statics=pair.statics.isel(longitude=slice(3 * columns)),
    )
    loss = LossConfig(tv_weight=0.3, tv_diagonal=0.6, tv_of=prior_of)
    config = settings(steps=1, loss=loss)
    log, _ = train(pair, tmp_path / "run", steps=1, loss=loss)

    setting = prepare(config, pair)
    (batch,) = batches(config, setting.train)
    with torch.no_grad():
        base = setting.forward(untrained(config, pair), batch).base
    field, target, weight = (x.double().numpy() for x in (base, batch.fine, batch.weight))
    right = np.roll(field, -1, axis=-1)  # a globe closes, a region ends
    if columns < 11:
        right[..., -1] = np.nan
    total = (weight * (field - target) ** 2).sum()
    if prior_of == "field":  # an untrained model adds nothing that the prior could see
        upper, lower = np.s_[..., :-1, :], np.s_[..., 1:, :]
        total += 0.3 * np.nansum(weight * abs(right - field))
        total += 0.3 * np.nansum(weight[upper] * abs(field[lower] - field[upper]))
        total += 0.18 * np.nansum(weight[upper] * abs(right[lower] - field[upper]))
        total += 0.18 * np.nansum(weight[upper] * abs(field[lower] - right[upper]))
    assert log[0]["loss"] == pytest.approx(total / weight.sum(), rel=1e-5)


def test_parts_of_a_batch_add_up_to_the_batch(masked, tmp_path):
    batch = next(iter(batches(settings(), prepare(settings(), masked).train)))
    weights = batch.weight.sum((1, 2, 3))
    assert weights.max() > 1.2 * weights.min()  # a mean over the parts would be another number

    whole = train(masked, tmp_path / "1")
    for parts in (2, 4):
        log, weights = train(masked, tmp_path / str(parts), accumulate=parts)
        for got, wanted in zip(log, whole[0], strict=True):
            assert got == pytest.approx(wanted, rel=1e-5)
        assert_close(weights, whole[1], atol=1e-6)


def test_tiles_of_one_time_have_the_loss_of_the_whole_field(tmp_path):
    globe = synthetic_pair(rows=17, columns=23, factor=2, years=1)
    first, later = ("2001-01", "2001-01"), ("2001-02", "2001-02")
    globe = replace(globe, split={"train": first, "validate": later, "test": later})
    loss = LossConfig(tv_weight=0.3, tv_of="field")
    whole, _ = train(globe, tmp_path / "whole", steps=1, batch_size=1, loss=loss)
    tiles = TilesConfig(rows=2, columns=3, halo_cells=3)
    tiled, _ = train(globe, tmp_path / "tiled", steps=1, batch_size=6, loss=loss, tiles=tiles)
    assert tiled[0]["loss"] == pytest.approx(whole[0]["loss"], rel=1e-5)
    assert tiled[0]["validation"] == pytest.approx(whole[0]["validation"], rel=1e-5)


def test_the_running_mean_is_kept(pair, tmp_path, recorded):
    seen, _ = recorded
    train(pair, tmp_path / "plain", steps=4, validate_every=1)
    plain = seen.copy()
    seen.clear()
    _, kept = train(pair, tmp_path / "mean", steps=4, validate_every=1, ema_decay=0.7)
    mean = plain[0]
    for step in range(4):
        if step:
            mean = {name: 0.7 * mean[name] + 0.3 * plain[step][name] for name in mean}
        assert_close(seen[step], mean, atol=1e-6)
    assert_close(kept, {name: mean[name] for name in kept}, atol=1e-6)


def test_bfloat16_stays_close(pair, tmp_path):
    changes = {"steps": 12, "optim": OptimConfig(lr=3e-3, warmup_steps=3)}
    full, weights = train(pair, tmp_path / "full", **changes)
    half, rounded = train(pair, tmp_path / "half", dtype="bfloat16", **changes)
    assert half[-1]["validation"] == pytest.approx(full[-1]["validation"], rel=0.02)
    assert all(weight.dtype == torch.float32 for weight in rounded.values())
    assert any(not torch.equal(rounded[name], weights[name]) for name in weights)


# --- a run --------------------------------------------------------------------------------------


def test_training_beats_the_base(pair, tmp_path):
    changes = {"steps": 25, "optim": OptimConfig(lr=5e-3, warmup_steps=5)}
    config = settings(**changes)
    base = validate(untrained(config, pair), prepare(config, pair), config.loss)
    log, _ = train(pair, tmp_path / "run", **changes)
    assert log[-1]["validation"] < 0.8 * base["validation"]
    assert log[-1]["rmse_eastward_wind"] < 0.9 * base["rmse_eastward_wind"]


def test_a_seed_decides_every_bit(pair, tmp_path):
    model = TINY.model_copy(update={"dropout": 0.2, "drop_path": 0.2, "drop_variables": 0.2})
    changes = {"model": model, "ema_decay": 0.5, "batch_size": 3}
    first, again = (train(pair, tmp_path / name, **changes) for name in ("first", "again"))
    other, _ = train(pair, tmp_path / "other", seed=1, **changes)
    assert first[0] == again[0]
    assert_close(again[1], first[1], atol=0)
    assert other[0]["loss"] != first[0][0]["loss"]


def test_looking_does_not_change_what_is_learned(pair, tmp_path):
    model = TINY.model_copy(update={"dropout": 0.3})
    rare, _ = train(pair, tmp_path / "rare", model=model, steps=4)
    often, _ = train(pair, tmp_path / "often", model=model, steps=4, validate_every=1)
    plain, _ = train(pair, tmp_path / "plain", steps=4)
    assert [entry["loss"] for entry in often] == [entry["loss"] for entry in rare]
    assert plain[-1]["loss"] != rare[-1]["loss"]  # dropout has acted


def test_the_log_has_a_line_a_step_and_ends_with_a_validation(pair, tmp_path):
    log, _ = train(pair, tmp_path / "run", steps=5, validate_every=2)
    assert [entry["step"] for entry in log] == [1, 2, 3, 4, 5]
    told = {"validation", "rmse_eastward_wind", "rmse_total_precipitation_24hr"}
    for entry in log:
        wanted = {"step", "loss", "norm"} | (told if entry["step"] in (2, 4, 5) else set())
        assert set(entry) == wanted
        assert np.isfinite(list(entry.values())).all()


def test_what_is_kept_has_the_best_logged_error(pair, tmp_path):
    changes = {"steps": 6, "validate_every": 1, "optim": OptimConfig(lr=0.05, warmup_steps=0)}
    log, _ = train(pair, tmp_path / "run", **changes)
    errors = [entry["validation"] for entry in log]
    checkpoint = load_checkpoint(tmp_path / "run" / "best")
    assert checkpoint.description.provenance["step"] == 1 + int(np.argmin(errors))
    again = validate(checkpoint.model, prepare(settings(**changes), pair), LossConfig())
    assert again["validation"] == pytest.approx(min(errors), rel=1e-6)


@pytest.mark.parametrize(("errors", "best"), [([5, 3, 4], 2), ([2, 3, 4], 1), ([5, 4, 4], 2)])
def test_later_weights_replace_earlier_ones_only_if_better(pair, tmp_path, recorded, errors, best):
    seen, wanted = recorded
    wanted[:] = [float(error) for error in errors]
    _, kept = train(pair, tmp_path / "run", steps=3, validate_every=1)
    assert_close(kept, {name: seen[best - 1][name] for name in kept}, atol=0)
    assert any(not torch.equal(kept[name], seen[best % 3][name]) for name in kept)


def test_a_loss_that_is_not_finite_stops_the_run(pair, tmp_path, monkeypatch):
    plain, calls = step_of.objective, []

    def spoiled(*args, **kwargs):
        calls.append(1)
        total, weight = plain(*args, **kwargs)
        return (total * np.nan if len(calls) == 3 else total), weight

    monkeypatch.setattr(step_of, "objective", spoiled)
    with pytest.raises(FloatingPointError, match=r"finite loss, got nan .* step 3.*optim\.lr"):
        train(pair, tmp_path / "run", steps=5, validate_every=2)
    assert [entry["step"] for entry in entries(tmp_path / "run")] == [1, 2]
    kept = load_checkpoint(tmp_path / "run" / "best").model
    assert all(weight.isfinite().all() for weight in kept.parameters())


def test_an_output_that_is_no_input_is_learned(pair, tmp_path):
    dry = Pair("dry", pair.coarse[["eastward_wind"]], pair.fine, pair.statics, pair.split)
    model = TINY.model_copy(update={"base": "delta"})
    log, _ = train(dry, tmp_path / "run", model=model)
    variance = float(np.log1p(dry.part("validate").fine.total_precipitation_24hr).var())
    assert log[-1]["validation"] < variance


# --- how samples are read -----------------------------------------------------------------------


def test_workers_change_no_number(pair, tmp_path):
    here, weights = train(pair, tmp_path / "here")
    apart, same = train(pair, tmp_path / "apart", data=DataConfig(workers=1))
    assert apart == here
    assert_close(same, weights, atol=0)


def test_mirrored_batches_are_other_batches(pair, tmp_path):
    plain, _ = train(pair, tmp_path / "plain", steps=6)
    turned, _ = train(pair, tmp_path / "turned", steps=6, data=DataConfig(mirror=("longitude",)))
    differ = [a["loss"] != b["loss"] for a, b in zip(plain, turned, strict=True)]
    assert any(differ)
    assert turned[-1]["validation"] > 0


def of_two(**changes):
    return TrainConfig.model_validate(
        DEFAULTS
        | {"pair": None, "pairs": {"a": 1.0, "b": 3.0}, "steps": 8, "validate_every": 8}
        | changes
    )


def test_several_pairs_train_one_model(pair, tmp_path):
    config = of_two(steps=60, validate_every=10, optim=OptimConfig(lr=3e-3, warmup_steps=5))
    pairs = [pair, other_pair()]
    best = loop.fit(config, pairs, tmp_path)
    log = [entry for entry in entries(tmp_path) if "validation" in entry]
    checkpoint = load_checkpoint(best)
    settings_of = prepare_all(config, pairs)
    scope = Scope.of(settings_of)
    untrained_one = build(
        config.architecture,
        inputs=scope.inputs,
        outputs=scope.outputs,
        statics=scope.statics,
        factor=scope.factors,
    )
    loss = LossConfig()
    step = checkpoint.description.provenance["step"]
    kept = next(entry for entry in log if entry["step"] == step)
    told = []
    for setting in settings_of:
        before = validate(untrained_one, setting, loss)["validation"]
        told.append(validate(checkpoint.model, setting, loss)["validation"])
        assert told[-1] < 0.97 * before  # each of them learns
    assert kept["validation"] == pytest.approx(told[0] / 4 + 3 * told[1] / 4, rel=1e-5)
    assert {"rmse_eastward_wind", "rmse_northward_wind of other"} < set(kept)

    description = checkpoint.description
    assert description.factors == (3, 2)
    assert description.inputs == ("eastward_wind", "total_precipitation_24hr", "northward_wind")
    assert description.outputs == description.inputs
    assert description.statics == ("orography",)
    assert checkpoint.region is None
    assert [one.pair for one in description.sets] == ["synthetic", "other"]
    assert [one.share for one in description.sets] == [1.0, 3.0]
    rows = [statistics(one.part("train")) for one in pairs]
    assert description.statistics == pooled(rows, [1.0, 3.0])
    export(tmp_path, tmp_path / "exported")
    exported = load_checkpoint(tmp_path / "exported")
    assert exported.description == description.model_copy(
        update={"sha256": exported.description.sha256}
    )


def test_a_mixture_goes_on_from_a_state_as_if_it_had_not_stopped(pair, tmp_path):
    pairs, config = [pair, other_pair()], of_two(save={"every": 4}, ema_decay=0.5)
    (tmp_path / "whole").mkdir()
    whole = loop.fit(config, pairs, tmp_path / "whole")
    # as it was after the fourth step
    states = tmp_path / "later" / "states"
    shutil.copytree(tmp_path / "whole" / "states", states)
    shutil.rmtree(states / "step-00000008")
    later = loop.fit(config, pairs, tmp_path / "later")
    wanted = load_file(whole / "weights.safetensors")
    assert_close(load_file(later / "weights.safetensors"), wanted, atol=0)


def test_pairs_that_no_model_can_take_are_refused(pair, tmp_path):
    model = TINY.model_copy(update={"kind": "unet"})
    with pytest.raises(ValueError, match=r"same outputs .* of synthetic and .*of other"):
        loop.fit(of_two(model=model), [pair, other_pair()], tmp_path)


def test_a_model_with_a_past_is_told_it_again_at_inference(pair, coarse, tmp_path):
    data = DataConfig(history=2)
    log, _ = train(pair, tmp_path / "run", data=data, steps=2)
    assert log[-1]["validation"] > 0
    checkpoint = load_checkpoint(tmp_path / "run" / "best")
    assert checkpoint.inputs == with_earlier(pair.inputs, 2)
    setting = prepare(settings(data=data), pair)
    assert (len(setting.train), len(setting.validate)) == (22, 10)

    fine = coarse.orbit.downscale(tmp_path / "run" / "best")
    assert fine.indexes["time"].equals(coarse.indexes["time"][2:])
    test = Samples(pair.part("test"), setting.statistics, setting.tiles, history=2)
    with torch.no_grad():
        answer = setting.forward(checkpoint.model, test.batch(range(10))).fine
    wind = checkpoint.normalizer(pair.outputs).inverse(answer)[:, 0]
    np.testing.assert_allclose(fine.eastward_wind, wind, rtol=1e-4, atol=1e-4)
    lazy = coarse.chunk(time=3).orbit.downscale(tmp_path / "run" / "best")
    assert lazy.chunks
    np.testing.assert_allclose(lazy.eastward_wind, fine.eastward_wind, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="at least 3 times"):
        coarse.isel(time=[0, 1]).orbit.downscale(tmp_path / "run" / "best")


# --- the folder ---------------------------------------------------------------------------------


@pytest.mark.parametrize("exists", [False, True])
def test_a_run_writes_down_its_settings(pair, tmp_path, monkeypatch, exists):
    monkeypatch.setattr(loop, "open_pair", {"synthetic": pair}.__getitem__)
    config = settings(steps=1, seed=5, tiles=TilesConfig(rows=2), loss=LossConfig(tv_weight=0.1))
    folder = tmp_path / "runs" / "first"
    if exists:
        folder.mkdir(parents=True)
    assert loop.run(config, folder) == folder / "best"
    assert TrainConfig.model_validate_json((folder / "config.json").read_text()) == config
    assert load_checkpoint(folder / "best").description.provenance["config"] == json.loads(
        config.model_dump_json()
    )


def test_a_run_that_fails_early_leaves_nothing(pair, tmp_path, monkeypatch):
    spoilt = pair.coarse.copy(deep=True)
    spoilt["eastward_wind"][:24, 2, 1] = np.nan
    monkeypatch.setattr(loop, "open_pair", lambda name: replace(pair, coarse=spoilt))
    with pytest.raises(ValueError, match="eastward_wind without missing values, got NaN"):
        loop.run(settings(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_that_fails_later_keeps_its_best_weights(pair, tmp_path, monkeypatch):
    plain, calls = step_of.objective, []

    def full(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return plain(*args, **kwargs)

    monkeypatch.setattr(loop, "open_pair", lambda name: pair)
    monkeypatch.setattr(step_of, "objective", full)
    with pytest.raises(RuntimeError, match="out of memory"):
        loop.run(settings(validate_every=2), tmp_path / "run")
    assert load_checkpoint(tmp_path / "run" / "best").description.provenance["step"] == 2
    assert [entry["step"] for entry in entries(tmp_path / "run")] == [1, 2]


def test_an_earlier_run_is_not_overwritten(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "open_pair", lambda name: pytest.fail("read data before looking"))
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "log.jsonl").write_text("earlier")
    for path in (folder, folder / "log.jsonl"):
        with pytest.raises(
            FileExistsError, match=r"new or empty folder.*got .*run.*Choose another"
        ):
            loop.run(settings(), path)
    assert [path.name for path in folder.iterdir()] == ["log.jsonl"]
    assert (folder / "log.jsonl").read_text() == "earlier"
