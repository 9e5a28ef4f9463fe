"""A loss balanced by the base: one where nothing is learned, whatever the units and the weather."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from orbitds.checkpoint import load_checkpoint
from orbitds.config import LossConfig, ModelConfig, SaveConfig, TilesConfig, TrainConfig
from orbitds.data.order import Order, StepSampler
from orbitds.data.synthetic import synthetic_pair
from orbitds.interpolate import interpolate
from orbitds.model.build import build
from orbitds.train import balance, loop
from orbitds.train.balance import BALANCE, balanced, base_errors
from orbitds.train.launch import ALONE
from orbitds.train.objective import objective
from orbitds.train.setting import prepare
from orbitds.train.together import Together
from orbitds.train.validate import validate

RAIN, WIND = "total_precipitation_24hr", "eastward_wind"


def config(base="bicubic", samples=48, **changes):
    model = ModelConfig(
        width=8, depth=1, decoder_depth=1, correction_width=4, correction_depth=1, base=base
    )
    loss = LossConfig(kind="mse", balance="base", balance_samples=samples)
    told = {"pair": "synthetic", "model": model, "loss": loss, "device": "cpu"}
    return TrainConfig(**(told | {"batch_size": 4, "steps": 4, "validate_every": 2} | changes))


def known(setting, errors):
    return replace(setting, base_errors={setting.pair.name: errors})


def model_of(config, pair):
    return build(
        config.architecture,
        inputs=pair.inputs,
        outputs=pair.outputs,
        statics=pair.static_names,
        factor=pair.factor,
    )


def test_the_error_of_the_base_is_that_of_interpolation(pair):
    # each of 24 months twice
    setting = prepare(config(), pair)
    errors = base_errors(config(), setting)
    place = pair.outputs.index(WIND)
    train = pair.part("train")
    coarse = torch.tensor(train.coarse[WIND].values).double()[:, None]
    wind = interpolate(coarse, 3, method="bicubic", periodic=True)[:, 0].numpy()
    square = (wind - train.fine[WIND].values) ** 2
    area = np.broadcast_to(pair.fine_grid.area, square.shape)
    wanted = (area * square).sum() / area.sum() / setting.statistics[WIND].std ** 2
    assert list(errors) == list(pair.outputs)
    assert errors[pair.outputs[place]] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("base", ["bicubic", "delta"])
def test_the_untrained_network_has_a_loss_of_one(pair, base):
    setting = prepare(config(base), pair)
    setting = known(setting, base_errors(config(base), setting))
    model = model_of(config(base), pair)
    # over the training samples, each alike: one for each output, so one for all
    with torch.no_grad():
        total, weight = objective(model, setting.train.batch(range(24)), setting, config().loss)
    assert float(total / weight) == pytest.approx(1, rel=1e-4)
    assert float(weight) == pytest.approx(24 * 2 * 21 * 33, rel=1e-5)


def test_each_output_counts_by_what_is_left_of_its_error(pair):
    setting = prepare(config(), pair)
    errors = base_errors(config(), setting)
    setting = known(setting, errors)
    batch = setting.train.batch(range(24))
    model = model_of(config(), pair)

    def loss(scale):
        """Of a model whose base is off by other factors for each output."""
        off = torch.tensor(scale)[:, None, None]

        class Off(type(model)):
            def predict(self, *arguments, **told):
                found = super().predict(*arguments, **told)
                return found._replace(fine=batch.fine + off * (found.base - batch.fine))

        model.__class__, own = Off, model.__class__
        try:
            with torch.no_grad():
                total, weight = objective(model, batch, setting, config().loss)
        finally:
            model.__class__ = own
        return float(total / weight)

    assert loss([0.5, 0.5]) == pytest.approx(0.25, rel=1e-4)
    assert loss([0.0, 1.0]) == pytest.approx(0.5, rel=1e-4)
    assert loss([1.0, 0.0]) == pytest.approx(0.5, rel=1e-4)


def test_units_change_nothing(pair):
    larger = replace(
        pair,
        coarse=pair.coarse.assign({WIND: 5 * pair.coarse[WIND]}),
        fine=pair.fine.assign({WIND: 5 * pair.fine[WIND]}),
    )
    found = []
    for one in (pair, larger):
        setting = prepare(config(), one)
        setting = known(setting, base_errors(config(), setting))
        found.append(validate(model_of(config(), one), setting, config().loss)["validation"])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_crops_are_drawn_as_training_draws_them(pair, monkeypatch):
    settings = config(samples=7, tiles=TilesConfig(crop_cells=(4, 6), halo_cells=1))
    setting = prepare(settings, pair)
    seen = []
    batch = setting.train.batch
    monkeypatch.setattr(
        setting.train, "batch", lambda indices: seen.extend(indices) or batch(indices)
    )
    base_errors(settings, setting)
    order = Order(seed=0, batch_size=7, first=0, last=1, shuffle="crops")
    count = len(setting.train.tiles.tiles)
    assert seen == StepSampler(24 * count, order, tiles=count).batch(0)
    assert len({index % count for index in seen}) > 1


def test_an_output_without_error_is_refused(pair):
    flat = replace(
        pair,
        coarse=pair.coarse.assign({WIND: 0 * pair.coarse[WIND] + 3}),
        fine=pair.fine.assign({WIND: 0 * pair.fine[WIND] + 3}),
    )
    settings = config()
    setting = prepare(settings, pair)
    with pytest.raises(ValueError, match=rf"to balance the loss by, got 0 for {WIND} of synthetic"):
        base_errors(settings, replace(prepare(settings, flat), statistics=setting.statistics))


def test_what_a_run_knows_is_written_and_restored(pair, tmp_path, monkeypatch, capsys):
    setting = prepare(config(), pair)
    together = Together(ALONE, None)
    (first,) = balanced(config(), [setting], together, tmp_path)
    assert "synthetic: the base errs by" in capsys.readouterr().err
    assert json.loads((tmp_path / BALANCE).read_text()) == first.base_errors
    monkeypatch.setattr(balance, "base_errors", None)  # would fail
    (again,) = balanced(config(), [setting], together, tmp_path)
    assert again.base_errors == first.base_errors
    assert again.balance == [first.base_errors["synthetic"][name] for name in pair.outputs]
    plain = config().model_copy(update={"loss": LossConfig(kind="mse")})
    assert balanced(plain, [setting], together, tmp_path)[0].balance is None


def test_a_run_on_crops_goes_on_as_if_never_interrupted(tmp_path, monkeypatch):
    pair = synthetic_pair(rows=7, columns=11, factor=3)
    monkeypatch.setattr(loop, "open_pair", {"synthetic": pair}.__getitem__)
    tiles = TilesConfig(crop_cells=(4, 6), halo_cells=1)
    settings = config(steps=6, tiles=tiles, save=SaveConfig(every=1))
    whole = load_checkpoint(loop.run(settings, tmp_path / "whole"))
    state = loop.States.save

    def stops(self, step, *rest):
        state(self, step, *rest)
        if step == 3:
            self.wait()
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.States, "save", stops)
    with pytest.raises(KeyboardInterrupt):
        loop.run(settings, tmp_path / "parts")
    monkeypatch.setattr(loop.States, "save", state)
    parts = load_checkpoint(loop.run(settings, tmp_path / "parts", resume=True))
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(parts.model.state_dict()[name], weight), name
    told = whole.description.provenance["base_errors"]
    assert told == json.loads((tmp_path / "parts" / BALANCE).read_text())
    assert set(told["synthetic"]) == {RAIN, WIND}
