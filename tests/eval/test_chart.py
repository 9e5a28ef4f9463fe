"""Line charts: what is drawn where, ticks, gaps, and that the drawing is well-formed."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from orbitds.eval.chart import (
    HEIGHT,
    LONGEST_LINE,
    WIDTH,
    Axis,
    Line,
    line_chart,
    nice_ticks,
    years_of,
)

PLAIN = Axis("plain")
X = np.array([1.0, 2.0, 3.0, 4.0])


def drawn(*lines, x=PLAIN, y=PLAIN, **told):
    svg = line_chart(lines, x, y, alt="<A & B>", **told)
    assert svg is not None
    return ET.fromstring(svg)


def points(root, style):
    lines = [line for line in root.iter("polyline") if line.get("class").split()[-1] == style]
    return [
        np.array([[float(v) for v in pair.split(",")] for pair in line.get("points").split()])
        for line in lines
    ]


def texts(root):
    return [text.text for text in root.iter("text")]


def test_lines_span_the_frame_and_keep_their_shape():
    root = drawn(Line("a", X, np.array([0.0, 10.0, 20.0, 30.0]), "m0"))
    (line,) = points(root, "m0")
    assert line[0, 0] < 0.2 * WIDTH
    assert line[-1, 0] == WIDTH - 12
    assert (np.diff(line[:, 0]) > 0).all()
    assert (np.diff(line[:, 1]) < 0).all()  # upwards
    np.testing.assert_allclose(np.diff(line, n=2, axis=0), 0, atol=0.11)
    assert line[:, 1].min() > 0
    assert line[:, 1].max() < HEIGHT


def test_the_alternative_text_is_escaped_and_a_title():
    root = drawn(Line("a", X, X, "m0"))
    assert root.get("role") == "img"
    assert root.get("aria-label") == "<A & B>"
    assert root.find("title").text == "<A & B>"


def test_labels_of_axes_and_lines_are_there():
    root = drawn(Line("de<lta", X, X, "m1"), x=Axis("km & h"), y=Axis("power"))
    assert {"de<lta", "km & h", "power"} <= set(texts(root))


def test_missing_values_leave_a_gap():
    y = np.array([1.0, 2.0, np.nan, 4.0, 5.0, np.inf, 7.0])
    root = drawn(Line("a", np.arange(7.0), y, "m0"))
    assert [len(run) for run in points(root, "m0")] == [2, 2]


def test_nothing_to_draw_is_no_chart():
    told = {"alt": "", "x": Axis("x"), "y": Axis("y", "log")}
    assert line_chart([], **told) is None
    assert line_chart([Line("a", X, np.full(4, np.nan), "m0")], **told) is None
    assert line_chart([Line("a", X, np.array([-1.0, 0, 0, 5]), "m0")], **told) is None


def test_a_logarithmic_axis_has_equal_steps_for_equal_ratios():
    root = drawn(Line("a", 10.0**X, 10.0 ** (-3 * X), "m0"), x=Axis("x", "log"), y=Axis("y", "log"))
    (line,) = points(root, "m0")
    np.testing.assert_allclose(np.diff(line, n=2, axis=0), 0, atol=0.11)
    assert {"10", "100", "1000"} <= set(texts(root))


def test_equal_axes_have_one_range_and_the_line_of_equal_values():
    root = drawn(Line("a", X, 2 * X, "m0"), equal=True)
    (line,) = points(root, "equal")
    assert len(line) == 2
    (own,) = points(root, "m0")
    # at x = 2, y = 4 lies as far up as x = 4 lies to the right
    share = (own[1, 1] - line[0, 1]) / (line[1, 1] - line[0, 1])
    across = (own[3, 0] - line[0, 0]) / (line[1, 0] - line[0, 0])
    assert share == pytest.approx(across, abs=0.01)


@pytest.mark.parametrize("level", [0.0, 5.0, -273.15])
def test_a_constant_is_drawn_in_the_middle(level):
    (line,) = points(drawn(Line("a", X, np.full(4, level), "m0")), "m0")
    assert np.ptp(line[:, 1]) == 0
    assert 0.3 * HEIGHT < line[0, 1] < 0.6 * HEIGHT


def test_long_lines_are_shortened_to_means():
    x = np.arange(4001.0)
    (line,) = points(drawn(Line("a", x, x % 2, "m0")), "m0")
    assert len(line) == LONGEST_LINE


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0.0, 10.0, [0, 2, 4, 6, 8, 10]),
        (-0.013, 0.011, [-0.01, -0.005, 0, 0.005, 0.01]),
        (273.2, 301.0, [280, 290, 300]),
    ],
)
def test_ticks_are_round(low, high, wanted):
    np.testing.assert_allclose(nice_ticks(low, high), wanted, atol=1e-12)


def test_dates_of_any_calendar_are_years():
    import cftime

    days = np.array(["2004-01-01", "2004-07-02", "2005-12-31"], "datetime64[ns]")
    np.testing.assert_allclose(years_of(days), [2004, 2004.5, 2005.9973], atol=1e-3)
    others = np.array([cftime.Datetime360Day(3000, 2, 30), cftime.DatetimeNoLeap(3000, 7, 1)])
    np.testing.assert_allclose(years_of(others), [3000.161, 3000.5], atol=1e-3)


@pytest.mark.parametrize(
    ("first", "count", "wanted"), [(2004, 0.5, "2004-03"), (2004, 3, "2005-07"), (1950, 70, "1980")]
)
def test_years_have_ticks_of_months_or_years(first, count, wanted):
    x = first + np.linspace(0, count, 20)
    assert wanted in texts(drawn(Line("a", x, x, "m0"), x=Axis("time", "year")))
