"""Scores from sums against numpy and scipy, over masks and regions."""

import numpy as np
import pytest
import torch
from scipy import stats

from orbitds.metrics import moments
from orbitds.metrics.moments import ERRORS, TRUTH, error_products, truth_sums
from tests.metrics.frames import frame_of, weather

OFFSET = 255.0


def summed(prediction, truth, area):
    """Return the sums over all cells and times."""
    valid = ~truth.isnan()
    centred = torch.where(valid, truth - OFFSET, 0.0).flatten(1)
    prediction, truth = (f.where(valid, 0.0).flatten(1) for f in (prediction, truth))
    over_times = [valid.flatten(1).sum(dim=0)[None].double(), truth_sums(centred)]
    over_times.append(error_products(prediction, truth, centred).sum(dim=1))
    values = torch.cat(over_times) @ area.flatten()
    return dict(zip(("weight", *TRUTH, *ERRORS), values.tolist(), strict=True))


def sums_of(missing=0.1, *, shift=0.0, scale=1.0):
    """Return sums over all times, and the values they are of, by region."""
    frame = frame_of()
    fields, truth = weather(4, missing=missing)
    truth, prediction = shift + scale * truth, shift + scale * fields["model"]
    valid = ~truth.isnan()
    rows, values = [], []
    for mask in frame.regions.values():
        chosen = (valid & mask).numpy()
        weight = np.broadcast_to(frame.area.numpy(), chosen.shape)[chosen]
        values.append((prediction.numpy()[chosen], truth.numpy()[chosen], weight))
        rows.append(summed(prediction, truth, frame.area * mask))
    sums = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return sums, values


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_each_score_is_numpys_in_each_region(missing):
    sums, values = sums_of(missing)
    for region, (p, t, w) in enumerate(values):
        error = p - t
        mse = np.average(error**2, weights=w)
        variance = np.average((t - np.average(t, weights=w)) ** 2, weights=w)
        covariance = np.cov(p, t, aweights=w)
        expected = {
            "rmse": mse**0.5,
            "mae": np.average(abs(error), weights=w),
            "bias": np.average(error, weights=w),
            "r2": 1 - mse / variance,
            "pearson": covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]),
        }
        for name, value in expected.items():
            assert getattr(moments, name)(sums)[region] == pytest.approx(value, rel=1e-10), name


def test_pearson_is_scipys_where_cells_are_alike():
    fields, truth = weather(3)
    sums = summed(fields["model"], truth, torch.ones(truth.shape[1:], dtype=torch.float64))
    got = moments.pearson({name: np.array([value]) for name, value in sums.items()})
    expected = stats.pearsonr(fields["model"].flatten(), truth.flatten()).statistic
    assert got[0] == pytest.approx(expected, rel=1e-11)


def test_a_large_mean_leaves_small_errors_exact():
    sums, values = sums_of(shift=101325 - 255, scale=0.01)
    for region, (p, t, w) in enumerate(values):
        mse = np.average((p - t) ** 2, weights=w)
        assert moments.rmse(sums)[region] == pytest.approx(mse**0.5, rel=1e-9)
        variance = np.average((t - np.average(t, weights=w)) ** 2, weights=w)
        assert moments.r2(sums)[region] == pytest.approx(1 - mse / variance, rel=1e-4)


def test_skill_against_a_reference():
    own, reference = (
        {"error_squared": np.array([1.0, 2.0])},
        {"error_squared": np.array([4.0, 0.0])},
    )
    np.testing.assert_array_equal(moments.skill(own, reference), [0.75, np.nan])


def test_nothing_and_constants_are_nan():
    nothing = {
        name: np.zeros(2)
        for name in ("weight", "truth", "truth_squared", "error", "error_squared",
                     "error_absolute", "error_truth")
    }  # fmt: skip
    for score in (moments.rmse, moments.mae, moments.bias, moments.r2, moments.pearson):
        assert np.isnan(score(nothing)).all()
    constant = nothing | {
        "weight": np.full(2, 3.0),
        "truth": np.full(2, 30.3),
        "truth_squared": np.full(2, 3 * 10.1**2),
        "error_squared": np.ones(2),
    }
    assert np.isnan(moments.r2(constant)).all()
    assert np.isnan(moments.pearson(constant)).all()
    assert np.isfinite(moments.rmse(constant)).all()
