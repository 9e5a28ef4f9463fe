"""The charts of a variable: which lines they hold, and when there is none."""

import xml.etree.ElementTree as ET

import pytest

from orbitds.eval import charts
from tests.eval.test_table import RAIN, WARM, example

KINDS = [
    charts.spectra,
    charts.quantile_quantile,
    charts.series,
    charts.errors_over_time,
    charts.ranks,
]


def lines_of(svg):
    root = ET.fromstring(svg)
    return [line.get("class").split()[-1] for line in root.iter("polyline")]


def part_of(scores, name=WARM):
    return scores.sel(variable=name)


@pytest.mark.parametrize(
    ("chart", "wanted"),
    [
        (charts.spectra, ["truth", "m0", "m1", "m2"]),
        (charts.quantile_quantile, ["equal", "m0", "m1", "m2"]),
        (charts.series, ["truth", "m0"]),
        (charts.errors_over_time, ["m0", "m1", "m2"]),
        (charts.ranks, ["truth", "m0"]),
    ],
)
def test_a_chart_has_the_lines_of_truth_and_methods(chart, wanted):
    svg = chart(part_of(example(members=4)), "Reslim")
    assert lines_of(svg) == wanted
    label = ET.fromstring(svg).get("aria-label", "")
    assert "2 metre temperature" in label
    assert "Reslim" in label


@pytest.mark.parametrize("chart", KINDS)
def test_without_curves_there_is_no_chart(chart):
    scores = example().drop_dims(["wavenumber", "probability", "time"])
    assert chart(part_of(scores), "Reslim") is None


@pytest.mark.parametrize("chart", KINDS)
def test_curves_without_values_are_no_chart(chart):
    scores = example(members=4)
    for name in scores.data_vars:
        scores[name][:] = float("nan")
    assert chart(part_of(scores, RAIN), "Reslim") is None


def test_rivals_come_first_and_the_superfluous_not_at_all():
    scores = example()
    methods = ["UNet", "nearest", "delta change"]
    scores = scores.assign_coords(method=methods)
    assert charts.chosen(part_of(scores), "UNet") == ["UNet", "delta change"]
    scores = scores.assign_coords(method=["bilinear", "EDSR", "delta change"])
    assert charts.chosen(part_of(scores), "EDSR") == ["EDSR", "bilinear", "delta change"]


@pytest.mark.parametrize(
    ("units", "wanted"),
    [("m s-1", "m s⁻¹"), ("K", "K"), ("kg m-2", "kg m⁻²"), ("1", "1"), ("log1p(mm)", "log1p(mm)")],
)
def test_powers_of_units_are_raised(units, wanted):
    assert charts.spelled(units) == wanted
