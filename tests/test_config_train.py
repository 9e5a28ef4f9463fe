"""Settings of training: what must fit together."""

import typing

import pytest

from orbitds.config_train import LossConfig, ModelConfig, TrainConfig
from orbitds.schema import parse

HEADS = [
    ("bayesian", "field"),
    ("mse", "field"),
    ("l1", "field"),
    ("gaussian", "gaussian"),
    ("crps", "members"),
]


@pytest.mark.parametrize(("kind", "predicts"), HEADS)
def test_the_loss_decides_what_the_model_predicts(kind, predicts):
    model = ModelConfig(width=12, heads=3)
    setting = TrainConfig(pair="p", model=model, loss=LossConfig(kind=kind))
    assert setting.architecture == ModelConfig(width=12, heads=3, predicts=predicts)
    assert setting.model == model, "what was asked for is written down as it was"
    # saying so is allowed
    said = ModelConfig(width=12, heads=3, predicts=predicts)
    again = TrainConfig(pair="p", model=said, loss=LossConfig(kind=kind))
    assert again.architecture == setting.architecture
    assert TrainConfig.model_validate_json(again.model_dump_json()) == again


def test_every_loss_has_a_head():
    assert {kind for kind, _ in HEADS} == set(
        typing.get_args(LossConfig.model_fields["kind"].annotation)
    )
    assert {predicts for _, predicts in HEADS} == set(
        typing.get_args(ModelConfig.model_fields["predicts"].annotation)
    )


@pytest.mark.parametrize(("kind", "predicts"), HEADS)
@pytest.mark.parametrize("said", ["gaussian", "members"])
def test_another_head_than_the_loss_needs_is_refused(kind, predicts, said):
    settings = {"pair": "p", "model": {"predicts": said}, "loss": {"kind": kind}}
    if said == predicts:
        assert parse(TrainConfig, settings, source="here").architecture.predicts == said
        return
    with pytest.raises(
        ValueError,
        match=rf"^here: .*Wanted model.predicts '{predicts}' for the loss '{kind}', got '{said}'.*"
        "loss.kind decides",
    ):
        parse(TrainConfig, settings, source="here")


# --- processes, and the order of tiles ---


def test_tiles_over_processes_come_field_by_field():
    settings = {"pair": "p", "parallel": {"tiles": 2}, "tiles": {"rows": 2}}
    with pytest.raises(ValueError, match=r"tiles.order 'fields'.*got 'tiles'"):
        parse(TrainConfig, settings, source="here")
    settings["tiles"]["order"] = "fields"
    assert parse(TrainConfig, settings, source="here").parallel.tiles == 2


def test_whole_fields_fill_a_batch():
    settings = {"pair": "p", "tiles": {"rows": 3, "columns": 2, "order": "fields"}}
    with pytest.raises(ValueError, match="multiple of the 6 tiles of a field, got 16"):
        parse(TrainConfig, settings, source="here")
    assert parse(TrainConfig, settings | {"batch_size": 12}, source="here").batch_size == 12


def test_crops_are_instead_of_tiles():
    settings = {"pair": "p", "tiles": {"crop_cells": [16, 24]}}
    assert parse(TrainConfig, settings, source="here").tiles.crop_cells == (16, 24)
    for others in ({"rows": 2}, {"columns": 3}, {"order": "fields"}):
        wrong = settings | {"tiles": settings["tiles"] | others}
        with pytest.raises(ValueError, match=r"either tiles\.crop_cells or tiles, got crops"):
            parse(TrainConfig, wrong, source="here")


@pytest.mark.parametrize(("crop", "halo"), [([15, 24], 4), ([16, 24], 8)])
def test_crops_are_whole_patches_around_something(crop, halo):
    settings = {"pair": "p", "tiles": {"crop_cells": crop, "halo_cells": halo}}
    message = (
        rf"multiples of the patch, 2, and a patch larger .* {2 * halo + 2}, got \({crop[0]}, 24"
    )
    with pytest.raises(ValueError, match=message):
        parse(TrainConfig, settings, source="here")


def test_square_errors_alone_are_balanced_by_the_base():
    for kind in ("bayesian", "mse"):
        settings = {"pair": "p", "loss": {"kind": kind, "balance": "base"}}
        assert parse(TrainConfig, settings, source="here").loss.balance == "base"
        with pytest.raises(ValueError, match=r"square errors.*got .* and 'masked'"):
            parse(TrainConfig, settings | {"objective": "masked"}, source="here")
    for kind in ("l1", "gaussian", "crps"):
        settings = {"pair": "p", "loss": {"kind": kind, "balance": "base"}}
        with pytest.raises(ValueError, match=rf"square errors.*got '{kind}'.*loss\.balance"):
            parse(TrainConfig, settings, source="here")


def test_heads_are_shared_whole():
    settings = {"pair": "p", "model": {"width": 12, "heads": 3}, "parallel": {"tensor": 2}}
    with pytest.raises(ValueError, match=r"parallel.tensor that divides .*3 heads.*got 2"):
        parse(TrainConfig, settings, source="here")


# --- what a run starts from ---


def test_the_start_is_called_from_in_files_and_what_is_written_down():
    setting = parse(TrainConfig, {"pair": "p", "from": "runs/one"}, source="here")
    assert setting.start_from == "runs/one"
    assert setting == TrainConfig(pair="p", start_from="runs/one")
    written = setting.model_dump_json()
    assert '"from":"runs/one"' in written
    assert "start_from" not in written
    assert TrainConfig.model_validate_json(written) == setting
    with pytest.raises(ValueError, match="unknown name 'frum'. Did you mean 'from'?"):
        parse(TrainConfig, {"pair": "p", "frum": "runs/one"}, source="here")


@pytest.mark.parametrize("kind", ["gaussian", "crps"])
def test_masked_training_has_no_use_for_spread(kind):
    setting = TrainConfig(pair="p", objective="masked", loss=LossConfig(kind=kind))
    assert setting.architecture.predicts == "field"
    assert setting.minimised == LossConfig(kind="mse")
    assert setting.loss.kind == kind, "what was asked for is written down as it was"
