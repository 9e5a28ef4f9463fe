"""Settings: every shipped file is whole, wrong ones are told, presets come by name or by path."""

import re

import pytest
import yaml
from pydantic import ValidationError

from orbitds import config
from orbitds.config import (
    EvalConfig,
    InferConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    TilesConfig,
    TrainConfig,
    model_preset,
    read_config,
)
from orbitds.resources import names, share
from orbitds.schema import Frozen, parse

STAGES = {"train": TrainConfig, "infer": InferConfig, "eval": EvalConfig}
SHIPPED = [(stage, name) for stage in STAGES for name in names(f"configs/{stage}")]
GROUPS = [kind for kind in vars(config).values() if isinstance(kind, type)]
GROUPS = [kind for kind in GROUPS if issubclass(kind, Frozen) and kind is not Frozen]


@pytest.fixture
def written(tmp_path):
    def write(name="mine.yaml", **settings):
        path = tmp_path / name
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        return path

    return write


# --- shipped files ---


def test_each_stage_has_a_file_to_start_from():
    assert {stage for stage, _ in SHIPPED} == set(STAGES)
    assert {"tiny", "demo"} <= set(names("configs/model"))


@pytest.mark.parametrize(("stage", "name"), SHIPPED)
def test_shipped_run_is_whole(stage, name):
    settings = read_config(name, stage)
    setting = parse(STAGES[stage], settings, source=name)
    # each line of the file is in the result as it stands
    stored = yaml.safe_load(share(f"configs/{stage}/{name}.yaml").read_text(encoding="utf-8"))
    if "from" in stored:  # a keyword of Python, so code has another name for it
        stored["start_from"] = stored.pop("from")
    assert stored.keys() <= STAGES[stage].model_fields.keys()
    for key, value in stored.items():
        if isinstance(value, dict):
            told = getattr(setting, key)
            told = told if isinstance(told, dict) else told.model_dump(mode="json")
            assert told | value == told
        elif key == "model":
            assert setting.model == model_preset(value)
        elif key == "input":  # one is as good as several
            assert setting.input == (value,)
        else:
            assert str(getattr(setting, key)) == str(value)


# --- a preset, by name or by path ---


def test_preset_by_name_is_replaced_by_its_content(written):
    path = written(pair="a_pair", model="tiny", steps=3)
    settings = read_config(path, "train")
    assert settings == {"pair": "a_pair", "model": model_preset("tiny").model_dump(), "steps": 3}
    setting = parse(TrainConfig, settings, source="here")
    assert (setting.model.width, setting.model.depth) == (16, 1)
    assert setting.tiles == TilesConfig()


def test_preset_by_path_and_in_place(written):
    preset = written("wide.yaml", width=96, heads=3)
    by_path = read_config(written(pair="p", model=str(preset)), "train")
    assert by_path["model"] == ModelConfig(width=96, heads=3).model_dump()
    in_place = read_config(str(written(pair="p", model={"width": 96, "heads": 3})), "train")
    assert in_place["model"] == {"width": 96, "heads": 3}
    one, other = (parse(TrainConfig, s, source="here") for s in (by_path, in_place))
    assert one == other


def test_run_without_a_model_takes_the_default(written):
    settings = read_config(written(pair="p"), "train")
    assert parse(TrainConfig, settings, source="here").model == ModelConfig()


def test_resolved_settings_are_written_and_read_again():
    setting = parse(TrainConfig, read_config("demo", "train"), source="demo")
    again = yaml.safe_load(yaml.safe_dump(setting.model_dump(mode="json")))
    assert parse(TrainConfig, again, source="again") == setting


def test_numbers_may_be_written_as_people_do(tmp_path):
    # YAML 1.1 takes 1e-3 for a word: the dot is missing
    path = tmp_path / "mine.yaml"
    path.write_text("pair: p\nsteps: 1_000\noptim: {lr: 1e-3, clip: 2}\n", encoding="utf-8")
    setting = parse(TrainConfig, read_config(path, "train"), source="mine")
    assert (setting.optim.lr, setting.optim.clip, setting.steps) == (0.001, 2.0, 1000)


# --- errors ---


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: read_config("demoo", "train"), r"Wanted one of \[.*got 'demoo'.*mean 'demo'"),
        (lambda: read_config("tiny", "train"), "Wanted one of .*got 'tiny'"),
        (lambda: model_preset("tyny"), "got 'tyny'.*Did you mean 'tiny'"),
        (lambda: read_config("none.yaml", "infer"), "Wanted a YAML file, got none.yaml"),
    ],
)
def test_unknown_names_are_told_with_the_nearest(call, message):
    with pytest.raises(FileNotFoundError, match=message):
        call()


