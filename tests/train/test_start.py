"""Starting from a checkpoint: what is copied, what is new, what stays; and what the run says."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from orbitds.checkpoint import load_checkpoint, save_checkpoint
from orbitds.config import LossConfig, ModelConfig, OptimConfig, TrainConfig
from orbitds.data.synthetic import synthetic_pair
from orbitds.model.build import build
from orbitds.model.interface import Aim
from orbitds.normalize import Statistics
from orbitds.sets import TrainingSet
from orbitds.train import loop
from orbitds.train.setting import prepare
from orbitds.train.start import NOTES, begin, freeze, known_statistics, start, tell_notes

WIND, RAIN, NORTH = "eastward_wind", "total_precipitation_24hr", "northward_wind"
SHAPE: dict[str, Any] = {
    "width": 8,
    "depth": 2,
    "decoder_depth": 1,
    "correction_width": 4,
    "correction_depth": 1,
    "position_octaves": 2,
}
SAME: dict[str, Any] = {
    "inputs": (WIND, RAIN),
    "outputs": (WIND, RAIN),
    "statics": ("orography",),
    "factor": 3,
}


def model_of(*, seed=0, config=None, **changes):
    """A model none of whose weights is at its start."""
    settings = SAME | {key: changes.pop(key) for key in tuple(changes) if key in SAME}
    torch.manual_seed(seed)
    model: Any = build(config or ModelConfig(**(SHAPE | changes)), **settings)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


def weights_of(model):
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def stored(model, folder, **told):
    names = {*model.inputs, *model.outputs, *model.statics}
    save_checkpoint(
        folder,
        model,
        statistics={name: Statistics(mean=len(name), std=2.0) for name in names},
        spacing_km=(300.0, 100.0),
        provenance={},
        **told,
    )
    return str(folder)


@pytest.fixture
def given(tmp_path):
    """The folder of a checkpoint, and its weights."""
    model = model_of(seed=1)
    return stored(model, tmp_path / "given"), weights_of(model)


# --- what is copied -----------------------------------------------------------------------------


def test_the_same_network_is_copied_whole(given):
    folder, weights = given
    model = model_of(seed=2)
    fresh, notes = start(model, folder)
    assert fresh == ()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    count = len(weights)
    assert f"{count} of {count} weights copied whole, 0 in part, 0 new" in notes[0]
    assert len(notes) == 2
    assert notes[1].endswith(f"for: {WIND}, {RAIN}, orography")


def test_variables_keep_their_rows_by_name(given):
    folder, weights = given
    model = model_of(
        seed=2, inputs=(NORTH, RAIN), outputs=(NORTH, RAIN), statics=("land_sea_mask", "orography")
    )
    before = weights_of(model)
    fresh, notes = start(model, folder)
    after = model.state_dict()
    # theirs: wind, rain, orography; ours: north, rain, land_sea_mask, orography
    for name in ("trunk.aggregate.embed", "trunk.aggregate.bias"):
        wanted = before[name].clone()
        wanted[[1, 3]] = weights[name][[1, 2]]
        assert torch.equal(after[name], wanted)
    block = (3 * 2) ** 2  # fine cells of a patch
    for name in ("trunk.decode.paint.weight", "trunk.decode.paint.bias"):
        wanted = before[name].clone()
        wanted[block:] = weights[name][block:]
        assert torch.equal(after[name], wanted)
    # the correction sees trunk and base of both outputs, then the statics, 9 cells each
    wanted = before["correct.layers.0.weight"].clone()
    for ours, theirs in ((1, 1), (3, 3), (5, 4)):
        wanted[:, ours * 9 : ours * 9 + 9] = weights["correct.layers.0.weight"][
            :, theirs * 9 : theirs * 9 + 9
        ]
    assert torch.equal(after["correct.layers.0.weight"], wanted)
    for name in ("correct.layers.1.weight", "correct.layers.1.bias"):
        wanted = before[name].clone()
        wanted[9:] = weights[name][9:]
        assert torch.equal(after[name], wanted)
    part = {
        "trunk.aggregate.embed",
        "trunk.aggregate.bias",
        "trunk.decode.paint.weight",
        "trunk.decode.paint.bias",
        "correct.layers.0.weight",
        "correct.layers.1.weight",
        "correct.layers.1.bias",
    }
    assert set(fresh) == part
    for name in set(after) - part:
        assert torch.equal(after[name], weights[name]), name
    text = "\n".join(notes)
    assert f"new variables: {NORTH}, land_sea_mask" in text
    assert f"variables left out: {WIND}" in text
    assert f"{len(part)} in part, 0 new" in text


def test_another_order_is_the_same_network(given):
    folder, _ = given
    theirs = load_checkpoint(folder).model
    model = model_of(seed=2, inputs=(RAIN, WIND), outputs=(RAIN, WIND)).eval()
    assert start(model, folder).fresh == ()
    fields = torch.randn(2, 2, 5, 7)
    place = {
        "latitude_deg": torch.linspace(60, -60, 5).expand(2, -1),
        "longitude_deg": torch.linspace(0, 90, 7).expand(2, -1),
        "spacing_km": torch.tensor([[300.0, 100.0]]).expand(2, -1),
        "statics": torch.randn(2, 1, 15, 21),
    }
    with torch.no_grad():
        wanted = theirs(fields, **place)
        got = model(fields.flip(1), **place).flip(1)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "anew", "told"),
    [
        ({"factor": 2}, ("trunk.decode.paint.", "correct."), "factor 2 and patches of 2"),
        (
            {"patch": 3},
            ("trunk.decode.paint.", "trunk.aggregate.embed"),
            "factor 3 and patches of 3",
        ),
        ({"correction_width": 6}, ("correct.",), "1 hidden layers of 6 channels"),
        ({"correction_depth": 2}, ("correct.",), "2 hidden layers of 4 channels"),
        ({"mlp_ratio": 2.0}, ("trunk.blocks.0.mlp.", "trunk.blocks.1.mlp."), "new: trunk"),
        ({"depth": 3}, ("trunk.blocks.2.",), "new: trunk.blocks.2."),
        ({"compression": 2.0}, ("trunk.compression.",), "new: trunk.compression.level"),
    ],
)
def test_what_has_another_shape_is_made_anew(given, changes, anew, told):
    folder, weights = given
    model = model_of(seed=2, **changes)
    before = weights_of(model)
    fresh, notes = start(model, folder)
    new = {name for name in before if name.startswith(anew)}
    if "mlp_ratio" in changes:  # the bias that closes has the trunk's width
        new = {name for name in new if not name.endswith("mlp.2.bias")}
    assert set(fresh) == new != set()
    for name, tensor in model.state_dict().items():
        wanted = before[name] if name in new else weights[name]
        assert torch.equal(tensor, wanted), name
    assert told in "\n".join(notes)


# --- several factors ----------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [3, 2])
def test_a_run_takes_the_head_of_its_factor(tmp_path, factor):
    """Of a checkpoint of several sets; the rest of it is left out, the answer is the same."""
    both = model_of(seed=1, factor=(3, 2), outputs=(WIND, RAIN, NORTH))
    folder = stored(both, tmp_path / "both", sets=sets_of(both))
    model = model_of(seed=2, factor=factor, outputs=(NORTH, WIND), inputs=(RAIN, WIND))
    fresh, notes = start(model, folder)
    assert fresh == ()
    (left,) = [note for note in notes if note.startswith("left out: ")]
    others = {name for name in both.state_dict() if f".{5 - factor}." in name}
    assert set(left.removeprefix("left out: ").split(", ")) == {
        name for name in others if name.startswith(("trunk.decode.paint", "correct"))
    }
    fields = torch.randn(2, 2, 5, 7)
    place = {
        "latitude_deg": torch.linspace(60, -60, 5).expand(2, -1),
        "longitude_deg": torch.linspace(0, 90, 7).expand(2, -1),
        "spacing_km": torch.tensor([[300.0, 300.0 / factor]]).expand(2, -1),
        "statics": torch.randn(2, 1, 5 * factor, 7 * factor),
        "variables": (RAIN, WIND),
    }
    with torch.no_grad():
        got = model(fields, **place)
        wanted = both(fields, **place, aim=Aim(factor, (NORTH, WIND), ("orography",)))
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def test_a_factor_that_a_checkpoint_of_several_does_not_know_gets_a_new_head(tmp_path):
    both = model_of(seed=1, factor=(3, 2))
    folder = stored(both, tmp_path / "both", sets=sets_of(both))
    fresh, notes = start(model_of(seed=2, factor=4), folder)
    assert set(fresh) == {
        name
        for name in model_of(factor=4).state_dict()
        if name.startswith(("trunk.decode.paint.", "correct."))
    }
    told = "is made anew: wanted factor 4 and patches of 2, the checkpoint has factor 3 and"
    assert any(told in note and " or factor 2 and" in note for note in notes)


def test_a_mixture_takes_the_head_of_a_checkpoint_of_one_factor(given):
    folder, weights = given
    model = model_of(seed=2, factor=(2, 3))
    before = weights_of(model)
    fresh, _ = start(model, folder)
    assert set(fresh) == {
        name for name in before if name.startswith(("trunk.decode.paint.2.", "correct.2."))
    }
    after = model.state_dict()
    assert torch.equal(after["trunk.decode.paint.3.weight"], weights["trunk.decode.paint.weight"])
    assert torch.equal(after["correct.3.layers.1.bias"], weights["correct.layers.1.bias"])
    assert torch.equal(after["trunk.decode.paint.2.weight"], before["trunk.decode.paint.2.weight"])


def sets_of(model):
    """A set for each factor of a model, with all of its variables."""
    names = {"inputs": model.inputs, "outputs": model.outputs, "statics": model.statics}
    return [
        TrainingSet(
            pair=f"of {factor}",
            share=1.0,
            factor=factor,
            spacing_km=(300.0, 300.0 / factor),
            box_deg=(-90, 90, 0, 360),
            period=("2001", "2002"),
            **names,
        )
        for factor in model.factors
    ]


# --- less than all ------------------------------------------------------------------------------


def test_fewer_parts_leave_some_out(given):
    folder, weights = given
    model = model_of(seed=2, depth=1, correction_width=0)
    fresh, notes = start(model, folder)
    assert set(fresh) == {"trunk.decode.smooth.weight", "trunk.decode.smooth.bias"}
    (left,) = [note for note in notes if note.startswith("left out: ")]
    assert set(left.removeprefix("left out: ").split(", ")) == {
        name for name in weights if name.startswith(("trunk.blocks.1.", "correct."))
    }


def test_a_variance_is_new_beside_the_mean(given):
    folder, weights = given
    model = model_of(seed=2, predicts="gaussian")
    before = weights_of(model)["trunk.decode.paint.bias"]
    start(model, folder)
    after = model.state_dict()["trunk.decode.paint.bias"]
    assert torch.equal(after, torch.cat([weights["trunk.decode.paint.bias"], before[2 * 36 :]]))


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"width": 16}, "width 16, heads 2"),
        ({"heads": 4}, "width 8, heads 4"),
        ({"kind": "vit"}, "kind vit, width 8"),
    ],
)
def test_another_trunk_is_refused(given, changes, wanted):
    folder, _ = given
    model = model_of(**changes)
    before = weights_of(model)
    message = (
        rf"Wanted .* trunk of the run's model, .*{wanted}.*got .*kind reslim, width 8, heads 2"
    )
    with pytest.raises(ValueError, match=message):
        start(model, folder)
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())


def test_a_damaged_checkpoint_is_refused(given, tmp_path):
    folder, _ = given
    path = tmp_path / "given" / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="sha256"):
        start(model_of(), folder)
    with pytest.raises(FileNotFoundError, match="Wanted a checkpoint folder"):
        start(model_of(), str(tmp_path / "nowhere"))


# --- frozen weights -----------------------------------------------------------------------------


def test_patterns_freeze_what_they_match():
    model = model_of()
    frozen = freeze(model, ["trunk.blocks.*", "*.paint.bias", "trunk.blocks.0.*"])
    wanted = {
        name
        for name, _ in model.named_parameters()
        if name.startswith("trunk.blocks.") or name == "trunk.decode.paint.bias"
    }
    assert set(frozen) == wanted
    assert len(frozen) == len(wanted)
    assert {n for n, weight in model.named_parameters() if not weight.requires_grad} == wanted


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("trunk.block.*", "trunk.blocks.*"),
        ("corrects.*", "correct.*"),
        ("trunk.norm.weights", "trunk.norm.weight"),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused(pattern, near):
    model = model_of()
    with pytest.raises(ValueError, match=r"freeze, got '(.*)', which matches none.*") as caught:
        freeze(model, ["trunk.norm.*", pattern])
    assert f"Did you mean {near!r}?" in str(caught.value)
    assert all(weight.requires_grad for weight in model.parameters())


def test_something_is_left_to_train():
    with pytest.raises(ValueError, match=r"left to train, got freeze \['trunk.\*', 'correct.\*'\]"):
        freeze(model_of(), ["trunk.*", "correct.*"])


def test_a_run_says_how_it_began(given, tmp_path, capsys):
    folder, _ = given
    config = TrainConfig(pair="p", start_from=folder, freeze=("trunk.aggregate.*",))
    notes = begin(model_of(inputs=(WIND, NORTH)), config)
    assert notes[-2].startswith("frozen: 10 of ")
    assert notes[-1] == (
        "frozen though new, in part or whole: trunk.aggregate.embed, trunk.aggregate.bias"
    )
    tell_notes(notes, tmp_path)
    text = (tmp_path / NOTES).read_text()
    assert text.splitlines() == notes
    assert capsys.readouterr().err == text


def test_a_run_that_starts_from_nothing_says_nothing(tmp_path, capsys):
    notes = begin(model_of(), TrainConfig(pair="p"))
    assert notes == []
    tell_notes(notes, tmp_path)
    assert not (tmp_path / NOTES).exists()
    assert capsys.readouterr().err == ""


# --- statistics, and a whole run ----------------------------------------------------------------


def test_known_variables_keep_their_statistics(pair, given):
    folder, _ = given
    config = TrainConfig(pair="synthetic", model=ModelConfig(**SHAPE), start_from=folder)
    known = known_statistics(config)
    assert known_statistics(config.model_copy(update={"start_from": None})) == {}
    northward = {"eastward_wind": NORTH}
    renamed = replace(pair, coarse=pair.coarse.rename(northward), fine=pair.fine.rename(northward))
    plain = prepare(config.model_copy(update={"start_from": None}), renamed)
    setting = prepare(config, renamed)
    assert setting.statistics == {
        NORTH: plain.statistics[NORTH],
        RAIN: known[RAIN],
        "orography": known["orography"],
    }
    relief = (pair.statics["orography"].values - len("orography")) / 2
    np.testing.assert_allclose(setting.train[3].statics[0], relief, rtol=1e-5)


def settings(**changes):
    optim = OptimConfig(lr=1e-3, warmup_steps=1)
    defaults = {"pair": "synthetic", "model": ModelConfig(**SHAPE), "batch_size": 4, "steps": 3}
    defaults |= {"device": "cpu", "optim": optim, "validate_every": 3}
    return TrainConfig.model_validate(defaults | changes)


def test_a_run_goes_on_from_another_runs_weights(pair, tmp_path):
    first, then = tmp_path / "first", tmp_path / "then"
    first.mkdir()
    then.mkdir()
    loop.fit(settings(), [pair], first)
    # another grid, and a factor that the first run did not know
    other = synthetic_pair(rows=6, columns=9, factor=2)
    config = settings(**{"from": str(first), "freeze": ["trunk.blocks.*", "trunk.aggregate.*"]})
    best = loop.fit(config, [other], then)
    before = load_file(first / "best" / "weights.safetensors")
    after = load_file(best / "weights.safetensors")
    kept = {n for n in after if n.startswith(("trunk.blocks.", "trunk.aggregate."))}
    for name, weight in after.items():
        same = before[name].shape == weight.shape and torch.equal(before[name], weight)
        assert same == (name in kept), name
    description = load_checkpoint(best).description
    assert description.statistics == load_checkpoint(first / "best").description.statistics
    assert description.factor == 2
    assert description.provenance["config"]["from"] == str(first)
    assert "trunk.decode.paint.* is made anew: wanted factor 2" in (then / NOTES).read_text()


def test_an_unchanged_checkpoint_validates_as_it_did(pair, tmp_path):
    folders = [tmp_path / "first", tmp_path / "then"]
    for folder in folders:
        folder.mkdir()
    loop.fit(settings(loss=LossConfig(kind="mse")), [pair], folders[0])
    tiny = OptimConfig(lr=1e-12, warmup_steps=0, weight_decay=0)
    config = settings(
        **{"from": str(folders[0] / "best"), "optim": tiny, "steps": 1, "seed": 9},
        loss=LossConfig(kind="mse"),
    )
    loop.fit(config, [pair], folders[1])
    errors = [
        json.loads((folder / "log.jsonl").read_text().splitlines()[-1])["validation"]
        for folder in folders
    ]
    assert errors[1] == pytest.approx(errors[0], rel=1e-5)
