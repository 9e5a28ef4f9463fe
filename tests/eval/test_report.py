"""The table: the same numbers as Markdown, as JSON and on the terminal."""

import json
import math
import re
from dataclasses import replace

import pytest
import xarray as xr

from orbitds.eval.report import FILES, Row, Table, markdown, show, write_report
from tests.eval.test_table import RAIN, WARM, example

NAN, INF = float("nan"), float("inf")
ROWS = (
    Row("wind", "m s-1", "nearest", 0.91234, 1.60049, -0.0004, 0.8, 26.5),
    Row("wind", "m s-1", "Reslim", 0.98765, 0.45678, 0.25, 0.97531, 36.349),
    Row("wind", "m s-1", "bicubic", 0.95, 0.9, 0.0, 0.97532, 30.0),
    Row("rain", "mm", "Reslim", -0.5, 3.25, -1.5, NAN, 18.75),
    Row("rain", "mm", "nearest", -0.25, 3.125, 2.0, NAN, 19.0),
)
TABLE = Table(ROWS, 12, "2004-01-01", "2004-12-01", "18 x 36 cells of 10 x 10 degrees")
KEYS = ("rmse", "bias", "r2", "ssim", "psnr")


def parsed(text):
    """Return (variable, method, cells of the scores) of each line of a Markdown table."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {len(row) for row in cells} == {7}
    header, rule, *rows = cells
    assert header == ["variable", "method", "RMSE", "bias", "R2", "SSIM", "PSNR (dB)"]
    assert all(re.fullmatch("-+:?", cell) for cell in rule)
    label = ""
    found = []
    for row in rows:
        label = row[0] or label
        found.append((label, row[1], row[2:]))
    return found


# --- Markdown -----------------------------------------------------------------------------------


def test_markdown_has_the_numbers():
    found = parsed(markdown(TABLE))
    assert len(found) == len(ROWS)
    for label, method, cells in found:
        (row,) = (r for r in ROWS if (f"{r.variable} ({r.units})", r.method) == (label, method))
        numbers = [float(cell.strip("*")) for cell in cells]
        wanted = [getattr(row, key) for key in KEYS]
        digits = (0.0005, 0.0005, 0.00005, 0.00005, 0.005)
        for got, number, half in zip(numbers, wanted, digits, strict=True):
            assert got == pytest.approx(number, abs=half * 1.001, nan_ok=True)


def test_the_smallest_error_comes_first():
    order = [(label.split()[0], method) for label, method, _ in parsed(markdown(TABLE))]
    assert order == [
        ("rain", "nearest"),
        ("rain", "Reslim"),
        ("wind", "Reslim"),
        ("wind", "bicubic"),
        ("wind", "nearest"),
    ]


def test_the_best_of_each_variable_is_bold():
    bold = {
        (label.split()[0], method): [
            key for key, cell in zip(KEYS, cells, strict=True) if re.fullmatch(r"\*\*.+\*\*", cell)
        ]
        for label, method, cells in parsed(markdown(TABLE))
    }
    assert bold == {
        ("rain", "nearest"): ["rmse", "r2", "psnr"],
        ("rain", "Reslim"): [],
        ("wind", "Reslim"): ["rmse", "r2", "psnr"],
        ("wind", "bicubic"): ["ssim"],
        ("wind", "nearest"): [],
    }


def test_equals_share_the_bold_and_one_method_has_none():
    twins = replace(TABLE, rows=(ROWS[0], replace(ROWS[0], method="other")))
    assert markdown(twins).count("**1.600**") == 2
    assert "*" not in markdown(replace(TABLE, rows=ROWS[:1]))
    perfect = replace(ROWS[0], method="truth", rmse=0.0, psnr=INF)
    assert "**inf**" in markdown(replace(TABLE, rows=(ROWS[0], perfect)))


def test_markdown_says_what_was_scored():
    first = markdown(TABLE).splitlines()[0]
    for word in ("Area-weighted", "12 times", "2004-01-01", "2004-12-01", TABLE.grid):
        assert word in first


# --- files and terminal -------------------------------------------------------------------------


@pytest.fixture
def scores():
    """A table of scores, without maps, which take their time."""
    return example().drop_vars(["bias_map", "rmse_map"])


def test_the_main_table_is_that_of_all_seasons_and_regions(scores):
    table = Table.of(scores)
    assert [(row.variable, row.method) for row in table.rows] == [
        (name, method) for name in (WARM, RAIN) for method in ("Reslim", "bilinear", "delta change")
    ]
    whole = scores["value"].sel(region="all", season="all")
    for row in table.rows:
        for key in KEYS:
            where = {"variable": row.variable, "method": row.method, "metric": key}
            assert getattr(row, key) == float(whole.sel(where))
    assert {row.units for row in table.rows} == {"K", "mm"}
    assert (table.times, table.first, table.last) == (24, "2004-01-01", "2005-12-14")


def test_methods_that_a_variable_lacks_have_no_row(scores):
    scores["value"].loc[{"variable": WARM, "method": ["Reslim", "delta change"]}] = NAN
    methods = [row.method for row in Table.of(scores).rows if row.variable == WARM]
    assert methods == ["Reslim", "bilinear"]  # what is evaluated has one, even without a score


def test_the_files_hold_the_table(scores, tmp_path):
    scores["value"].loc[{"variable": WARM, "method": "Reslim", "metric": "psnr"}] = INF
    write_report(scores, tmp_path / "new" / "folder", {"command": "orbitds eval"})
    written = tmp_path / "new" / "folder"
    assert sorted(path.name for path in written.iterdir()) == sorted(FILES)
    table = Table.of(scores)
    assert (written / "scores.md").read_text("utf-8") == markdown(table)
    content = json.loads((written / "scores.json").read_text("utf-8"), parse_constant=pytest.fail)
    records = content.pop("scores")
    assert content == json.loads(json.dumps(table.as_dict()))
    assert content["rows"][0]["psnr"] is None
    page = (written / "report.html").read_text("utf-8")
    assert "orbitds eval" in page
    assert f"{table.rows[0].rmse:.3f}" in page
    with xr.open_dataset(written / "scores.nc") as stored:
        xr.testing.assert_equal(stored, scores)
        assert stored.attrs["command"] == "orbitds eval"
    assert len(records) == 3 * 3 * 3 * 5


def test_records_hold_all_that_is_defined(scores, tmp_path):
    scores["value"].loc[{"variable": WARM, "method": "Reslim", "metric": "psnr"}] = INF
    scores["value"].loc[{"variable": RAIN, "season": "DJF"}] = NAN
    scores["low"].loc[{"metric": "mae"}] = NAN
    write_report(scores, tmp_path)
    records = json.loads((tmp_path / "scores.json").read_text("utf-8"))["scores"]
    by_place = {(r["variable"], r["method"], r["region"], r["season"]): r for r in records}
    assert not [place for place in by_place if place[0] == RAIN and place[3] == "DJF"]
    found = by_place[WARM, "Reslim", "land", "JJA"]
    part = scores.sel({"variable": WARM, "method": "Reslim", "region": "land", "season": "JJA"})
    known = part["value"].dropna("metric")
    assert list(found["value"]) == list(known["metric"].values)
    assert found["value"].pop("psnr") is None
    assert found["value"] == {m: float(known.sel(metric=m)) for m in found["value"]}
    assert "mae" in found["value"]
    assert "mae" not in found["low"]
    assert found["high"]["mae"] == float(part["high"].sel(metric="mae"))


def test_nothing_is_half_written(scores, tmp_path, monkeypatch):
    (tmp_path / "scores.md").write_text("earlier")

    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full)
    with pytest.raises(OSError, match="no space"):
        write_report(scores, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.md"]
    assert (tmp_path / "scores.md").read_text() == "earlier"


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_plain_values_have_null_for_what_is_not_finite(value):
    row = replace(ROWS[0], psnr=value, bias=1e300)
    table = replace(TABLE, rows=(row,))
    (plain,) = table.as_dict()["rows"]
    assert plain["psnr"] is None
    assert plain["bias"] == 1e300
    assert not math.isfinite(row.psnr)  # the table itself is as it was


def test_show_prints_every_number(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    show(TABLE)
    printed = capsys.readouterr().out
    assert "12 times, 2004-01-01 to 2004-12-01" in printed
    lines = printed.splitlines()
    for _, method, cells in parsed(markdown(TABLE)):
        numbers = [cell.strip("*") for cell in cells]
        assert any(all(word in line for word in (method, *numbers)) for line in lines)
    assert "bold" not in printed
    assert "wind (m s-1)" in printed
