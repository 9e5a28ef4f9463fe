"""Intervals of tails and of yearly extremes: over months, and over years."""

import numpy as np

from orbitds.metrics.bootstrap import times_drawn
from orbitds.metrics.results import scalars
from orbitds.metrics.scores import Scores
from tests.metrics.frames import days, weather
from tests.metrics.test_results import FRAME, WARM, scored


def test_tails_have_intervals_over_months():
    for kind in ("warm", "rain"):
        got, *_ = scored(300, kind)
        for name in ("rmse_above_68", "rmse_above_95", "quantile_bias_95", "wasserstein"):
            value, low, high = got[name][:, :, 0, 0]
            assert (low < value).all(), name
            assert (value < high).all(), name
            assert np.isnan(got[name][1:, :, 0, 1]).all(), name  # a winter has three months
    few, *_ = scored(40)
    assert np.isnan(few["quantile_bias_95"][1:]).all()


def test_an_interval_of_tails_is_that_of_scores_of_drawn_months():
    got, fields, truth, _ = scored(300)
    months = [at.month_label for at in days(300)]
    order = np.array([sorted(set(months)).index(month) for month in months])
    counts = times_drawn(len(set(months)), draws=1000)
    values = []
    for count in counts[:150]:
        days_of = np.repeat(np.arange(300), count[order].astype(int))
        t, p = (field.numpy()[days_of] for field in (truth, fields["model"]))
        weight = np.broadcast_to(FRAME.area.numpy(), t.shape).ravel()
        place = np.argsort(t, axis=None)
        reached = np.cumsum(weight[place])
        above = place[reached > 0.95 * reached[-1]]
        error = (p - t).ravel()[above]
        values.append(np.average(error**2, weights=weight[above]) ** 0.5)
    expected = np.quantile(values, (0.025, 0.975))
    np.testing.assert_allclose(got["rmse_above_95"][1:, 0, 0, 0], expected, rtol=0.01)


def test_yearly_extremes_have_intervals_over_years():
    fields, truth = weather(28)
    found = Scores(WARM, FRAME, tuple(fields))
    found.add(fields, truth, [at for year in range(2001, 2008) for at in days(4, f"{year}-05-01")])
    got = scalars(found)
    for name in ("txx_bias", "txx_rmse"):
        value, low, high = got[name][:, :, :, 0]
        assert (low < value).all()
        assert (value < high).all()
    few, *_ = scored(150)
    assert np.isnan(few["txx_bias"][1:]).all()
