"""The command line: its flags and their help, files of settings, and what each command does."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from pydantic import BaseModel

from orbitds import __version__, cli
from orbitds.checkpoint import load_checkpoint, save_checkpoint
from orbitds.config import EvalConfig, InferConfig, TrainConfig
from orbitds.resources import share
from orbitds.train.stop import Stopped

COMMANDS = (
    "train",
    "export",
    "import-orbit2",
    "infer",
    "eval",
    "demo",
    "catalog list",
    "catalog show",
)
CONFIGS = {"train": TrainConfig, "infer": InferConfig, "eval": EvalConfig}
# One value for each setting, none of them the default.
OTHERS = {
    "train": {
        "pair": "navy_winds_10deg_to_2p5deg",
        "model": {
            "kind": "vit",
            "patch": 3,
            "width": 24,
            "depth": 1,
            "heads": 4,
            "mlp_ratio": 2.5,
            "decoder_depth": 3,
            "base": "delta",
            "correction_width": 5,
            "correction_depth": 1,
            "dropout": 0.1,
            "drop_path": 0.2,
            "drop_variables": 0.3,
            "compression": 2.5,
            "edge_density": 0.1,
            "predicts": "members",
            "position_octaves": 5,
            "drop_position": 0.4,
        },
        "data": {"workers": 3, "prefetch": 4, "history": 1, "mirror": ["latitude"]},
        "objective": "masked",
        "masked": {"share": 0.4, "cells": "quadtree"},
        "from": "folder",
        "freeze": ["trunk.blocks.*", "correct.*"],
        "tiles": {"rows": 2, "columns": 3, "halo_cells": 5, "order": "fields"},
        "loss": {
            "kind": "crps",
            "members": 3,
            "balance_samples": 9,
            "tv_weight": 0.03,
            "tv_weights": {"eastward_wind": 0.5, "total_precipitation_24hr": 0.0},
            "tv_diagonal": 0.5,
            "tv_of": "field",
        },
        "optim": {
            "lr": 2.0e-4,
            "weight_decay": 0.02,
            "beta1": 0.8,
            "beta2": 0.95,
            "warmup_steps": 7,
            "final_lr_fraction": 0.1,
            "clip": 2.5,
        },
        "steps": 11,
        "batch_size": 6,
        "accumulate": 3,
        "ema_decay": 0.9,
        "seed": 5,
        "validate_every": 4,
        "patience": 3,
        "save": {"every": 2, "keep_last": 4, "keep_every": 10, "stop_before_s": 60.0},
        "log": {"every": 3, "tensorboard": False, "wandb": "project"},
        "parallel": {
            "replicate": 3,
            "tiles": 2,
            "shard": 5,
            "sequence": 7,
            "sequence_by": "ring",
            "channel": 9,
            "tensor": 2,
            "reduce_dtype": "bfloat16",
            "zero_stage": 1,
            "offload": True,
        },
        "checkpointing": "selective",
        "compile": True,
        "deterministic": True,
        "device": "cpu",
        "dtype": "bfloat16",
    },
    "infer": {
        "input": ["coarse.nc", "later.nc"],
        "checkpoint": "folder",
        "output": "fine.zarr",
        "factor": 2,
        "variables": ["northward_wind", "eastward_wind"],
        "tiles": "2x4",
        "halo": 9,
        "batch_size": 3,
        "constraints": ["order", "conserve"],
        "missing": "mask",
        "members": 3,
        "spread": True,
        "device": "cpu",
        "dtype": "bfloat16",
        "compile": True,
        "time": "2001:2002",
        "region": "30:60,-10:40",
        "share": "2/3",
        "split": "year",
        "zarr_format": 2,
        "resume": True,
        "overwrite": True,
        "keep_going": True,
    },
    "eval": {
        "prediction": "fine.nc",
        "truth": "truth.nc",
        "output": "scores",
        "coarse": "coarse.nc",
        "checkpoint": "folder",
        "pair": "pair.yaml",
        "train_truth": "earlier.nc",
        "train_coarse": "earlier_coarse.nc",
        "others": {"unet": "unet.nc", "my edsr": "edsr.zarr"},
        "regions": ["land", "mine.geojson"],
        "tiles": "2x4",
        "ssim": "gaussian",
        "missing": "mask",
        "label": "mine",
        "maps": False,
        "overwrite": True,
    },
}


@pytest.fixture
def heard(monkeypatch):
    """The settings with which a stage was called; the stage does nothing."""
    calls = []
    for stage in ("train.loop", "infer.run", "eval.run"):
        monkeypatch.setattr(f"orbitds.{stage}.run", lambda config, *_, **__: calls.append(config))
    monkeypatch.setattr("orbitds.eval.report.Table.of", lambda scores: None)
    monkeypatch.setattr("orbitds.eval.report.show", lambda scored: None)
    silent = SimpleNamespace(describe=lambda: "")
    monkeypatch.setattr("orbitds.infer.run.run", lambda config: calls.append(config) or silent)
    return calls


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run of two steps, with settings from the shipped file for it and from flags."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    words = ["--config", "smoke", "--steps", "2", "--batch-size", "2", "--optim.warmup-steps", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["orbitds", "train", *words, "--output", str(folder)])
        with pytest.raises(SystemExit, match=r"^0$"):
            cli.main()
    return folder


@pytest.fixture
def files(tmp_path, monkeypatch, pair, coarse):
    """A working folder with the coarse test year and its truth."""
    monkeypatch.chdir(tmp_path)
    coarse.to_netcdf("coarse.nc")
    pair.part("test").fine.to_netcdf("truth.nc")
    return tmp_path


# --- help ---


@pytest.mark.parametrize("command", ["", "catalog", *COMMANDS])
def test_help_explains_every_flag(orbitds, command):
    answer = orbitds(*command.split(), "--help")
    assert answer.code == 0
    assert answer.err == ""
    assert answer.out.startswith(f"Usage: orbitds {command}".rstrip())
    rows = re.findall(r"^│ \*? *(.*?) *│$", answer.out, flags=re.MULTILINE)
    assert rows
    for row in rows:
        _, explanation = re.split(r" {2,}", row, maxsplit=1)
        assert len(explanation) > 15, row


@pytest.mark.parametrize("stage", CONFIGS)
def test_help_of_a_flag_is_the_docstring_of_its_setting(orbitds, stage):
    text = _plain(orbitds(stage, "--help").out)
    for flag, explanation in _flags(CONFIGS[stage]):
        assert f" {flag} " in text
        assert f"  {_plain(explanation)} " in text, f"{flag} without its explanation"


def test_top_level_help_lists_the_commands(orbitds):
    out = orbitds("--help").out
    for command in ("train", "infer", "eval", "catalog", "export", "import-orbit2", "demo"):
        assert re.search(rf"^│ {command} +\S", out, flags=re.MULTILINE)


def test_version(orbitds):
    answer = orbitds("--version")
    assert (answer.code, answer.out.strip()) == (0, __version__)


@pytest.mark.parametrize("stage", CONFIGS)
def test_launch_folders_run_the_command(stage, tmp_path):
    script = Path(__file__).parents[1] / stage / "run.py"
    if not script.is_file():
        pytest.skip("the launch folders do not travel in a wheel")
    # from elsewhere: the folders train/, infer/ and eval/ are on no import path
    done = _python(script, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: orbitds {stage}")


def test_module_runs_the_command(tmp_path):
    done = _python("-m", "orbitds", "trainn", cwd=tmp_path)
    assert done.returncode != 0
    assert done.stdout == ""
    assert 'Did you mean "train"?' in done.stderr
    assert "Traceback" not in done.stderr


# --- flags and files of settings ---


@pytest.mark.parametrize("stage", CONFIGS)
def test_examples_set_everything_to_another_value(stage):
    """What the next two tests rest on."""
    config = CONFIGS[stage](**OTHERS[stage])
    settings = dict(_leaves(config))
    for name, default in _leaves_of_defaults(CONFIGS[stage]):
        # some stand instead of others: of `pair`, of most sizes of `parallel`, of `tiles.rows`, of
        # losses that are not balanced
        if name not in ("pairs", "parallel.engine", "tiles.crop_cells", "loss.balance"):
            assert settings[name] != default, name


@pytest.mark.parametrize("stage", CONFIGS)
def test_each_setting_is_a_flag(orbitds, heard, stage):
    config = CONFIGS[stage](**OTHERS[stage])
    assert orbitds(stage, *_arguments(config, stage)).code == 0
    assert heard == [config]


@pytest.mark.parametrize("stage", CONFIGS)
def test_a_file_has_the_same_names(orbitds, heard, stage, tmp_path):
    path = tmp_path / "own.yaml"
    settings = OTHERS[stage] | ({"output": "run"} if stage == "train" else {})
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    assert orbitds(stage, "--config", path).code == 0
    assert heard == [CONFIGS[stage](**OTHERS[stage])]


def test_several_pairs_are_flags(orbitds, heard):
    answer = orbitds("train", "--pairs.one", "2", "--pairs.two", "0.5", "--output", "run")
    assert answer.code == 0
    assert heard == [TrainConfig(pairs={"one": 2.0, "two": 0.5})]


def test_a_run_without_data_is_refused(orbitds):
    answer = orbitds("train", "--output", "run")
    assert answer.code != 0
    assert "either pair or pairs" in answer.err


def test_flags_override_a_file(orbitds, heard, tmp_path):
    path = tmp_path / "own.yaml"
    settings = {"pair": "one", "steps": 5, "optim": {"lr": 1e-4, "clip": 3.0}, "output": "run"}
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    # before the command, too
    answer = orbitds("--config", path, "train", "--pair", "two", "--optim.lr", "0.5")
    assert answer.code == 0
    wanted = {"pair": "two", "steps": 5, "optim": {"lr": 0.5, "clip": 3.0}}
    assert heard == [TrainConfig.model_validate(wanted)]


def test_a_file_does_not_outlast_its_command(orbitds, heard):
    assert orbitds("train", "--config", "smoke", "--output", "run").code == 0
    assert orbitds("train", "--pair", "other", "--output", "run").code == 0
    assert heard[0].steps == 10
    assert heard[1] == TrainConfig(pair="other")


@pytest.mark.parametrize("stage", CONFIGS)
def test_shipped_files_are_known_by_name(orbitds, heard, stage):
    output = ("--output", "run") if stage == "train" else ()
    for path in share(f"configs/{stage}").glob("*.yaml"):
        assert orbitds(stage, "--config", path.stem, *output).code == 0
    assert len(heard) == len(list(share(f"configs/{stage}").glob("*.yaml"))) > 0


def test_a_stage_is_known_by_its_place(orbitds, heard):
    """A value that reads like a command is no command."""
    words = ("--prediction", "train", "--truth", "infer", "--output", "train")
    assert orbitds("eval", "--config", "demo", *words).code == 0
    assert (heard[0].prediction, heard[0].truth) == ("train", "infer")


@pytest.mark.parametrize(
    ("arguments", "wrong", "near"),
    [
        ("train --pair x --output y --step 3", "--step", "--steps"),
        ("train --pair x --output y --optim.learning-rat 3", "--optim.learning-rat", "--optim"),
        ("train --pair x --output y --optim.warmup-step 3", "--optim.warmup-step", "warmup-steps"),
        ("infer a.nc --checkpoint x --output y.nc --tile 2x2", "--tile", "--tiles"),
        ("eval --prediction x --truth y --output z --coars w", "--coars", "--coarse"),
        ("export x --output y --overwrit", "--overwrit", ""),
        ("demo --step 3", "--step", "--steps"),
        ("trainn --pair x", "trainn", '"train"'),
        ("catalog listt", "listt", '"list"'),
    ],
)
def test_unknown_flags_are_refused_with_the_nearest(orbitds, heard, arguments, wrong, near):
    answer = orbitds(*arguments.split())
    assert answer.code != 0
    assert heard == []
    assert answer.err.count("─ Error ─") == 1
    assert wrong in answer.err
    if near:
        assert re.search(rf"Did you mean \S*{re.escape(near)}", answer.err)


@pytest.mark.parametrize(
    ("stage", "wrong", "name", "near"),
    [
        ("train", {"step": 3}, "step", "--steps"),
        ("train", {"optim": {"lrr": 1e-3}}, "lrr", "--optim.lr"),
        ("train", {"model": {"widthh": 8}}, "widthh", "--model.width"),
        ("infer", {"tile": "2x2"}, "tile", "--tiles"),
        ("eval", {"coars": "x.nc"}, "coars", "--coarse"),
    ],
)
def test_unknown_names_in_a_file_are_refused(orbitds, heard, tmp_path, stage, wrong, name, near):
    path = tmp_path / "own.yaml"
    settings = OTHERS[stage] | {"output": "out.nc"} | wrong
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    answer = orbitds(stage, "--config", path)
    assert answer.code != 0
    assert heard == []
    assert answer.err.count("─ Error ─") == 1
    assert f"[{name}]" in answer.err
    assert "own.yaml" in answer.err
    assert f"Did you mean {near}?" in answer.err


def test_a_preset_with_an_unknown_name_is_refused(orbitds, heard, tmp_path):
    (tmp_path / "model.yaml").write_text("widthh: 8\n", encoding="utf-8")
    (tmp_path / "own.yaml").write_text(
        yaml.safe_dump({"pair": "x", "model": str(tmp_path / "model.yaml")}), encoding="utf-8"
    )
    answer = orbitds("train", "--config", tmp_path / "own.yaml", "--output", "run")
    assert answer.code != 0
    assert heard == []
    assert "model.yaml: unknown name 'widthh'. Did you mean 'width'?" in answer.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--steps 0", "--steps: Input should be greater than 0 (got '0')"),
        ("--optim.lr fast", "--optim.lr: Input should be a valid number"),
        ("--model.base cubic", "--model.base: Input should be 'bilinear', 'bicubic' or 'delta'"),
        ("--model.heads 3", "got width 256 and 3 heads. Change one of the two."),
        ("--batch-size 5 --accumulate 2", "got 5 and 2. Change one of the two."),
    ],
)
def test_values_that_do_not_fit_are_refused(orbitds, heard, arguments, told):
    answer = orbitds("train", "--pair", "x", "--output", "run", *arguments.split())
    assert answer.code != 0
    assert heard == []
    assert told in answer.err


def test_config_belongs_to_a_stage(orbitds):
    answer = orbitds("catalog", "list", "--config", "smoke")
    assert answer.code != 0
    assert (
        "Wanted --config with one of ('train', 'infer', 'eval'), got 'catalog list'" in answer.err
    )
    answer = orbitds("train", "--config", "smok", "--output", "run")
    assert answer.code != 0
    assert "got 'smok'. Did you mean 'smoke'?" in answer.err


# --- train, export ---


def test_train_leaves_a_run(run_folder):
    resolved = json.loads((run_folder / "config.json").read_text(encoding="utf-8"))
    assert resolved["steps"] == 2
    assert resolved["batch_size"] == 2
    assert resolved["validate_every"] == 10
    assert resolved["optim"]["warmup_steps"] == 1
    assert resolved["model"]["width"] == 16
    assert TrainConfig.model_validate(resolved).model_dump(mode="json") == resolved
    lines = (run_folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    log = [json.loads(line) for line in lines]
    assert [entry["step"] for entry in log] == [1, 2]
    assert all(np.isfinite(entry["loss"]) for entry in log)
    assert log[-1]["validation"] > 0


def test_export_makes_a_checkpoint(orbitds, run_folder, tmp_path):
    answer = orbitds("export", run_folder, "--output", tmp_path / "checkpoint")
    assert answer.code == 0
    assert answer.out == f"checkpoint: {tmp_path / 'checkpoint'}\n"
    names = {path.name for path in (tmp_path / "checkpoint").iterdir()}
    assert names == {"weights.safetensors", "orbitds.json", "climatology.safetensors"}
    exported, best = load_checkpoint(tmp_path / "checkpoint"), load_checkpoint(run_folder / "best")
    assert exported.fingerprint == best.fingerprint
    assert exported.description.provenance["config"]["steps"] == 2
    assert exported.description.statistics == best.description.statistics


def test_export_in_two_bytes_with_terms(orbitds, run_folder, tmp_path):
    whole = (run_folder / "best/weights.safetensors").stat().st_size
    for dtype, error in (("bfloat16", 2**-8), ("float16", 2**-11)):
        command = ["export", run_folder, "--output", tmp_path / dtype, "--dtype", dtype]
        assert orbitds(*command, "--title", "Winds", "--licence", "CC BY 4.0").code == 0
        assert (tmp_path / dtype / "weights.safetensors").stat().st_size < 0.6 * whole
        exported, best = load_checkpoint(tmp_path / dtype), load_checkpoint(run_folder / "best")
        assert exported.description.provenance["licence"] == "CC BY 4.0"
        assert "citation" not in exported.description.provenance
        for ours, theirs in zip(exported.model.parameters(), best.model.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=error, atol=1e-7)


def test_export_refuses_weights_beyond_half_precision(orbitds, run_folder, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(run_folder / "best", tmp_path / "old")
    checkpoint = load_checkpoint(tmp_path / "old")
    next(iter(checkpoint.model.parameters())).data.flatten()[0] = 1e5
    description = checkpoint.description
    save_checkpoint(
        run / "best",
        checkpoint.model,
        statistics=description.statistics,
        spacing_km=description.spacing_km,
        provenance={},
        region=checkpoint.region,
    )
    answer = orbitds("export", run, "--output", tmp_path / "half", "--dtype", "float16")
    assert answer.code == 1
    assert "within the range of torch.float16" in answer.err
    assert not (tmp_path / "half").exists()


# --- infer ---


def test_infer_netcdf_zarr_and_accessor_agree(orbitds, files, checkpoint_folder, coarse):
    for name in ("fine.nc", "fine.zarr"):
        answer = orbitds("infer", "coarse.nc", "--checkpoint", checkpoint_folder, "--output", name)
        assert answer.code == 0
        assert answer.out.endswith(f"wrote {name}\n")
        assert "Error" not in answer.err
    by_hand = coarse.orbit.downscale(checkpoint_folder)
    assert by_hand["eastward_wind"].shape == (12, 21, 33)
    with xr.open_dataset("fine.nc") as netcdf, xr.open_zarr("fine.zarr") as zarr:
        xr.testing.assert_equal(netcdf, zarr)
        assert netcdf.attrs == zarr.attrs
        for name in by_hand.variables:
            assert netcdf[name].attrs == zarr[name].attrs == by_hand[name].attrs
            np.testing.assert_array_equal(netcdf[name].values, by_hand[name].values)
    assert {path.name for path in files.iterdir()} == {
        "coarse.nc", "truth.nc", "fine.nc", "fine.zarr",
    }  # fmt: skip


def test_infer_holds_to_constraints_as_the_accessor_does(orbitds, files, checkpoint_folder, coarse):
    flags = ("--constraints", "order", "--constraints", "conserve")
    answer = orbitds(
        "infer", "coarse.nc", "--checkpoint", checkpoint_folder, "--output", "fine.nc", *flags
    )
    assert answer.code == 0
    wanted = coarse.orbit.downscale(checkpoint_folder, constraints=("order", "conserve"))
    with xr.open_dataset("fine.nc") as fine:
        xr.testing.assert_allclose(fine, wanted, rtol=1e-5)
        assert fine.attrs["orbitds_constraints"] == "order conserve"


def test_infer_by_a_file_of_settings(orbitds, files, checkpoint_folder):
    settings = {
        "input": "coarse.nc",
        "checkpoint": str(checkpoint_folder),
        "output": "from_file.nc",
        "variables": ["eastward_wind"],
        "batch_size": 5,
    }
    (files / "own.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    assert orbitds("infer", "--config", "own.yaml").code == 0
    override = ("--output", "tiled.nc", "--tiles", "1x2")
    assert orbitds("infer", "--config", "own.yaml", *override).code == 0
    with xr.open_dataset("from_file.nc") as whole, xr.open_dataset("tiled.nc") as tiled:
        assert set(whole.data_vars) == set(tiled.data_vars) == {"eastward_wind"}
        difference = np.abs(tiled["eastward_wind"] - whole["eastward_wind"]).max()
        assert 0 < float(difference) < 2  # another cut, the same field


def test_infer_overwrites_only_when_asked(orbitds, files, checkpoint_folder):
    (files / "fine.nc").write_text("precious", encoding="utf-8")
    arguments = ("infer", "coarse.nc", "--checkpoint", checkpoint_folder, "--output", "fine.nc")
    assert orbitds(*arguments).code != 0
    assert (files / "fine.nc").read_text(encoding="utf-8") == "precious"
    assert orbitds(*arguments, "--overwrite").code == 0
    with xr.open_dataset("fine.nc") as fine:
        assert fine.sizes["latitude"] == 21


# --- eval ---


@pytest.fixture
def few(files):
    """The truth at times too few for intervals, which take longer than all else of scores."""
    with xr.open_dataset("truth.nc") as truth:
        truth.isel(time=slice(3)).to_netcdf("few.nc")
    return "few.nc"


def test_eval_prints_a_table_and_writes_files(orbitds, files, few, checkpoint_folder):
    settings = {
        "prediction": few,
        "truth": "truth.nc",
        "coarse": "coarse.nc",
        "checkpoint": str(checkpoint_folder),
        "output": "scores",
        "maps": False,
    }
    (files / "own.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    answer = orbitds("eval", "--config", "own.yaml")
    assert answer.code == 0
    methods = ("prediction", "nearest", "bilinear", "bicubic", "delta change")
    titles = ("RMSE", "bias", "R2", "SSIM", "PSNR (dB)")
    markdown = Path("scores/scores.md").read_text(encoding="utf-8")
    for text in (answer.out, markdown):
        for word in (*methods, *titles, "eastward_wind (m s-1)", "total_precipitation_24hr (mm)"):
            assert word in text
    assert "data:image" not in Path("scores/report.html").read_text(encoding="utf-8")
    assert Path("scores/scores.nc").is_file()
    content = json.loads(Path("scores/scores.json").read_text(encoding="utf-8"))
    rows = {(row["variable"], row["method"]): row for row in content["rows"]}
    assert len(rows) == 2 * len(methods)
    assert content["times"] == 3
    assert rows["eastward_wind", "prediction"]["rmse"] == 0  # the truth itself
    assert rows["eastward_wind", "prediction"]["r2"] == 1
    assert rows["eastward_wind", "nearest"]["rmse"] > rows["eastward_wind", "bicubic"]["rmse"] > 0


def test_eval_without_coarse_scores_the_prediction_alone(orbitds, few):
    arguments = ("--prediction", few, "--truth", "truth.nc", "--output", "scores", "--no-maps")
    assert orbitds("eval", *arguments).code == 0
    content = json.loads(Path("scores/scores.json").read_text(encoding="utf-8"))
    assert {row["method"] for row in content["rows"]} == {"prediction"}
    before = Path("scores/scores.json").read_bytes()
    Path("scores/scores.md").write_text("old", encoding="utf-8")
    assert orbitds("eval", *arguments).code != 0
    assert Path("scores/scores.md").read_text(encoding="utf-8") == "old"
    assert orbitds("eval", *arguments, "--overwrite").code == 0
    assert Path("scores/scores.json").read_bytes() == before
    assert "| prediction |" in Path("scores/scores.md").read_text(encoding="utf-8")
    assert orbitds("eval", *arguments, "--overwrite", "--label", "mine").code == 0
    assert "| mine |" in Path("scores/scores.md").read_text(encoding="utf-8")


# --- helpers ---


def _python(*arguments, cwd):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"COLUMNS": "400"},
    )


def _leaves(config, prefix=()):
    """Yield the dotted name and value of each setting."""
    for name, value in config:
        if isinstance(value, BaseModel):
            yield from _leaves(value, (*prefix, name))
        else:
            yield ".".join((*prefix, name)), value


def _leaves_of_defaults(kind):
    required = {name: "x" for name, field in kind.model_fields.items() if field.is_required()}
    required |= {"pair": "x"} if kind is TrainConfig else {}
    required |= {"truth": "x"} if kind is EvalConfig else {}
    return _leaves(kind(**required))


def _arguments(config, stage):
    words = ["--output", "run"] if stage == "train" else []
    for name, value in _leaves(config):
        name = "from" if name == "start_from" else name  # a keyword of Python
        flag = f"--{name.replace('_', '-')}"
        if value is None:  # not given
            continue
        if isinstance(value, bool):
            group, dot, last = flag.removeprefix("--").rpartition(".")
            words.append(flag if value else f"--{group}{dot}no-{last}")
        elif isinstance(value, tuple):
            words += [word for item in value for word in (flag, item)]
        elif isinstance(value, dict):
            words += [word for key, item in value.items() for word in (f"{flag}.{key}", item)]
        elif flag != "--input":
            words += [flag, value]
        else:
            words.insert(0, value)
    return words


def _flags(kind, prefix="--"):
    for name, field in kind.model_fields.items():
        flag = prefix + (field.alias or name).replace("_", "-")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _flags(field.annotation, f"{flag}.")
        elif flag != "--input":  # a place, explained by the command
            yield flag, field.description


def _plain(text):
    return text.replace("`", "").replace("\n", " ")


def test_a_run_that_saved_and_left_says_so(orbitds, monkeypatch, tmp_path):
    def leave(*_, **__):
        raise Stopped("got SIGTERM", 30)

    monkeypatch.setattr("orbitds.train.loop.run", leave)
    answer = orbitds("train", "--pair", "synthetic", "--output", tmp_path / "run")
    assert (answer.code, answer.out) == (75, "")
    assert answer.err == f"{Stopped('got SIGTERM', 30)}\n"
