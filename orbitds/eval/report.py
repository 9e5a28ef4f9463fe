"""The table of scores as Markdown, as JSON and on the terminal."""

import json
import math
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

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

    def as_dict(self) -> dict:
        """Return plain values for JSON; what is not finite becomes null."""
        content = asdict(self)
        for row in content["rows"]:
            for key, value in row.items():
                if isinstance(value, float) and not math.isfinite(value):
                    row[key] = None
        return content


def write_report(scored: Table, folder: Path) -> None:
    """Write ``scores.md`` and ``scores.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scores.md").write_text(markdown(scored), encoding="utf-8")
    text = json.dumps(scored.as_dict(), indent=2, allow_nan=False)
    (folder / "scores.json").write_text(text + "\n", encoding="utf-8")


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
