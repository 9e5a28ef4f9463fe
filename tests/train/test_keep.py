"""What a run keeps: whole weights at every moment, exported as they were."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from orbitds.checkpoint import load_checkpoint
from orbitds.config import ModelConfig, TrainConfig
from orbitds.model.reslim import Reslim
from orbitds.train.keep import export, keep
from orbitds.train.setting import prepare

CONFIG = TrainConfig(
    pair="synthetic",
    model=ModelConfig(
        width=8, depth=1, decoder_depth=1, correction_width=4, position_octaves=2, base="delta"
    ),
    seed=3,
)


@pytest.fixture(scope="module")
def setting(pair):
    return prepare(CONFIG, pair)


def model_of(pair, seed):
    torch.manual_seed(seed)
    model = Reslim(
        CONFIG.model,
        inputs=pair.inputs,
        outputs=pair.outputs,
        statics=pair.static_names,
        factor=pair.factor,
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model.eval()


def answer(model, setting):
    sample = setting.validate[2]
    with torch.inference_mode():
        return setting.forward(model, type(sample)(*(field[None] for field in sample)))[0]


def arrays(checkpoint):
    """Return the fields of the training region by name."""
    assert set(checkpoint.region.arrays()) > {"statics", "fine_climatology", "coarse_climatology"}
    return checkpoint.region.arrays()


def steps(folder):
    return json.loads((folder / "orbitds.json").read_text())["provenance"]["step"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_kept_is_the_model_and_all_it_needs(pair, setting, tmp_path):
    model = model_of(pair, 1)
    keep(model, [setting], CONFIG, 40, tmp_path / "best")
    assert names(tmp_path) == ["best"]
    kept = load_checkpoint(tmp_path / "best")
    assert torch.equal(answer(kept.model, setting), answer(model, setting))
    assert kept.description.statistics == setting.statistics
    assert kept.description.spacing_km == (
        pytest.approx(pair.coarse_grid.spacing_km),
        pytest.approx(pair.fine_grid.spacing_km),
    )
    told = kept.description.provenance
    assert (told["pair"], told["period"], told["step"]) == ("synthetic", ["2001", "2002"], 40)
    assert told["statics"] == "orography"  # the made-up pair does not say where it is from
    assert TrainConfig.model_validate(told["config"]) == CONFIG
    wanted = setting.region().arrays()
    for name, array in arrays(kept).items():
        np.testing.assert_array_equal(array, wanted[name], err_msg=name)


@pytest.mark.parametrize(("names", "wanted"), [(["orography"], "a survey"), ([], "none")])
def test_a_checkpoint_knows_which_statics_were_used(pair, setting, tmp_path, names, wanted):
    statics = pair.statics[names].assign_attrs(source="a survey" if names else "")
    keep(
        model_of(pair, 1),
        [replace(setting, pair=replace(pair, statics=statics))],
        CONFIG,
        1,
        tmp_path / "best",
    )
    assert (
        json.loads((tmp_path / "best" / "orbitds.json").read_text())["provenance"]["statics"]
        == wanted
    )


@pytest.mark.parametrize("same", [True, False])
def test_a_checkpoint_knows_whether_its_inputs_are_means_of_its_product(
    pair, setting, tmp_path, same
):
    of_pair = replace(setting, pair=replace(pair, same_product=same))
    keep(model_of(pair, 1), [of_pair], CONFIG, 1, tmp_path / "run" / "best")
    export(tmp_path / "run", tmp_path / "checkpoint")
    for folder in (tmp_path / "run" / "best", tmp_path / "checkpoint"):
        assert load_checkpoint(folder).description.same_product is same


def test_better_weights_take_the_place_of_earlier_ones(pair, setting, tmp_path):
    for step in (1, 2):
        keep(model_of(pair, step), [setting], CONFIG, step, tmp_path / "best")
    assert names(tmp_path) == ["best"]
    assert steps(tmp_path / "best") == 2
    got = load_file(tmp_path / "best" / "weights.safetensors")
    assert torch.equal(got["trunk.aggregate.embed"], model_of(pair, 2).trunk.aggregate.embed)


def test_leftovers_of_a_stopped_run_are_cleared(pair, setting, tmp_path):
    for leftover in ("best.partial", "best.old", "best"):
        (tmp_path / leftover).mkdir()
        (tmp_path / leftover / "weights.safetensors").write_bytes(b"half a file")
    keep(model_of(pair, 1), [setting], CONFIG, 7, tmp_path / "best")
    assert names(tmp_path) == ["best"]
    load_checkpoint(tmp_path / "best")


@pytest.mark.parametrize("moment", ["save", "rename 1", "rename 2", "clear"])
def test_a_kill_at_any_moment_leaves_whole_weights(pair, setting, tmp_path, monkeypatch, moment):
    run = tmp_path / "run"
    keep(model_of(pair, 1), [setting], CONFIG, 1, run / "best")

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    plain, renames = Path.rename, []

    def rename(self, target):
        renames.append(target)
        return killed() if moment == f"rename {len(renames)}" else plain(self, target)

    def clear(path, **kwargs):
        if path.exists():
            killed()

    monkeypatch.setattr(Path, "rename", rename)
    if moment == "save":
        monkeypatch.setattr("orbitds.checkpoint.Description", killed)
    if moment == "clear":
        monkeypatch.setattr("orbitds.train.keep.shutil.rmtree", clear)
    with pytest.raises(KeyboardInterrupt):
        keep(model_of(pair, 2), [setting], CONFIG, 2, run / "best")
    monkeypatch.undo()

    export(run, tmp_path / "checkpoint")
    assert steps(tmp_path / "checkpoint") == (2 if moment == "clear" else 1)
    load_checkpoint(tmp_path / "checkpoint")
    keep(model_of(pair, 3), [setting], CONFIG, 3, run / "best")
    assert names(run) == ["best"]
    assert steps(run / "best") == 3


def test_after_a_kill_the_next_save_does_not_lose_what_there_was(
    pair, setting, tmp_path, monkeypatch
):
    keep(model_of(pair, 1), [setting], CONFIG, 1, tmp_path / "best")
    (tmp_path / "best").rename(tmp_path / "best.old")  # stopped between the renames

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("orbitds.train.keep.save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        keep(model_of(pair, 2), [setting], CONFIG, 2, tmp_path / "best")
    assert steps(tmp_path / "best") == 1


def test_an_exported_run_answers_the_same(pair, setting, tmp_path):
    model = model_of(pair, 1)
    keep(model, [setting], CONFIG, 40, tmp_path / "run" / "best")
    export(tmp_path / "run", tmp_path / "checkpoint")
    kept, exported = (load_checkpoint(tmp_path / name) for name in ("run/best", "checkpoint"))
    assert torch.equal(answer(exported.model, setting), answer(model, setting))
    assert exported.description == kept.description
    assert exported.fingerprint == kept.fingerprint
    wanted = arrays(kept)
    for name, array in arrays(exported).items():
        np.testing.assert_array_equal(array, wanted[name], err_msg=name)
    shutil.rmtree(tmp_path / "run")
    load_checkpoint(tmp_path / "checkpoint")


@pytest.mark.parametrize("name", ["nothing", "run"])
def test_a_folder_without_weights_is_not_exported(tmp_path, name):
    (tmp_path / "run" / "best.partial").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=rf"best/, got .*{name}.*orbitds train --output"):
        export(tmp_path / name, tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()


def test_an_export_does_not_overwrite(pair, setting, tmp_path):
    keep(model_of(pair, 1), [setting], CONFIG, 40, tmp_path / "run" / "best")
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "mine").write_text("kept")
    with pytest.raises(FileExistsError, match="got .*checkpoint, which .* Choose another"):
        export(tmp_path / "run", tmp_path / "checkpoint")
    assert names(tmp_path / "checkpoint") == ["mine"]