def test_unknown_preset_in_a_file_is_told(written):
    with pytest.raises(FileNotFoundError, match="Did you mean 'demo'"):
        read_config(written(pair="p", model="demos"), "train")


def test_mistake_in_a_preset_names_its_file(written):
    path = written("wide.yaml", widths=96)
    with pytest.raises(
        ValueError, match=rf"{re.escape(str(path))}: unknown name 'widths'.*'width'"
    ):
        model_preset(path)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (ModelConfig, {"width": 30, "heads": 4}, "multiple of heads, got width 30 and 4 heads"),
        (TrainConfig, {"pair": "p", "batch_size": 6, "accumulate": 4}, "accumulate, got 6 and 4"),
        (TrainConfig, {}, "either pair or pairs, got pair None and pairs {}.*one of the two"),
        (TrainConfig, {"pair": "p", "pairs": {"q": 1}}, "either pair or pairs, got pair 'p'"),
        (TrainConfig, {"pairs": {"q": -1}}, "pairs.q: .*greater than 0 .got -1"),
        (TrainConfig, {"pair": "p", "optim": {"lr": 0}}, "optim.lr: .*greater than 0 .got 0"),
        (
            TrainConfig,
            {"pair": "p", "optim": {"lrr": 1}},
            "name 'optim.lrr'. Did you mean 'optim.lr'",
        ),
        (TrainConfig, {"pair": "p", "dtype": "float16"}, "dtype: .*'float32' or 'bfloat16'"),
        (ModelConfig, {"dropout": 1.0}, r"dropout: .*less than 1 .got 1\.0"),
        (ModelConfig, {"base": "cubic"}, "base: .*'bilinear', 'bicubic' or 'delta'.*got 'cubic'"),
        (LossConfig, {"tv_weight": -0.1}, r"tv_weight: .*greater than or equal to 0 .got -0\.1"),
        (LossConfig, {"members": 1}, r"members: .*greater than or equal to 2 .got 1"),
        (LossConfig, {"tv_weights": {"a": -1}}, r"tv_weights.a: .*greater than or equal to 0"),
        (LossConfig, {"kind": "cprs"}, "kind: .*'gaussian' or 'crps'.*got 'cprs'"),
        (TilesConfig, {"rows": 0}, "rows: .*greater than 0"),
        (OptimConfig, {"beta2": 1}, "beta2: .*less than 1"),
        (InferConfig, {"checkpoint": "c", "output": "o"}, "input: Field required"),
        (EvalConfig, {"predictoin": "p"}, "unknown name 'predictoin'. Did you mean 'prediction'"),
    ],
)
def test_settings_that_do_not_fit_are_told(kind, settings, message):
    with pytest.raises(ValueError, match=f"^here: .*{message}"):
        parse(kind, settings, source="here")


# --- every group ---


def test_all_groups_are_seen():
    assert {ModelConfig, TilesConfig, LossConfig, OptimConfig, *STAGES.values()} <= set(GROUPS)


@pytest.mark.parametrize("kind", GROUPS)
def test_each_field_is_documented_and_each_group_frozen_and_closed(kind):
    for name, field in kind.model_fields.items():
        assert field.description, f"{kind.__name__}.{name} is the help text of a flag"
    given = {name: "x" for name, field in kind.model_fields.items() if field.is_required()}
    given |= {"pair": "x"} if kind in (TrainConfig, EvalConfig) else {}
    settings = kind.model_validate(given)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(settings, next(iter(kind.model_fields)), None)
    with pytest.raises(ValidationError, match="Extra inputs"):
        kind.model_validate(given | {"quite_else": 1})


def test_defaults_are_those_of_the_paper_where_we_follow_it():
    assert (LossConfig().tv_weight, LossConfig().tv_diagonal) == (0.02, 0.7)
    small = ModelConfig()
    # ORBIT-2's 9.5M: D 256, depth 6, patch 2, decoder depth 4, MLP ratio 4; ours has head dim 128
    assert (small.width, small.depth, small.patch) == (256, 6, 2)
    assert (small.decoder_depth, small.mlp_ratio, small.width / small.heads) == (4, 4, 128)
