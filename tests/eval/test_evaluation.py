"""An evaluation: the same numbers however blocks and threads cut the times."""

import numpy as np
import pytest
import torch
import xarray as xr

from orbitds.eval import evaluation as module
from orbitds.eval import stream
from orbitds.eval.evaluate import evaluate, prepare
from orbitds.eval.options import Options
from tests.eval.test_evaluate import RAIN, rainy, value
from tests.eval.test_run import TEMPERATURE, WIND


def test_amounts_have_a_second_label():
    evaluation = prepare(*rainy(3))
    assert evaluation.labels(RAIN) == (RAIN, f"log1p({RAIN})")
    assert evaluation.labels(WIND) == (WIND,)
    assert set(evaluation.scores(RAIN)) == {RAIN, f"log1p({RAIN})"}


def test_the_frame_knows_degrees_at_the_middle_of_the_grid():
    prediction, truth = (ds.isel(latitude=slice(0, 6)) for ds in rainy(2))
    height, width = prepare(prediction, truth).frame.spacing_deg
    assert height == pytest.approx(15)
    assert width == pytest.approx(20 * np.cos(np.deg2rad(45)))


def test_layout_units_and_chunks_make_no_difference(monkeypatch):
    prediction, truth = rainy(20)
    expected = evaluate(prediction, truth)
    celsius = truth.copy()
    celsius[TEMPERATURE] = (truth[TEMPERATURE] - 273.15).assign_attrs(units="degC")
    other = celsius.isel(latitude=slice(None, None, -1)).transpose("longitude", "latitude", "time")
    monkeypatch.setattr(stream, "BLOCK_CELLS", 7 * 12 * 18)
    monkeypatch.setattr(module, "PART_CELLS", 2 * 12 * 18)
    got = evaluate(prediction.chunk(time=9, longitude=5), other.chunk(time=13))
    xr.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-7)


def test_few_detailed_times_leave_errors_as_they_are():
    prediction, truth = rainy(60)
    all_times, few = (
        evaluate(prediction, truth),
        evaluate(prediction, truth, Options(detailed_times=10)),
    )
    assert value(few, WIND, "rmse") == value(all_times, WIND, "rmse")
    assert value(few, WIND, "ssim") != value(all_times, WIND, "ssim")
    assert value(few, WIND, "ssim") == pytest.approx(value(all_times, WIND, "ssim"), rel=0.1)


def test_threads_are_as_many_as_before():
    before = torch.get_num_threads()
    prediction, truth = rainy(5)
    evaluate(prediction, truth)
    assert torch.get_num_threads() == before
