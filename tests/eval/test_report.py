"""The table: the same numbers as Markdown, as JSON and on the terminal."""

import json
import math
import re
from dataclasses import asdict, replace

import pytest

from orbitds.eval.report import Row, Table, markdown, show, write_report

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


def test_json_equals_the_table(tmp_path):
    write_report(TABLE, tmp_path / "new" / "folder")
    written = tmp_path / "new" / "folder"
    assert (written / "scores.md").read_text("utf-8") == markdown(TABLE)
    content = json.loads((written / "scores.json").read_text("utf-8"))
    rows = content.pop("rows")
    assert content == {
        "times": 12,
        "first": "2004-01-01",
        "last": "2004-12-01",
        "grid": TABLE.grid,
    }
    assert rows == [asdict(row) | ({"ssim": None} if math.isnan(row.ssim) else {}) for row in ROWS]


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_json_has_null_for_what_is_not_finite(tmp_path, value):
    row = replace(ROWS[0], psnr=value, bias=1e300)
    write_report(replace(TABLE, rows=(row,)), tmp_path)
    text = (tmp_path / "scores.json").read_text("utf-8")
    (written,) = json.loads(text, parse_constant=pytest.fail)["rows"]
    assert written["psnr"] is None
    assert written["bias"] == 1e300
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
