"""The report of a check, to be read by people."""

from rich.box import SIMPLE
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from orbitds.data.report import GridCheck, Report, TimesCheck, VariableCheck

# Below this width, a variable's three numbers share a column, and its two names another.
_WIDE = 100


def show(title: str, report: Report, console: Console | None = None) -> None:
    """Print a report: what it is, a row a variable, and then what is wrong, each once."""
    console = console or Console()
    console.print(_body(title, report, wide=console.width >= _WIDE))


def _body(title: str, report: Report, *, wide: bool) -> Group:
    body: list[Text | Table] = [Text(title, style="bold")]
    if report.times is not None:
        body.append(_told("times: ", _times(report.times)))
    if report.grid is not None:
        body.append(_told("grid: ", _grid(report.grid)))
    if report.variables:
        body.append(_table(report, wide=wide))
    body += [_told("- ", problem, "red") for problem in (*report.problems, *_problems(report))]
    body += [_told("- ", note, "yellow") for note in (*report.notes, *_notes(report))]
    if report.unknown:
        told = ", ".join(
            entry.name + (f" (like {entry.nearest})" if entry.nearest else "")
            for entry in report.unknown
        )
        body.append(_told("- ", f"Not in the vocabulary: {told}.", "yellow"))
    verdict = ("accepted", "green") if report.is_accepted else ("refused", "red")
    body.append(Text(f"A run would be {verdict[0]}.\n", style=f"bold {verdict[1]}"))
    return Group(*body)


def _table(report: Report, *, wide: bool) -> Table:
    table = Table(box=SIMPLE, collapse_padding=True, pad_edge=False)
    table.add_column("variable", overflow="fold")
    if wide:
        table.add_column("found as", overflow="fold")
    table.add_column("unit", overflow="fold")
    for column in ("min", "mean", "max") if wide else ("min / mean / max",):
        table.add_column(column, justify="right")
    table.add_column("missing", justify="right")
    table.add_column("verdict")
    for row in report.variables:
        numbers = [_number(value) for value in (row.minimum, row.mean, row.maximum)]
        verdict = Text("refused", style="red") if row.problem else Text("good", style="green")
        if report.problems and not row.cells:
            verdict = Text("not read", style="yellow")
        is_renamed = row.found_as not in (None, row.name)
        name = f"{row.name}\n  from {row.found_as}" if is_renamed and not wide else row.name
        table.add_row(
            name,
            *([row.found_as or "-"] if wide else []),
            _units(row),
            *(numbers if wide else [" / ".join(numbers) if row.cells else "-"]),
            _share(row),
            verdict,
        )
    return table


def _problems(report: Report) -> list[str]:
    """Return what is wrong with variables, each once, however many it is wrong with."""
    groups: dict[tuple[str, str], list[VariableCheck]] = {}
    for row in report.variables:
        if row.problem:
            place = f" (First at {row.first_place}.)" if row.first_place else ""
            groups.setdefault((row.problem.replace(row.name, "each"), place), []).append(row)
    return [
        f"{rows[0].problem}{place}"
        if len(rows) == 1
        else f"{', '.join(row.name for row in rows)}: {shared}{place}"
        for (shared, place), rows in groups.items()
    ]


def _notes(report: Report) -> list[str]:
    return [f"{row.name}: {note}." for row in report.variables for note in row.notes]


def _told(label: str, text: str, style: str = "") -> Text:
    return Text.assemble((label, f"bold {style}".strip()), text)


def _units(row: VariableCheck) -> str:
    if row.found_as is None:
        return row.units
    found = "none" if row.units_found is None else row.units_found
    # some write essays there: the problem quotes them
    found = found if len(found) <= 12 else f"{found[:11]}…"
    return found if found == row.units else f"{found} -> {row.units}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _share(row: VariableCheck) -> str:
    if not row.cells:
        return "-"
    share = row.missing / row.cells
    return "0" if not row.missing else "<0.1%" if share < 0.001 else f"{share:.1%}"


def _times(times: TimesCheck) -> str:
    if times.first is None:
        return f"{times.count}, without dates"
    told = f"{times.count}, {times.first}"
    if times.count > 1:
        told += f" to {times.last}, every {(times.step or '').removeprefix('1 ')}"
    if times.step == "irregular":
        told = told.replace("every irregular", "at irregular steps")
    if times.calendar not in (None, "standard", "proleptic_gregorian"):
        told += f", calendar {times.calendar}"
    if times.missing_steps and times.gap:
        told += (
            f"; {times.missing_steps} left out, the first between {times.gap[0]} and {times.gap[1]}"
        )
    return told


def _grid(grid: GridCheck) -> str:
    height, width = grid.spacing_deg
    km = f"{grid.spacing_km:.0f}" if grid.spacing_km >= 100 else f"{grid.spacing_km:.3g}"
    told = (
        f"{grid.rows} x {grid.columns} cells of {height:.4g} x {width:.4g} degrees "
        f"({km} km), latitude {grid.latitude[0]:g} to {grid.latitude[1]:g}, "
        f"longitude {grid.longitude[0]:g} to {grid.longitude[1]:g}"
    )
    return told + (", round the globe" if grid.periodic else "")
