"""The rows of a measurement as a table for people."""

from collections.abc import Sequence
from typing import Any

HEAD = ("size", "case", "ms", "samples/s", "efficiency", "exposed", "NCCL ms", "bare ms", "GiB")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return measured rows as Markdown; of a case that failed the reason."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---|---|" + "---:|" * (len(HEAD) - 2)]
    for row in rows:
        name = row["case"]
        if axes := row.get("axes"):
            told = " x ".join(f"{axis} {size}" for axis, size in axes.items())
            name += f" ({told}{', ' + str(row['parts']) + ' tiles' if row['parts'] > 1 else ''})"
        if "error" in row:
            lines.append(f"| {row['size']} | {name} | {row['error']} " + "| " * 7 + "|")
            continue
        profile = row.get("profile_ms", {})
        cells = [
            f"{row['ms']:.1f}",
            _cell(row.get("samples_per_s"), "{:.2f}"),
            _cell(row.get("efficiency"), "{:.3f}"),
            _cell(row.get("exposed"), "{:.1%}"),
            _cell(profile.get("nccl"), "{:.1f}"),
            _cell(profile.get("exposed"), "{:.1f}"),
            _cell(row.get("gib"), "{:.2f}"),
        ]
        lines.append(f"| {row['size']} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
