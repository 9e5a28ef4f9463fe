"""The verdict in words: better, worse, undecided, and where."""

import numpy as np
import pytest

from orbitds.eval.verdict import best_of, verdict
from tests.eval.test_table import RAIN, WARM, example

OTHERS = ["all", "land", "sea"]


def scored(*, skill=(0.5, 0.4, 0.6), skill_delta=(0.2, 0.1, 0.3), own=1.0, others=2.0):
    """A table in which all but what is told is undecided."""
    scores = example()
    for end, place in zip(("value", "low", "high"), range(3), strict=True):
        scores[end][:] = np.nan
        for metric, values in (("skill", skill), ("skill_delta", skill_delta)):
            scores[end].loc[{"method": "Reslim", "metric": metric}] = values[place]
    scores["value"].loc[{"metric": "rmse"}] = others
    scores["value"].loc[{"metric": "rmse", "method": "Reslim"}] = own
    return scores


def first(scores):
    sentences = verdict(scores)
    assert len(sentences) == 2  # the logarithm is no variable of its own
    return sentences[0]


def test_a_model_that_earns_its_place():
    assert first(scored()) == (
        "2 metre temperature: Reslim is better than bilinear (skill 50%, 40% to 60%) and is better "
        "than delta change (skill 20%, 10% to 30%). No other method has a smaller RMSE."
    )


def test_one_that_does_not():
    scores = scored(skill_delta=(-0.4, -0.6, -0.2), own=2.0)
    scores["value"].loc[{"metric": "rmse", "method": "delta change"}] = 1.0
    text = first(scores)
    assert (
        "is worse than delta change (skill -40%, -60% to -20%) and does not earn its place" in text
    )
    assert "The smallest RMSE is that of delta change." in text


def test_one_that_cannot_be_told_from_a_rival():
    text = first(scored(skill=(0.01, -0.1, 0.12)))
    assert "Reslim cannot be told from bilinear (skill 1%, -10% to 12%)" in text


def test_seasons_and_regions_in_which_it_is_worse_are_named():
    scores = scored()
    scores["value"].loc[
        {"method": "Reslim", "metric": "skill", "season": "DJF", "region": "all"}
    ] = -0.1
    scores["value"].loc[
        {"method": "Reslim", "metric": "skill", "season": "all", "region": "sea"}
    ] = -0.1
    assert "It is worse than bilinear in: DJF, sea." in first(scores)
    assert "worse" not in verdict(scored())[1]


def test_metrics_in_which_others_are_better_are_named():
    scores = scored()
    scores["value"].loc[{"metric": "ssim"}] = 0.8
    scores["value"].loc[{"metric": "ssim", "method": "Reslim"}] = 0.7
    scores["value"].loc[{"metric": "mae"}] = 0.8
    assert first(scores).endswith("Others are better in: SSIM (bilinear).")
    many = scored()
    for metric in ("mae", "ssim", "psnr", "wasserstein", "pearson", "r2", "spectral_distance"):
        good = 1.0 if best_of(np.array([1.0, 2.0]), metric)[0] else 2.0
        many["value"].loc[{"metric": metric}] = good
        many["value"].loc[{"metric": metric, "method": "Reslim"}] = 3 - good
    assert "and 1 more of the metrics below" in first(many)


def test_without_simple_methods_it_says_so():
    scores = scored().isel(method=[0])
    scores["value"].loc[{"metric": ["skill", "skill_delta"]}] = np.nan
    assert "no simple method was scored beside Reslim" in first(scores)


def test_without_intervals_the_value_decides():
    scores = scored(skill=(-0.1, np.nan, np.nan))
    assert "Reslim is worse than bilinear (skill -10%)" in first(scores)


def test_nothing_to_score():
    scores = scored(own=np.nan)
    assert first(scores) == "2 metre temperature: there is nothing to score."
    assert verdict(scores.sel(variable=[RAIN, WARM]))[0].startswith("Precipitation of 24 hours")


@pytest.mark.parametrize(
    ("metric", "values", "wanted"),
    [
        ("rmse", [3, 1, 2], [1]),
        ("r2", [0.3, np.nan, 0.9], [2]),
        ("quantile_bias_95", [-0.2, 0.1, 5], [1]),
        ("block_index", [0.5, 1.2, 3], [1]),
        ("rmse", [1, 1, 2], [0, 1]),
        ("rmse", [1, np.nan, np.nan], []),
        ("bias", [1, 0, 2], []),
    ],
)
def test_the_best_is_by_the_kind_of_the_metric(metric, values, wanted):
    assert np.flatnonzero(best_of(np.array(values), metric)).tolist() == wanted
