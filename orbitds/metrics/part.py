"""The sums of a part of the times, as a file: what one process leaves for another."""

import json
from dataclasses import asdict
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from orbitds.metrics.frame import Frame, Traits
from orbitds.metrics.scores import Scores

# Changes with what the sums are; files of another number are refused.
FORMAT = 3


def save_part(scores: Scores, path: Path) -> None:
    """Write the sums to a safetensors file."""
    told = _told(scores) | {"names": scores.names}
    tensors = {json.dumps(key): value.contiguous() for key, value in scores.sums.items()}
    save_file(tensors, path, metadata={"scores": json.dumps(told)})


def load_part(path: Path, traits: Traits, frame: Frame) -> Scores:
    """Return the sums that a process has saved.

    Raises
    ------
    ValueError
        If the file is of another evaluation.
    """
    with safe_open(path, framework="pt") as file:
        told = json.loads((file.metadata() or {}).get("scores", "{}"))
        wanted = json.loads(json.dumps(_told(Scores(traits, frame, ()))))
        unlike = [key for key in ("format", "traits", "frame") if told.get(key) != wanted[key]]
        if unlike:
            raise ValueError(
                f"Wanted a part of this evaluation, got {path}, which differs in "
                f"{', '.join(unlike)}. Remove it, or score in the same way."
            )
        keys = {text: json.loads(text) for text in file.keys()}  # noqa: SIM118  no mapping
        sums = {(kind, key): file.get_tensor(text) for text, (kind, key) in keys.items()}
    names = {kind: tuple(rows) for kind, rows in told["names"].items()}
    return Scores(traits, frame, tuple(told["methods"]), told["members"], names, sums)


def _told(scores: Scores) -> dict:
    return {
        "format": FORMAT,
        "methods": scores.methods,
        "members": scores.members,
        "traits": asdict(scores.traits),
        "frame": scores.frame.fingerprint,
    }
