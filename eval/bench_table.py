"""Put the scores of a benchmark into a table for each task: Markdown and JSON.

    python eval/bench_table.py bench

Reads what eval/bench_tasks.py left in the folder, whatever is finished; says what is not.
"""

import argparse
import json
import math
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from bench_method import RESULT

from orbitds.eval.baselines import DELTA, INTERPOLATIONS, METHODS
from orbitds.eval.table import EVERYWHERE, METRICS, plain_name, units_of

# Of each part, and of a task.
LOG, SCORES = "log.txt", "scores/scores.json"
COLUMNS = (
    "rmse", "bias", "r2", "r2_anomaly", "ssim", "psnr", "rmse_above_95", "rmse_above_99_7",
    "spectral_distance", "skill", "skill_delta",
)  # fmt: skip
SKILLS = ("skill", "skill_delta")


class Row(NamedTuple):
    """Scores of a method for a variable, over all of the test period."""

    variable: str
    method: str
    value: dict[str, float | None]
    low: dict[str, float | None]
    high: dict[str, float | None]


class TaskTable(NamedTuple):
    """What is known of a task."""

    task: str
    scored: str
    """Times and grid of the scores."""
    rows: list[Row]
    results: list[dict[str, Any]]
    """What the finished parts cost."""
    failed: dict[str, str]
    """Why there is no result, by method."""

    @classmethod
    def of(cls, folder: Path) -> "TaskTable":
        """Read what is known of a task; what is begun and not finished has failed."""
        results, failed = [], {}
        for part in sorted(path.parent for path in folder.glob(f"*/{LOG}")):
            if (part / RESULT).is_file():
                results.append(_read(part / RESULT))
            else:
                failed[part.name] = last_words(part / LOG)
        if not (folder / SCORES).is_file():
            if (folder / LOG).is_file():
                failed["the scores"] = last_words(folder / LOG)
            return cls(folder.name, "", [], results, failed)
        scores = _read(folder / SCORES)
        scored = (
            f"{scores['times']} times, {scores['first'][:10]} to {scores['last'][:10]}, on "
            f"{scores['grid']}"
        )
        return cls(folder.name, scored, _rows(scores["scores"]), results, failed)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return self._asdict() | {"rows": [row._asdict() for row in self.rows]}


def main() -> None:
    """Write the tables of a folder, and print the short one."""
    told = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    told.add_argument("output", type=Path, help="folder of the benchmark")
    print(short(write_tables(told.parse_args().output)))


def write_tables(output: Path, task: str | None = None) -> list[TaskTable]:
    """Write ``TASK.json`` and ``TASK.md`` of one task, or of all with ``tasks.md`` of them."""
    folders = sorted(path for path in output.iterdir() if path.is_dir())
    tables = [TaskTable.of(path) for path in folders if task in (None, path.name)]
    for table in tables:
        _write(output / f"{table.task}.json", json.dumps(table.as_dict(), indent=1))
        _write(output / f"{table.task}.md", markdown(table))
    if task is None:
        _write(output / "tasks.md", "\n".join(map(markdown, tables)))
    return tables


def markdown(table: TaskTable) -> str:
    """Return the scores of a task, and what the trained methods cost."""
    lines = [f"## {table.task}", ""]
    if table.rows:
        titles = ["variable", "method", *(METRICS[key].title for key in COLUMNS)]
        lines += [f"Area-weighted over {table.scored}.", "", *_head(titles, left=2)]
        lines += [_line(cells) for cells in _cells(table.rows)]
        lines += ["", *_verdicts(table.rows), ""]
    if table.results:
        budget = table.results[0]["budget"]
        lines += [
            f"Budget of each: {budget['steps']} steps of {budget['batch_size']} samples at most, "
            f"at {len(budget['rates'])} learning rates ({_list(budget['rates'])}); the best on the "
            "validation period is scored.",
            "",
            *_head(["trained", "weights", "rate", "best step", "steps", "seconds", "on"], left=1),
        ]
        lines += [_line(_cost(result)) for result in table.results]
        lines.append("")
    lines += [f"No result of {method}: {why}" for method, why in table.failed.items()]
    return "\n".join(lines).rstrip() + "\n"


