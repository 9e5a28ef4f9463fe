"""What a checkpoint is, told to people: what it takes and gives, its terms, where it lies."""

from pathlib import Path
from typing import Any

from orbitds.description import FILES, SHIPPED, Description, describe
from orbitds.hub import snapshot_name
from orbitds.resources import plain, share

# What whoever made a checkpoint may say in its provenance, for those who use it.
TERMS = ("title", "licence", "citation")
UNKNOWN = "not stated"


def card_of(folder: Path) -> dict[str, Any]:
    """Return what there is to know of a checkpoint, without its network; weights are not read.

    Raises
    ------
    OSError, ValueError
        If the folder holds no checkpoint.
    """
    description = describe(folder)
    coarse, fine = description.spacing_km
    told = {key: description.provenance.get(key) for key in TERMS}
    told["licence"] = told["licence"] or UNKNOWN
    size = sum((folder / file).stat().st_size for file in FILES if (folder / file).is_file())
    return {
        **{key: plain(str(text)) for key, text in told.items() if text},
        "folder": f"{folder} ({_whereabouts(folder)}, {size / 1e6:.3g} MB)",
        "grid": f"{coarse:.4g} km to {fine:.4g} km, {description.factor} times finer",
        "inputs": list(map(plain, description.inputs)),
        "outputs": list(map(plain, description.outputs)),
        "statics": list(map(plain, description.statics)),
        "answer": _answer(description),
        "architecture": description.model.model_dump(mode="json"),
        "sha256": dict(description.sha256),
        "trained": {
            key: value
            for key, value in description.provenance.items()
            if key not in (*TERMS, "config")
        },
    }


def _answer(description: Description) -> str:
    if description.objective == "masked":
        return "pre-trained only: for `orbitds train --from`, not for downscaling"
    return {
        "field": "one field",
        "gaussian": "a mean and its spread",
        "members": "members of an ensemble",
    }[description.model.predicts]


def _whereabouts(folder: Path) -> str:
    if snapshot_name(folder) is not None:
        return "in the cache of the Hugging Face Hub"
    return "shipped" if folder.is_relative_to(share(SHIPPED)) else "yours"
