"""The script that scores a checkpoint: the numbers of its table, and intervals over space."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from orbitds.checkpoint import load_checkpoint
from orbitds.data.climatology import Climatology
from orbitds.eval.baselines import baselines
from orbitds.infer.downscaler import Downscaler
from orbitds.metrics.bootstrap import interval, redraw

SCRIPT = Path(__file__).parents[2] / "eval/score_checkpoint.py"
WIND, RAIN = "eastward_wind", "total_precipitation_24hr"


@pytest.fixture(scope="module")
def script():
    if not SCRIPT.is_file():
        pytest.skip("the launch folders are those of a checkout")
    spec = importlib.util.spec_from_file_location("score_checkpoint", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def checkpoint(checkpoint_folder):
    return load_checkpoint(checkpoint_folder)


@pytest.fixture(scope="module")
def result(script, checkpoint, pair):
    return script.score(checkpoint, pair)


def rmse(field, truth, area):
    square = (field - truth) ** 2
    return float(np.sqrt((area * square).sum() / np.broadcast_to(area, square.shape).sum()))


def test_the_prediction_is_what_users_get(result, checkpoint, pair):
    test = pair.part("test")
    answer = Downscaler(checkpoint)(test.coarse)
    assert (result.pair, result.period, result.times) == ("synthetic", "2004 to 2004", 12)
    for name in (WIND, RAIN):
        row = next(row for row in result.rows if row.variable == name)
        assert row.method == checkpoint.name
        wanted = rmse(answer[name].values, test.fine[name].values, pair.fine_grid.area)
        assert row.values["rmse"] == pytest.approx(wanted, rel=1e-4)
        assert row.low["rmse"] < wanted < row.high["rmse"]


def test_delta_change_learns_from_the_training_years(result, pair):
    rows = {(row.variable, row.method): row.values for row in result.rows}
    wind, bilinear = rows[WIND, "delta change"], rows[WIND, "bilinear"]
    assert wind["skill"] == pytest.approx(1 - (wind["rmse"] / bilinear["rmse"]) ** 2, rel=1e-6)
    assert wind["skill_delta"] == 0
    # its own answer, by hand: bicubic and the fine structure of the month
    fine, coarse = Climatology.of(pair.part("train")).means()
    test = pair.part("test")

    def bicubic(fields):
        told = baselines(torch.tensor(fields), pair.factor, periodic=True)
        return told["bicubic"].numpy()

    place = pair.outputs.index(WIND)
    field = bicubic(test.coarse[WIND].values) + fine[:, place] - bicubic(coarse[:, place])
    wanted = rmse(field, test.fine[WIND].values, pair.fine_grid.area)
    assert wind["rmse"] == pytest.approx(wanted, rel=1e-4)


def test_one_field_has_intervals_over_squares(script, checkpoint, pair):
    one = replace(pair, split=pair.split | {"test": ("2004-03", "2004-03")})
    assert all(np.isnan(row.low["rmse"]) for row in script.score(checkpoint, one).rows)
    found = script.score(checkpoint, one, 2)
    assert found.blocks == "squares of 2 x 2 coarse cells"
    row = next(row for row in found.rows if row.variable == WIND)
    test = one.part("test")
    answer = Downscaler(checkpoint)(test.coarse)[WIND].values[0]
    area = pair.fine_grid.area
    square = area * (answer - test.fine[WIND].values[0]).astype(float) ** 2
    edges = [(r, c) for r in range(0, 21, 6) for c in range(0, 33, 6)]
    sums = np.array(
        [[field[r : r + 6, c : c + 6].sum() for field in (square, area)] for r, c in edges]
    )
    drawn = redraw(sums)
    assert drawn is not None
    low, high = interval(np.sqrt(drawn[:, 0] / drawn[:, 1]))
    assert (row.low["rmse"], row.high["rmse"]) == pytest.approx((float(low), float(high)), rel=1e-3)
    assert row.low["skill"] < row.values["skill"] < row.high["skill"]


def test_the_table_holds_every_row(script, result, checkpoint, tmp_path):
    script.write([result], checkpoint, tmp_path / "out")
    text = (tmp_path / "out/scores.md").read_text()
    assert text.count("\n| eastward_wind") == len(
        {row.method for row in result.rows if row.variable == WIND}
    )
    told = json.loads((tmp_path / "out/scores.json").read_text())
    assert told["pairs"][0]["rows"][0]["values"]["rmse"] == result.rows[0].values["rmse"]
    assert "nan" not in text.lower()
