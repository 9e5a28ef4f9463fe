"""Curves and maps: against numpy on all times at once."""

import numpy as np
import torch

from orbitds.metrics import curves
from orbitds.metrics.frame import Traits
from orbitds.metrics.scores import Scores
from orbitds.metrics.tails import Bins
from tests.metrics.frames import days, frame_of, weather

FRAME = frame_of()
WARM = Traits(100.0, Bins(170.0, 350.0))


def scored(times=50, missing=0.05, members=None, detailed=None):
    fields, truth = weather(times, missing=missing)
    found = Scores(WARM, FRAME, tuple(fields), 0 if members is None else len(members))
    found.add(fields, truth, days(times, detailed=detailed), members=members)
    return found, fields, truth


def test_maps_are_means_over_time():
    found, fields, truth = scored()
    bias, rmse = curves.maps(found)
    error = (fields["bilinear"] - truth).numpy()
    np.testing.assert_allclose(bias[1], np.nanmean(error, axis=0), rtol=1e-9)
    np.testing.assert_allclose(rmse[1], np.nanmean(error**2, axis=0) ** 0.5, rtol=1e-9)


def test_cells_without_truth_are_nan_on_maps():
    fields, truth = weather(4)
    truth[:, 3, 5] = torch.nan
    found = Scores(WARM, FRAME, tuple(fields))
    found.add(fields, truth, days(4))
    bias, _ = curves.maps(found)
    assert np.isnan(bias).sum() == 2
    assert np.isnan(bias[:, 3, 5]).all()


def test_series_are_area_means_of_the_valid_cells():
    found, fields, truth = scored()
    labels, means = curves.series(found, 100)
    assert labels == [at.label for at in days(50)]
    valid = (~truth.isnan()).numpy()
    for row, field in enumerate((truth, *fields.values())):
        for day in (0, 17, 49):
            weight = FRAME.area.numpy()[valid[day]]
            wanted = np.average(field.numpy()[day][valid[day]], weights=weight)
            np.testing.assert_allclose(means[row, day], wanted, rtol=1e-12)


def test_long_series_are_means_of_neighbours():
    found, *_ = scored(missing=0.0)
    _, each = curves.series(found, 50)
    labels, means = curves.series(found, 20)
    assert len(labels) == means.shape[1] == 17
    assert labels[1] == days(50)[3].label
    np.testing.assert_allclose(means[:, 0], each[:, :3].mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(means[:, -1], each[:, 48:].mean(axis=1), rtol=1e-12)


def test_spectra_are_means_over_detailed_times():
    found, fields, truth = scored(20, missing=0.0, detailed={2, 11})
    got = curves.spectra(found)
    for row, field in zip(got, (truth, *fields.values()), strict=True):
        expected = FRAME.rings.power(field[[2, 11]], None)[0].mean(dim=0)
        np.testing.assert_allclose(row, expected, rtol=1e-9)


def test_quantiles_of_all_seasons():
    found, fields, truth = scored(missing=0.0)
    got = curves.quantiles(found, np.array([0.1, 0.5, 0.9]))
    weight = np.broadcast_to(FRAME.area.numpy(), truth.shape).ravel()
    for row, field in zip(got, (truth, *fields.values()), strict=True):
        values = field.numpy().ravel()
        below = [weight[values <= value].sum() / weight.sum() for value in row]
        np.testing.assert_allclose(below, [0.1, 0.5, 0.9], atol=2e-3)


def test_ranks_sum_to_one_where_there_are_members():
    fields, _ = weather(6)
    members = fields["model"] + torch.randn(3, 6, 18, 27, dtype=torch.float64)
    found, *_ = scored(6, members=members)
    np.testing.assert_allclose(curves.ranks(found).sum(), 1)
    assert curves.ranks(scored(2)[0]) is None
