"""Scores by region and season against a plain computation on the whole; their intervals."""

import numpy as np
import pytest
import torch

from orbitds.metrics.frame import Traits
from orbitds.metrics.results import blocks_of, scalars
from orbitds.metrics.scores import Scores
from orbitds.metrics.structure import ssim_map
from orbitds.metrics.tails import Bins
from tests.metrics.frames import days, frame_of, weather

SEASONS = ["all", "DJF", "MAM", "JJA", "SON"]
WARM = Traits(100.0, Bins(170.0, 350.0), extreme="txx")
RAIN = Traits(300.0, Bins(0.0, 2000.0, is_log1p=True), is_rain=True, extreme="rx1day")
FRAME = frame_of()


def scored(times=150, kind="warm", missing=0.0, *, first="2003-11-20", members=None):
    fields, truth = weather(times, missing=missing, kind=kind)
    found = Scores(
        RAIN if kind == "rain" else WARM,
        FRAME,
        tuple(fields),
        0 if members is None else len(members),
    )
    found.add(fields, truth, days(times, first), members=members)
    return scalars(found, {"skill": "bilinear"}), fields, truth, found


def chosen(season, times=150, first="2003-11-20"):
    return [at.season == season or season == "all" for at in days(times, first)]


@pytest.mark.parametrize("missing", [0.0, 0.03])
def test_each_season_and_region_is_what_numpy_finds(missing):
    got, fields, truth, _ = scored(missing=missing)
    for s, season in enumerate(SEASONS[:3]):
        days_of = np.array(chosen(season))
        t_all = truth.numpy()[days_of]
        mean = np.nanmean(t_all, axis=0)
        for m, field in enumerate(fields.values()):
            similarity = ssim_map(field, truth, 100.0).numpy()[days_of]
            for r, mask in enumerate(FRAME.regions.values()):
                valid = ~np.isnan(t_all) & mask.numpy()
                w = np.broadcast_to(FRAME.area.numpy(), valid.shape)[valid]
                error, t = (field.numpy()[days_of] - t_all)[valid], t_all[valid]
                mse = np.average(error**2, weights=w)
                centre = (FRAME.area * mask).numpy()[3:-3, 3:-3] * ~np.isnan(similarity)
                expected = {
                    "rmse": mse**0.5,
                    "mae": np.average(abs(error), weights=w),
                    "bias": np.average(error, weights=w),
                    "r2": 1 - mse / np.average((t - np.average(t, weights=w)) ** 2, weights=w),
                    "r2_anomaly": 1 - mse / np.average((t_all - mean)[valid] ** 2, weights=w),
                    "psnr": 20 * np.log10(100 / mse**0.5),
                    "ssim": (centre * np.nan_to_num(similarity)).sum() / centre.sum(),
                }
                for name, value in expected.items():
                    assert got[name][0, m, r, s] == pytest.approx(value, rel=1e-6), (name, season)
    assert np.isnan(got["rmse"][0, :, :, 3]).all()  # no summer


def test_skill_is_that_of_the_mean_squared_errors():
    got, *_ = scored()
    mse = got["rmse"][0] ** 2
    np.testing.assert_allclose(got["skill"][0, 0], 1 - mse[0] / mse[1], rtol=1e-9)
    np.testing.assert_allclose(got["skill"][0, 1, :, :3], 0, atol=1e-12)
    low, high = got["skill"][1:, 0, 0, 0]
    assert low < got["skill"][0, 0, 0, 0] < high
    # pairs are drawn together: a method against itself has no spread
    np.testing.assert_allclose(got["skill"][1:, 1, 0, 0], 0, atol=1e-12)


def test_wet_days():
    got, fields, truth, _ = scored(kind="rain")
    area = np.broadcast_to(FRAME.area.numpy(), truth.shape)

    def wet(field):
        marks = field.numpy() >= 1
        return np.average(marks, weights=area), np.average(field[marks], weights=area[marks])

    for m, field in enumerate(fields.values()):
        (frequency, intensity), (wanted, amount) = wet(field), wet(truth)
        assert got["wet_day_frequency_bias"][0, m, 0, 0] == pytest.approx(frequency - wanted)
        assert got["wet_day_intensity_bias"][0, m, 0, 0] == pytest.approx(intensity - amount)
    assert 0 < got["fss_1mm_5"][0, 0, 0, 0] < 1
    assert np.isfinite(got["rx1day_rmse"][0, :, :, 0]).all()
    assert "txx_bias" not in got


def test_temperature_has_no_rain_and_extremes_of_the_year_only():
    got, *_ = scored()
    assert "fss_1mm_5" not in got
    assert "crps" not in got
    assert np.isfinite(got["txx_bias"][0, :, :, 0]).all()
    assert np.isnan(got["txx_bias"][0, :, :, 1:]).all()


def test_intervals_hold_the_value_and_widen_with_the_level_of_noise():
    got, *_ = scored()
    for name in ("rmse", "mae", "bias", "r2", "pearson", "psnr", "ssim", "r2_anomaly"):
        value, low, high = got[name][:, :, :, 0]
        assert (low <= value).all(), name
        assert (value <= high).all(), name
        assert (low < high).all(), name
    assert np.isnan(got["wasserstein"][1:, :, 1:]).all()  # tails: of the whole grid alone
    assert np.isnan(got["rmse"][1:, ..., 4]).sum() == 16  # eleven days of autumn: two blocks


def test_blocks_are_months_where_there_are_enough():
    assert blocks_of(scored(40)[3]) == (5, "third of a month")
    assert blocks_of(scored(380)[3]) == (14, "month")


def test_few_times_have_no_interval_and_still_scores():
    got, *_ = scored(3)
    assert np.isfinite(got["rmse"][0, :, :, 0]).all()
    assert np.isnan(got["rmse"][1:]).all()


def test_a_perfect_prediction_is_perfect_without_a_warning():
    fields, truth = weather(80, kind="rain")
    found = Scores(RAIN, FRAME, ("p", "bilinear"))
    found.add({"p": truth, "bilinear": fields["model"]}, truth, days(80))
    got = {name: value[0, 0, 0, 0] for name, value in scalars(found, {"skill": "bilinear"}).items()}
    for name in ("rmse", "mae", "bias", "wasserstein", "spectral_distance", "rmse_above_95"):
        assert got[name] == 0, name
    for name in ("r2", "r2_anomaly", "pearson", "ssim", "skill", "fss_10mm_5", "block_index"):
        assert got[name] == pytest.approx(1, abs=1e-9), name
    assert got["psnr"] == np.inf


def test_an_ensemble_has_its_scores_beside_methods_that_are_none():
    generator = torch.Generator().manual_seed(0)
    _, truth = weather(40)
    noise = torch.randn(5, *truth.shape, generator=generator, dtype=torch.float64)
    centre = truth + torch.randn(truth.shape, generator=generator, dtype=torch.float64)
    members = centre + noise
    found = Scores(WARM, FRAME, ("mean", "first"), 5)
    found.add({"mean": members.mean(dim=0), "first": members[0]}, truth, days(40), members=members)
    got = scalars(found)
    assert got["spread_skill"][0, 0, 0, 0] == pytest.approx(1, rel=0.03)
    # N(0, 1) about a truth drawn alike: 1 / sqrt(pi)
    assert got["crps"][0, 0, 0, 0] == pytest.approx(1 / np.pi**0.5, rel=0.03)
    assert np.isnan(got["crps"][0, 1]).all()