def short(tables: Iterable[TaskTable]) -> str:
    """Return the RMSE of each method over that of delta change, a line for each variable."""
    lines = []
    for table in tables:
        for name, rows in _by_variable(table.rows):
            rmse = {row.method: row.value["rmse"] for row in rows}
            known = sorted((value, method) for method, value in rmse.items() if value is not None)
            listed = ", ".join(f"{method} {value:.4g}" for value, method in known)
            lines.append(f"{table.task}, {name}, RMSE in {units_of(name)}: {listed}")
        lines += [f"{table.task}, {method}: {why}" for method, why in table.failed.items()]
    return "\n".join(lines)


def _rows(records: list[dict[str, Any]]) -> list[Row]:
    """Return the rows of whole variables over all places and seasons."""
    return [
        Row(
            record["variable"],
            record["method"],
            *({key: record[kind].get(key) for key in COLUMNS} for kind in ("value", "low", "high")),
        )
        for record in records
        if (record["region"], record["season"]) == (EVERYWHERE, "all")
        and not plain_name(record["variable"])[1]
    ]


def _by_variable(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    ordered = sorted(rows, key=lambda row: row.variable)
    return [(name, list(group)) for name, group in groupby(ordered, key=lambda row: row.variable)]


def _cells(rows: list[Row]) -> list[list[str]]:
    """Return the rows as text, by variable, the best RMSE first."""
    lines = []
    for name, group in _by_variable(rows):
        group = sorted(group, key=lambda row: row.value["rmse"] or math.inf)
        for place, row in enumerate(group):
            label = f"{name} ({units_of(name)})" if place == 0 else ""
            lines.append([label, row.method, *(_number(row, key) for key in COLUMNS)])
    return lines


def _number(row: Row, key: str) -> str:
    value, low, high = (side[key] for side in (row.value, row.low, row.high))
    if value is None:
        return ""
    digits = METRICS[key].digits
    if key not in SKILLS:
        return f"{value:.{digits}f}"
    between = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    return f"{value:.3f}{between}"


def _verdicts(rows: list[Row]) -> list[str]:
    """Return in words whom the trained methods beat, by the interval of their skill."""
    lines = []
    for name, group in _by_variable(rows):
        trained = [row for row in group if row.method not in METHODS]
        for key, other in (("skill", INTERPOLATIONS[1]), ("skill_delta", DELTA)):
            known = [row for row in trained if row.low[key] is not None]
            better = [row.method for row in known if row.low[key] > 0]
            worse = [row.method for row in known if row.high[key] < 0]
            open_ = [row.method for row in trained if row.method not in (*better, *worse)]
            lines.append(
                f"* {name}, against {other}: better {_list(better)}; worse {_list(worse)}; not to "
                f"be told {_list(open_)}."
            )
    return lines


def _cost(result: dict[str, Any]) -> list[str]:
    best = result["best"]
    steps = ", ".join(str(run["steps"]) for run in result["runs"])
    seconds = ", ".join(f"{run['seconds']:.0f}" for run in result["runs"])
    return [
        result["method"], f"{result['parameters']:,}", f"{best['rate']:g}", str(best["best_step"]),
        steps, seconds, result["device"],
    ]  # fmt: skip


def _head(titles: list[str], *, left: int) -> list[str]:
    return [_line(titles), "|" + "---|" * left + "---:|" * (len(titles) - left)]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _list(items: Iterable[object]) -> str:
    return ", ".join(str(item) for item in items) or "none"


def last_words(log: Path) -> str:
    """Return why a part is not finished, by the last line of its log."""
    lines = log.read_text(encoding="utf-8").split("\n") if log.is_file() else []
    words = [line.strip() for line in lines if line.strip()]
    return f"not finished; last heard: {words[-1] if words else 'nothing'}"


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    main()
