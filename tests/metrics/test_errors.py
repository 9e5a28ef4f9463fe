"""Scores against ten lines of numpy and torchmetrics; streamed and merged as in one piece."""

import itertools
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from orbitds.metrics.errors import Errors
from orbitds.metrics.structure import SSIM_K2, SSIM_WINDOW, psnr, ssim_map

RANGE = 60.0
NAMES = {"r2", "rmse", "bias", "ssim", "psnr"}


def weather(times=3, rows=11, columns=17, *, missing=0.0, seed=0):
    """Temperatures around 280 K, a prediction of them, and areas that shrink to the poles."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, times, rows, columns, generator=generator, dtype=torch.float64)
    truth = 280 + 15 * noise[0]
    prediction = truth + 4 * noise[1] - 1.5
    hole = torch.rand(truth.shape, generator=generator) < missing
    truth[hole] = torch.nan
    area = torch.cos(torch.linspace(-1.5, 1.5, rows, dtype=torch.float64))
    return prediction, truth, area[:, None].repeat(1, columns)


def scores_of(prediction, truth, area):
    scores = Errors()
    scores.add(prediction, truth, area, RANGE)
    return scores


def ssim_by_loops(prediction, truth):
    """Structural similarity of each whole 7 x 7 window, with sample (co)variances."""
    rows, columns = truth.shape
    similarity = np.empty((rows - 6, columns - 6))
    c1, c2 = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
    for i, j in np.ndindex(*similarity.shape):
        p, t = (field[i : i + 7, j : j + 7].ravel() for field in (prediction, truth))
        cov = np.cov(p, t)
        similarity[i, j] = (2 * p.mean() * t.mean() + c1) * (2 * cov[0, 1] + c2)
        similarity[i, j] /= (p.mean() ** 2 + t.mean() ** 2 + c1) * (cov[0, 0] + cov[1, 1] + c2)
    return similarity


def reference(prediction, truth, area):
    """All scores in plain numpy, over the cells where there is truth."""
    prediction, truth, area = (field.numpy() for field in (prediction, truth, area))
    valid = ~np.isnan(truth)
    weight = np.broadcast_to(area, truth.shape)[valid]
    error, t = (prediction - truth)[valid], truth[valid]
    mse = np.average(error**2, weights=weight)
    centred = t - np.average(t, weights=weight)
    similarity, centres = [], []
    for day in range(truth.shape[0]):
        whole = ssim_by_loops(prediction[day], truth[day])  # NaN where a cell is missing
        similarity.append(whole[~np.isnan(whole)])
        centres.append(area[3:-3, 3:-3][~np.isnan(whole)])
    similarity, centres = np.concatenate(similarity), np.concatenate(centres)
    return {
        "r2": 1 - mse / np.average(centred**2, weights=weight),
        "rmse": np.sqrt(mse),
        "bias": np.average(error, weights=weight),
        "ssim": np.average(similarity, weights=centres) if centres.size else math.nan,
        "psnr": 20 * np.log10(RANGE / np.sqrt(mse)),
    }


# --- invariants ---


def test_a_perfect_prediction_has_perfect_scores():
    _, truth, area = weather(missing=0.01)
    got = scores_of(truth.nan_to_num(), truth, area).result(RANGE)
    assert got == pytest.approx(
        {"r2": 1, "rmse": 0, "bias": 0, "ssim": 1, "psnr": math.inf}, rel=1e-12
    )


def test_the_mean_of_the_truth_has_no_skill():
    _, truth, area = weather()
    mean = float((truth * area).sum() / (area.sum() * 3))
    got = scores_of(torch.full_like(truth, mean), truth, area).result(RANGE)
    assert got["r2"] == pytest.approx(0, abs=1e-9)
    assert got["bias"] == pytest.approx(0, abs=1e-9)


def test_a_shift_is_all_bias():
    _, truth, area = weather()
    got = scores_of(truth - 2.5, truth, area).result(RANGE)
    assert got["bias"] == pytest.approx(-2.5, rel=1e-12)
    assert got["rmse"] == pytest.approx(2.5, rel=1e-12)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 6), max_size=4), missing=st.sampled_from([0.0, 0.03]))
def test_streamed_in_blocks_and_merged_is_the_whole(cuts, missing):
    prediction, truth, area = weather(times=6, missing=missing)
    edges = [0, *sorted(cuts), 6]
    streamed, merged = Errors(), Errors()
    for start, stop in itertools.pairwise(edges):
        block = prediction[start:stop], truth[start:stop], area
        streamed.add(*block, RANGE)
        merged = scores_of(*block).merge(merged)
    whole = asdict(scores_of(prediction, truth, area))
    assert asdict(streamed) == pytest.approx(whole, rel=1e-12)
    assert asdict(merged) == pytest.approx(whole, rel=1e-12)


def test_merging_leaves_its_parts_and_knows_a_zero():
    one, other = scores_of(*weather(seed=1)), scores_of(*weather(seed=2))
    before = asdict(one), asdict(other)
    assert one.merge(other) == other.merge(one)
    assert one.merge(Errors()) == one
    assert (asdict(one), asdict(other)) == before


def test_scale_of_the_area_makes_no_difference():
    prediction, truth, area = weather(missing=0.02)
    once = scores_of(prediction, truth, area).result(RANGE)
    again = scores_of(prediction, truth, 510e6 * area).result(RANGE)
    assert again == pytest.approx(once, rel=1e-11)


# --- values ---


@pytest.mark.parametrize("missing", [0.0, 0.01])
@pytest.mark.parametrize(("rows", "columns"), [(11, 17), (7, 8), (12, 7)])
def test_against_numpy(rows, columns, missing):
    fields = weather(2, rows, columns, missing=missing)
    got = scores_of(*fields).result(RANGE)
    assert got.keys() == NAMES
    assert got == pytest.approx(reference(*fields), rel=1e-9, nan_ok=True)


def test_ssim_of_each_window_against_loops():
    prediction, truth, _ = weather(2, 9, 13)
    got = ssim_map(prediction, truth, RANGE)
    assert got.shape == (2, 3, 7)
    for day in range(2):
        expected = ssim_by_loops(prediction[day].numpy(), truth[day].numpy())
        np.testing.assert_allclose(got[day], expected, rtol=1e-9)


def test_ssim_against_torchmetrics():
    torchmetrics = pytest.importorskip("torchmetrics.functional.image")
    prediction, truth, area = weather(3, 10, 15)
    # torchmetrics divides (co)variances by n where we, as Wang et al. 2004, divide by n - 1; a
    # smaller constant makes up for it
    cells = SSIM_WINDOW**2
    expected = torchmetrics.structural_similarity_index_measure(
        prediction[:, None],
        truth[:, None],
        gaussian_kernel=False,
        kernel_size=SSIM_WINDOW,
        data_range=RANGE,
        k2=SSIM_K2 * ((cells - 1) / cells) ** 0.5,
        return_full_image=True,
    )[1][:, 0, 3:-3, 3:-3]
    assert_close(ssim_map(prediction, truth, RANGE), expected, rtol=1e-9, atol=0)
    got = scores_of(prediction, truth, torch.ones_like(area)).result(RANGE)
    assert got["ssim"] == pytest.approx(float(expected.mean()), rel=1e-9)


def test_psnr_rmse_and_r2_against_torchmetrics():
    functional = pytest.importorskip("torchmetrics.functional")
    prediction, truth, area = weather()
    got = scores_of(prediction, truth, torch.ones_like(area)).result(RANGE)
    p, t = prediction.flatten(), truth.flatten()
    assert got["psnr"] == pytest.approx(
        float(functional.image.peak_signal_noise_ratio(p, t, data_range=RANGE)), rel=1e-6
    )
    assert got["rmse"] == pytest.approx(
        float(functional.mean_squared_error(p, t, squared=False)), rel=1e-9
    )
    assert got["r2"] == pytest.approx(float(functional.r2_score(p, t)), rel=1e-9)


def test_psnr_in_decibel():
    assert psnr(1.0, 10.0) == pytest.approx(20, rel=1e-14)
    assert psnr(0.01, 10.0) == pytest.approx(40, rel=1e-14)
    assert psnr(0.0, 10.0) == math.inf


def test_float32_fields_are_summed_in_float64():
    fields = [field.float() for field in weather(missing=0.02)]
    got = scores_of(*fields).result(RANGE)
    assert got == pytest.approx(reference(*(field.double() for field in fields)), rel=1e-9)


# --- masks and borders ---


def test_a_missing_cell_takes_its_windows_and_nothing_else():
    prediction, truth, area = weather(1, 11, 17)
    whole = scores_of(prediction, truth, area)
    truth[0, 5, 8] = torch.nan
    masked = scores_of(prediction, truth, area)
    assert masked.weight == pytest.approx(whole.weight - float(area[5, 8]), rel=1e-12)
    # centres of the windows of 7 x 7 that hold the cell, and are whole: rows 3..7, columns 5..11
    lost = float(area[3:8, 5:12].sum())
    assert masked.ssim_weight == pytest.approx(whole.ssim_weight - lost, rel=1e-12)


def test_what_is_predicted_where_there_is_no_truth_makes_no_difference():
    prediction, truth, area = weather(missing=0.05)
    expected = asdict(scores_of(prediction, truth, area))
    for filler in (torch.nan, torch.inf, -1e30):
        filled = torch.where(truth.isnan(), filler, prediction)
        assert asdict(scores_of(filled, truth, area)) == expected


def test_inputs_are_left_as_they_were():
    fields = weather(missing=0.05)
    copies = [field.clone() for field in fields]
    scores_of(*fields)
    for field, copy in zip(fields, copies, strict=True):
        assert_close(field, copy, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("rows", "columns"), [(6, 17), (11, 6), (1, 1)])
def test_fields_below_a_window_have_no_ssim_but_all_else(rows, columns):
    fields = weather(9, rows, columns)
    got = scores_of(*fields).result(RANGE)
    assert math.isnan(got["ssim"])
    prediction, truth, area = (field.numpy() for field in fields)
    mse = np.average((prediction - truth) ** 2, weights=np.broadcast_to(area, truth.shape))
    assert got["rmse"] == pytest.approx(np.sqrt(mse), rel=1e-9)
    assert math.isfinite(got["r2"])


def test_nothing_to_score_is_nan_throughout():
    prediction, truth, area = weather()
    for scores in (Errors(), scores_of(prediction, truth * torch.nan, area)):
        got = scores.result(RANGE)
        assert got.keys() == NAMES
        assert all(math.isnan(value) for value in got.values())


@pytest.mark.parametrize("constant", [0.0, 1.0, 247.3030882364675, 101325.1])
@pytest.mark.parametrize("seed", range(4))
def test_constant_truth_has_no_r2(constant, seed):
    prediction, truth, area = weather(seed=seed)
    truth = torch.full_like(truth, constant)
    area = area * (1 + 0.1 * torch.rand(area.shape, generator=torch.Generator().manual_seed(seed)))
    got = scores_of(prediction, truth, area).result(RANGE)
    assert math.isnan(got["r2"])
    assert math.isfinite(got["rmse"])


def test_r2_of_a_small_variance_upon_a_large_mean():
    prediction, truth, area = weather()
    prediction, truth = (101325 + 1e-1 * (field - 280) for field in (prediction, truth))
    got = scores_of(prediction, truth, area).result(RANGE)
    assert got["r2"] == pytest.approx(reference(prediction, truth, area)["r2"], rel=1e-5)


# --- errors ---


def test_a_prediction_missing_where_there_is_truth_is_refused_and_adds_nothing():
    prediction, truth, area = weather(3, 11, 17)
    truth[0, 0, 0] = torch.nan
    prediction[0, 0, :3] = torch.nan
    scores = Errors()
    message = "Wanted a prediction wherever there is truth, got NaN in 2 of 560 cells.*mask"
    with pytest.raises(ValueError, match=message):
        scores.add(prediction, truth, area, RANGE)
    assert scores == Errors()
