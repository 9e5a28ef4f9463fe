"""The table of scores as Markdown, JSON, NetCDF, HTML, and on the terminal."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import xarray as xr
from rich.console import Console
from rich.table import Table as RichTable

from orbitds.eval.page import render
from orbitds.eval.table import EVERYWHERE, SCALARS, plain_name

# What a report leaves in its folder.
FILES = ("scores.md", "scores.json", "scores.nc", "report.html")

# Digits after the point, per column; RMSE and bias are in the variable's unit.
_COLUMNS = {
    "rmse": ("RMSE", 3),
    "bias": ("bias", 3),
    "r2": ("R2", 4),
    "ssim": ("SSIM", 4),
    "psnr": ("PSNR (dB)", 2),
}


@dataclass(frozen=True)
class Row:
    """Scores of one method for one variable."""

    variable: str
    units: str
    method: str
    r2: float
    rmse: float
    bias: float
    ssim: float
    psnr: float


@dataclass(frozen=True)
class Table:
    """All scores of an evaluation and what they were taken over."""

    rows: tuple[Row, ...]
    times: int
    first: str
    last: str
    grid: str

    @classmethod
    def of(cls, scores: xr.Dataset) -> "Table":
        """Return the main columns of a whole table of scores, without logarithms of amounts."""
        whole = scores["value"].sel(region=EVERYWHERE, season="all")
        units = dict(zip(scores["variable"].values, scores["units"].values, strict=True))
        names = [str(name) for name in units if not plain_name(str(name))[1]]
        rows = []
        for name in names:
            for method in map(str, scores["method"].values):
                found = whole.sel({"variable": name, "method": method})
                if found.notnull().any() or method == scores["method"].values[0]:
                    values = {key: float(found.sel(metric=key)) for key in _COLUMNS}
                    rows.append(Row(name, str(units[name]), method, **values))
        told = scores.attrs
        return cls(tuple(rows), int(told["times"]), told["first"], told["last"], told["grid"])

    def as_dict(self) -> dict:
        """Return plain values for JSON; what is not finite becomes null."""
        content = asdict(self)
        for row in content["rows"]:
            for key, value in row.items():
                if isinstance(value, float) and not math.isfinite(value):
                    row[key] = None
        return content


def write_report(
    scores: xr.Dataset,
    folder: Path,
    provenance: Mapping[str, str] | None = None,
    *,
    maps: bool = True,
) -> None:
    """Write ``scores.md``, ``scores.json``, ``scores.nc`` and ``report.html``.

    Each file appears under its name when it is whole.

    Parameters
    ----------
    scores
        See ``table.blank``.
    provenance
        What the scores were made of, by term, for the page and the NetCDF file.
    maps
        Whether the page shows maps; the NetCDF file has their fields in any case.
    """
    told = dict(provenance or {})
    main = Table.of(scores)
    texts = {
        "scores.md": markdown(main),
        "scores.json": _json(main.as_dict(), _records(scores)),
        "report.html": render(scores, provenance=list(told.items()), maps=maps),
    }
    folder.mkdir(parents=True, exist_ok=True)
    parts = {name: folder / f".{name}.part" for name in FILES}
    try:
        for name, words in texts.items():
            parts[name].write_text(words, encoding="utf-8")
        _with(scores, told).to_netcdf(parts["scores.nc"], engine="netcdf4")
        for name, part in parts.items():
            part.replace(folder / name)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def markdown(scored: Table) -> str:
    """Return the table as Markdown, the best value of each variable in bold."""
    titles = ["variable", "method", *(title for title, _ in _COLUMNS.values())]
    lines = [
        f"Area-weighted over {scored.times} times, {scored.first} to {scored.last}, on "
        f"{scored.grid}.",
        "",
        "| " + " | ".join(titles) + " |",
        "|---|---|" + "---:|" * len(_COLUMNS),
    ]
    lines += ["| " + " | ".join(cells) + " |" for cells in _cells(scored, "**{}**")]
    return "\n".join(lines) + "\n"


def show(scored: Table) -> None:
    """Print the table."""
    rich = RichTable(title=f"{scored.times} times, {scored.first} to {scored.last}")
    rich.add_column("variable")
    rich.add_column("method")
    for title, _ in _COLUMNS.values():
        rich.add_column(title, justify="right")
    for cells in _cells(scored, "[bold]{}[/bold]"):
        rich.add_row(*cells)
    Console().print(rich)


def _cells(scored: Table, bold: str) -> list[list[str]]:
    """Return the rows as text, by variable, the best RMSE first."""
    lines = []
    by_variable = sorted(scored.rows, key=lambda row: (row.variable, row.rmse))
    for name, group in groupby(by_variable, key=lambda row: row.variable):
        rows = list(group)
        for place, row in enumerate(rows):
            label = f"{name} ({row.units})" if place == 0 else ""
            numbers = []
            for key, (_, digits) in _COLUMNS.items():
                text = f"{getattr(row, key):.{digits}f}"
                numbers.append(bold.format(text) if _is_best(row, rows, key) else text)
            lines.append([label, row.method, *numbers])
    return lines


def _is_best(row: Row, rows: list[Row], key: str) -> bool:
    if key == "bias":  # interpolation has none by construction: no merit
        return False
    values = [getattr(other, key) for other in rows if not math.isnan(getattr(other, key))]
    if len(values) < 2:
        return False
    best = min(values) if key == "rmse" else max(values)
    return getattr(row, key) == best


def _json(head: dict, records: list[dict]) -> str:
    """Return both as JSON, a record in a line: there are thousands of numbers in them."""
    start = json.dumps(head, indent=2, allow_nan=False).removesuffix("\n}")
    lines = ",\n    ".join(json.dumps(record, allow_nan=False) for record in records)
    return f'{start},\n  "scores": [\n    {lines}\n  ]\n}}\n'


def _records(scores: xr.Dataset) -> list[dict]:
    """Return all scalars as plain values: one record for each method, region and season.

    What is undefined is left out; what is infinite becomes null.
    """
    found = []
    stacked = scores[list(SCALARS)].stack(place=("variable", "method", "region", "season"))
    metrics = [str(name) for name in scores["metric"].values]
    values = {kind: stacked[kind].transpose("place", "metric").values for kind in SCALARS}
    for number, place in enumerate(stacked["place"].values):
        known = ~np.isnan(values["value"][number])
        if not known.any():
            continue
        record: dict = dict(zip(("variable", "method", "region", "season"), place, strict=True))
        for kind in SCALARS:
            row = values[kind][number]
            record[kind] = {
                metric: float(row[m]) if np.isfinite(row[m]) else None
                for m, metric in enumerate(metrics)
                if known[m] and not np.isnan(row[m])
            }
        found.append(record)
    return found


def _with(scores: xr.Dataset, told: dict[str, str]) -> xr.Dataset:
    """Return the table as it is stored: compressed, with where it is from."""
    stored = scores.assign_attrs({key.replace(" ", "_"): value for key, value in told.items()})
    for variable in stored.data_vars.values():
        variable.encoding = {"zlib": True, "complevel": 4}
    return stored
