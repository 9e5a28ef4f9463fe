"""The folder of a run: what lies in it, and whether a run may begin or go on there."""

import json
from pathlib import Path

from orbitds.config import TrainConfig

BEST, STATES, RESOLVED = "best", "states", "config.json"
# What the weights before the best ones are called while the two change places.
OLD = ".old"
# Settings that say how a run is carried out, and not what it computes.
FREE = (
    "device",
    "parallel",
    "accumulate",
    "checkpointing",
    "compile",
    "data.workers",
    "data.prefetch",
    "save",
    "log",
    "patience",
)


def check_new(_: TrainConfig, output: Path) -> None:
    """Refuse a folder that holds something."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(
            f"Wanted a new or empty folder for the run, got {output}, which exists. "
            "Choose another one, remove it, or go on from it with --resume."
        )


def check_same_run(config: TrainConfig, output: Path) -> None:
    """Refuse a folder that holds something else than a run of these settings.

    Processes, device and the like may be others: they change nothing but the rounding.
    """
    settings = output / RESOLVED
    if not settings.is_file():
        check_new(config, output)
        return
    earlier = _leaves(json.loads(settings.read_text(encoding="utf-8")))
    now = _leaves(config.model_dump(mode="json"))
    told = [
        f"{name} {now.get(name)!r} (it was {earlier.get(name)!r})"
        for name in sorted(earlier.keys() | now.keys())
        if earlier.get(name) != now.get(name) and not _is_free(name)
    ]
    if told:
        raise ValueError(
            f"Wanted the settings of the run in {output} to go on with it, got {', '.join(told)}. "
            "Give the same ones, or start a new run, with `--from` this one's weights."
        )


def write_settings(config: TrainConfig, output: Path) -> None:
    """Write the settings of a run at its beginning."""
    output.mkdir(parents=True, exist_ok=True)
    partial = output / f"{RESOLVED}.partial"
    partial.write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    partial.replace(output / RESOLVED)


def best_of(run_folder: Path) -> Path | None:
    """Return the folder of the best weights of a run; None if it has none."""
    best = run_folder / BEST
    # the earlier ones, where the run was stopped while the two changed places
    return next((folder for folder in (best, best.with_suffix(OLD)) if folder.is_dir()), None)


def _is_free(name: str) -> bool:
    return any(name == free or name.startswith(f"{free}.") for free in FREE)


def _leaves(settings: dict, prefix: str = "") -> dict[str, object]:
    """Return settings by their dotted names; lists and empty groups as they are."""
    found: dict[str, object] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            found |= _leaves(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
