"""The report for people: all names, numbers and problems, at any width."""

import io

import pytest
from rich.console import Console

from orbitds.data.check_table import show
from orbitds.data.report import GridCheck, Report, TimesCheck, Unknown, VariableCheck

GRID = GridCheck(
    rows=4, columns=5, spacing_deg=(10, 5), spacing_km=1111.9, latitude=(70, 40),
    longitude=(165, 185), periodic=False,
)  # fmt: skip
TIMES = TimesCheck(
    count=5, first="3000-02-26", last="3000-03-03", calendar="noleap", step="1 day",
    missing_steps=1, gap=("3000-02-27", "3000-03-01"),
)  # fmt: skip


def row(name="2m_temperature", **others):
    return VariableCheck(name=name, units="K", **others)


def shown(report, width):
    stream = io.StringIO()
    show("some.nc", report, Console(file=stream, width=width))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    return " ".join(stream.getvalue().split())


@pytest.mark.parametrize("width", [72, 80, 120, 200])
def test_everything_is_there_at_any_width(width):
    report = Report(
        variables=(
            row(found_as="tas", units_found="degC", minimum=260, mean=281.25, maximum=300, cells=9),
            row("total_precipitation_24hr", found_as="pr", units_found="mm month-1 (per repo)",
                problem="Wanted total_precipitation_24hr in mm."),
        ),
        grid=GRID, times=TIMES, unknown=(Unknown(name="tas_2", nearest="2m_temperature"),),
    )  # fmt: skip
    text = shown(report, width)
    for word in (
        "some.nc",
        "5, 3000-02-26 to 3000-03-03, every day, calendar noleap; 1 left out, the first between",
        "4 x 5 cells of 10 x 5 degrees (1112 km)",
        "2m_temperature",
        "total_precipitation_24hr",
        "tas",
        "degC -> K",
        "281.2",
        "good",
        "refused",
        "- Wanted total_precipitation_24hr in mm.",
        "tas_2 (like 2m_temperature)",
        "A run would be refused.",
    ):
        assert word in text


def test_one_mistake_of_many_variables_is_told_once():
    names = ("temperature_500", "temperature_850")
    rows = tuple(row(name, problem=f"Wanted {name} on time.", first_place="1 N") for name in names)
    text = shown(Report(variables=rows), 200)
    assert "- temperature_500, temperature_850: Wanted each on time. (First at 1 N.)" in text


@pytest.mark.parametrize(
    ("missing", "share"), [(0, " 0 "), (1, "<0.1%"), (500, "5.0%"), (10_000, "100.0%")]
)
def test_missing_cells_are_a_share(missing, share):
    assert share in shown(Report(variables=(row(cells=10_000, missing=missing),)), 120)


def test_data_without_dates_and_without_grid():
    text = shown(Report(variables=(row(),), times=TimesCheck(count=3)), 80)
    assert "times: 3, without dates" in text
    assert "A run would be accepted." in text
