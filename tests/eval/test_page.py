"""The report as a page: its numbers are those of the table, and it stands alone."""

import builtins
import re

import numpy as np
import pytest

from orbitds.eval.page import extra_digits, number, render
from tests.eval.test_html import Tags
from tests.eval.test_table import RAIN, WARM, example


@pytest.fixture
def no_maps(monkeypatch):
    """Without matplotlib and cartopy."""
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] in ("cartopy", "matplotlib"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)


def without_maps(scores):
    return scores.drop_vars(["bias_map", "rmse_map"])


def tables(text):
    """Return the rows of each table by its caption."""
    found = {}
    for block in re.findall(r"<table>.*?</table>", text, flags=re.DOTALL):
        caption = re.search(r"<caption>(.*?)</caption>", block).group(1)
        rows = re.findall(r"<tr[^>]*>(.*?)</tr>", block)
        cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
        found.setdefault(caption, []).append(
            [[re.sub(r"<[^>]+>", "", cell) for cell in row] for row in cells]
        )
    return found


def test_the_key_table_has_the_numbers_and_the_smallest_error_first():
    scores = without_maps(example())
    (rows,) = tables(render(scores))["All methods"]
    assert rows[0][:3] == ["method", "RMSE", "skill"]
    whole = scores.sel(variable=WARM, region="all", season="all")
    errors = whole["value"].sel(metric="rmse")
    order = [str(name) for name in errors.sortby(errors)["method"].values]
    assert [row[0] for row in rows[2:5]] == order
    for row in rows[2:5]:
        part = whole.sel({"method": row[0], "metric": "rmse"})
        told = "{:.3f} {:.3f} to {:.3f}".format(*(float(part[k]) for k in ("value", "low", "high")))
        assert row[1] == told
    assert [row[0] for row in rows[1:]][::4] == [
        "2 metre temperature (K)",
        "precipitation of 24 hours (mm)",
        "logarithm of 1 + precipitation of 24 hours (log1p(mm))",
    ]


def test_the_best_of_a_column_is_marked():
    scores = without_maps(example())
    scores["value"].loc[{"metric": "ssim", "method": "bilinear", "variable": RAIN}] = 0.9876
    text = render(scores)
    assert "<strong>0.9876</strong>" in text


def test_every_variable_has_its_section_with_the_groups_it_has():
    found = tables(render(without_maps(example())))
    warm, rain = "2 metre temperature (K)", "precipitation of 24 hours (mm)"
    assert f"Tails and distribution: {warm}" in found
    assert f"Wet days and heavy rain: {rain}" in found
    assert f"Wet days and heavy rain: {warm}" not in found
    assert f"Ensemble: {warm}" not in found


def test_seasons_and_regions_have_their_tables():
    scores = without_maps(example())
    found = tables(render(scores))
    rows = found["RMSE (K) by season"][0]
    assert rows[0] == ["method", "all", "DJF", "MAM", "JJA", "SON"]
    value = scores["value"].sel(
        {"variable": WARM, "method": "bilinear", "region": "all", "season": "JJA", "metric": "rmse"}
    )
    assert rows[2][4] == f"{float(value):.3f}"
    assert found["skill by region"][0][0] == ["method", "all", "land", "sea"]


def test_one_season_and_one_region_need_no_table():
    scores = without_maps(example()).sel(region=["all"])
    scores["value"].loc[{"season": ["DJF", "MAM", "JJA", "SON"]}] = np.nan
    assert not [caption for caption in tables(render(scores)) if " by " in caption]


def test_the_page_is_well_formed_and_stands_alone():
    scores = example(members=3).sel(variable=[WARM])
    text = render(scores, provenance=[("command", "orbitds eval <x>")])
    tags = Tags(text)
    names = [tag for tag, _ in tags.seen]
    assert names.count("h1") == 1
    assert "script" not in names
    images = [attrs for tag, attrs in tags.seen if tag == "img"]
    assert all(attrs["alt"] and attrs["src"].startswith("data:") for attrs in images)
    links = [attrs["href"][1:] for tag, attrs in tags.seen if tag == "a"]
    ids = [attrs["id"] for _, attrs in tags.seen if "id" in attrs]
    assert sorted(links) == sorted(ids)
    assert "orbitds eval <x>" in tags.text
    assert names.count("svg") == 5


def test_maps_are_drawn_where_they_can_be():
    pytest.importorskip("cartopy")
    text = render(example().sel(variable=[RAIN]))
    assert text.count("data:image/png;base64,") == 1
    assert "RMSE of Reslim, bilinear, delta change" in text
    assert len(text) < 2e6


def test_maps_can_be_left_out():
    text = render(example(), maps=False)
    assert "data:image" not in text
    assert "orbitds[maps]" not in text
    assert text.count("<svg") == render(without_maps(example())).count("<svg") > 0


def test_without_the_extra_the_page_says_what_is_missing(no_maps):
    text = render(example())
    assert "data:image" not in text
    assert text.count("pip install orbitds[maps]") == 3
    assert "<svg" in text


def test_names_of_users_are_escaped():
    scores = without_maps(example())
    methods = scores["method"].values.astype(object)
    methods[0] = "<b>mine</b>"
    text = render(scores.assign_coords(method=methods))
    assert "<b>mine" not in text
    assert "&lt;b&gt;mine" in text


def test_a_table_without_values_is_a_page_too():
    scores = without_maps(example())
    for name in scores.data_vars:
        scores[name][:] = np.nan
    assert "there is nothing to score" in render(scores)


@pytest.mark.parametrize(
    ("value", "metric", "wanted"),
    [
        (1.23456, "rmse", "1.235"),
        (-0.0001, "bias", "0.000"),
        (0.0, "rmse", "0.000"),
        (-0.01, "skill", "-1.0%"),
        (float("inf"), "psnr", "∞"),
        (float("nan"), "r2", "-"),
        (0.98765, "ssim", "0.9877"),
    ],
)
def test_numbers_have_the_digits_of_their_metric(value, metric, wanted):
    assert number(value, metric) == wanted


def test_small_numbers_have_more_digits():
    scores = without_maps(example())
    assert extra_digits(scores.sel(variable=WARM)) == 0
    scores["value"].loc[{"variable": WARM, "metric": ["rmse", "mae"]}] *= 1e-3
    part = scores.sel(variable=WARM)
    assert extra_digits(part) == 3
    assert number(0.000123456, "rmse", 3) == "0.000123"
    assert number(0.98765, "ssim", 3) == "0.9877"
    part["value"][:] = np.nan
    assert extra_digits(part) == 0
