"""Measured and predicted rows as tables for people."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from scaling.cases import SIZES
from scaling.cost import Cost
from scaling.predict import Prediction, memory
from training_run import GIB

PROFILE = ("NCCL ms", "bare ms", "kernels ms", "products ms", "idle ms")
HEAD = ("size", "case", "ms", "samples/s", "efficiency", "exposed", *PROFILE, "GiB")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return measured rows as Markdown; of a case that failed the reason."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---|---|" + "---:|" * (len(HEAD) - 2)]
    for row in _with_paced(rows):
        name = row["case"]
        if axes := row.get("axes"):
            told = " x ".join(f"{axis} {size}" for axis, size in axes.items())
            name += f" ({told}{', ' + str(row['parts']) + ' tiles' if row['parts'] > 1 else ''})"
        if "error" in row:
            lines.append(
                f"| {row['size']} | {name} | {row['error']} " + "| " * (len(HEAD) - 3) + "|"
            )
            continue
        cells = [
            f"{row['ms']:.1f}",
            _cell(row.get("samples_per_s"), "{:.2f}"),
            _cell(row.get("efficiency"), "{:.3f}"),
            _cell(row.get("exposed"), "{:.1%}"),
            *_profile(row),
            _cell(row.get("gib"), "{:.2f}"),
        ]
        lines.append(f"| {row['size']} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def efficiency_table(predictions: Iterable[Prediction]) -> str:
    """Return efficiencies by size and number of GPUs as Markdown; where measured, that too.

    What a measurement went into stands in brackets.
    """
    by_way: dict[tuple[str, str], dict[int, Prediction]] = {}
    for one in predictions:
        by_way.setdefault((one.size, one.case), {})[one.processes] = one
    found = [one for way in by_way.values() for one in way.values()]
    seen = {one.processes for one in found if one.measured is not None}
    counts = sorted({one.processes for one in found})
    head = ["size", "way"]
    for number in counts:
        head += [f"{number:,}, measured", f"{number:,}"] if number in seen else [f"{number:,}"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
    for (size, case), way in by_way.items():
        cells = []
        for number in counts:
            one = way.get(number)
            if number in seen:
                cells.append(_cell(one.measured if one else None, "**{:.3f}**"))
            cells.append(_range(one) if one else "")
        lines.append(f"| {size} | {_WAYS[case]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def echo_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return steps among echoes as Markdown: at once, at a pace; memory, and what is predicted."""
    head = ["size", "way", "GPUs", "apart ms", "at once", "at a pace"]
    head += ["NCCL ms", "bare ms", "kernels ms", "idle ms", "GiB", "predicted"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
    for row in rows:
        if "paced" not in row:
            continue
        paced = row["paced"]
        nccl, bare, work, _, idle = _profile(paced)
        expected = memory(SIZES[row["size"]], row["axes"], row["reduce_dtype"]) / GIB
        cells = [_cell(row.get("apart_ms", [None])[0], "{:.1f}")]
        cells += [f"{row['ms']:.1f}", f"{paced['ms']:.1f}", nccl, bare, work, idle]
        cells += [_cell(row["gib"], "{:.2f}"), f"{expected:.2f}"]
        told = f"| {row['size']} | {_WAYS[row['case']]} | {row['processes']} | "
        lines.append(told + " | ".join(cells) + " |")
    return "\n".join(lines)


def parts_table(predictions: Iterable[Prediction]) -> str:
    """Return what steps are made of, in ms, as Markdown."""
    names = ("computing", "waits", "exposed", "contention", "several")
    assert len(names) == len(Cost._fields)
    head = ["size", "way", "GPUs", *names, "step", "communication", "sent GB"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
    for one in predictions:
        told = [f"{1e3 * part:.1f}" for part in (*one.cost, one.cost.step)]
        bare = (one.cost.waits + one.cost.exposed) / one.cost.step
        cells = [f"{one.processes:,}", *told, f"{bare:.1%}", f"{one.sent / 1e9:.3g}"]
        lines.append(f"| {one.size} | {_WAYS[one.case]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _with_paced(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield rows, and after those of echoes what they took at a pace."""
    for row in rows:
        yield row
        if "paced" in row:
            told = {name: value for name, value in row.items() if name not in ("gib", "paced")}
            yield told | row["paced"] | {"case": f"{row['case']} at a pace"}


def _profile(row: Mapping[str, Any]) -> list[str]:
    """Return the cells of a profile; idle is what neither kernels nor NCCL alone take."""
    told = row.get("profile_ms")
    if told is None:
        return [""] * len(PROFILE)
    idle = told["span"] - told["work"] - told["exposed"]
    parts = (told["nccl"], told["exposed"], told["work"], told["products"], idle)
    return [f"{part:.1f}" for part in parts]


_WAYS = {
    "tiles": "tiles over copies",
    "tiles-bf16": "tiles over copies, bfloat16",
    "fsdp": "weights shared",
    "fsdp-bf16": "weights shared, bfloat16",
    "hsdp": "two copies, shared",
    "strong": "16 tiles in all",
    "sequence": "sequence",
    "tensor": "tensor",
}


def _range(one: Prediction) -> str:
    low, high = f"{one.low:.3f}", f"{one.high:.3f}"
    told = low if low == high else f"{low} to {high}"
    return f"({told})" if one.is_fitted else told


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
