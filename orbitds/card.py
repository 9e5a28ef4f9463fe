"""What a checkpoint is, told to people: what it takes and gives, its terms, where it lies."""

from pathlib import Path
from typing import Any

from orbitds.description import FILES, SHIPPED, Description, describe
from orbitds.hub import snapshot_name
from orbitds.periods import each
from orbitds.resources import plain, share
from orbitds.sets import TrainingSet

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
    own = description.spacing_km, description.factor
    grids = [_grid(one.spacing_km, one.factor) for one in description.sets] or [_grid(*own)]
    told = {key: description.provenance.get(key) for key in TERMS}
    told["licence"] = told["licence"] or UNKNOWN
    size = sum((folder / file).stat().st_size for file in FILES if (folder / file).is_file())
    card = {
        **{key: plain(str(text)) for key, text in told.items() if text},
        "folder": f"{folder} ({_whereabouts(folder)}, {size / 1e6:.3g} MB)",
        "grid": "; ".join(dict.fromkeys(grids)),
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
    if description.sets:
        card["sets"] = {plain(one.pair): _set(one) for one in description.sets}
    return card


def _grid(spacing_km: tuple[float, float], factor: int) -> str:
    coarse, fine = spacing_km
    return f"{coarse:.4g} km to {fine:.4g} km, {factor} times finer"


def _set(one: TrainingSet) -> dict[str, Any]:
    """Return what there is to know of one of several sets that a checkpoint was trained on."""
    south, north, west, east = one.box_deg
    return {
        "grid": _grid(one.spacing_km, one.factor),
        "inputs": list(map(plain, one.inputs)),
        "outputs": list(map(plain, one.outputs)),
        "statics": list(map(plain, one.statics)),
        "place": f"latitude {south:.4g} to {north:.4g}, longitude {west:.4g} to {east:.4g}",
        "period": [plain(label) for period in each(one.period) for label in period],
        "share": one.share,
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
