"""What a checkpoint folder says of itself, found and checked without building the network."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from orbitds.config import ModelConfig
from orbitds.model.orbit2 import Orbit2Config
from orbitds.normalize import Statistics
from orbitds.resources import did_you_mean, share
from orbitds.schema import Frozen

WEIGHTS, DESCRIPTION, CLIMATOLOGY = "weights.safetensors", "orbitds.json", "climatology.safetensors"
SHIPPED = "data_catalog/checkpoints"


class Description(Frozen):
    """What ``orbitds.json`` says."""

    format: Literal[1, 2] = 2
    """Version of this layout; in 1 the rows of `query_key_value` were not yet in order of heads."""
    model: ModelConfig | Orbit2Config
    """Architecture."""
    inputs: tuple[str, ...]
    """Input variables, in the order of the weights."""
    outputs: tuple[str, ...]
    """Output variables."""
    statics: tuple[str, ...]
    """Fine static fields."""
    factor: int
    """Fine cells along the edge of a coarse cell."""
    statistics: dict[str, Statistics]
    """Mean and standard deviation of each variable over the training period."""
    spacing_km: tuple[float, float]
    """Coarse and fine spacing of the training data."""
    same_product: bool = False
    """Whether the coarse training data are block means of the product of the targets, so that the
    means of an answer may be held to the input."""
    objective: Literal["downscale", "masked"] = "downscale"
    """What it learned: to downscale, or to reconstruct hidden parts of its inputs."""
    sha256: dict[str, str]
    """Hash of each safetensors file."""
    provenance: dict[str, Any]
    """Pair, period, steps, versions: how the checkpoint came about."""


def find_checkpoint(name_or_path: str | Path) -> Path:
    """Return the folder of a checkpoint, without reading it."""
    path = Path(name_or_path)
    shipped = sorted(p.name for p in share(SHIPPED).glob("*") if (p / DESCRIPTION).is_file())
    if path.is_file():
        raise ValueError(
            f"Wanted a checkpoint folder with {WEIGHTS} and {DESCRIPTION}, got the file {path}. "
            "A .ckpt, .pt or .pth file is a pickle, which can run code when it is loaded: orbitds "
            "does not. Export the run with `orbitds export`."
        )
    if str(name_or_path) in shipped:
        path = share(f"{SHIPPED}/{name_or_path}")
    elif not path.is_dir():
        raise FileNotFoundError(
            f"Wanted a checkpoint folder or one of the shipped checkpoints {shipped}, got "
            f"{str(name_or_path)!r}. Check the path." + did_you_mean(str(path), shipped)
        )
    missing = [name for name in (WEIGHTS, DESCRIPTION) if not (path / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"Wanted a checkpoint folder with {WEIGHTS} and {DESCRIPTION}, got {path} without "
            f"{' and '.join(missing)}. Export the run with `orbitds export`."
        )
    return path.resolve()


def file_hash(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(folder: Path) -> Description:
    """Return what a checkpoint folder says of itself, and check the hashes of its files.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If it says nothing that fits, or a file is damaged.
    """
    return _describe(folder, file_hash(folder / DESCRIPTION))


@lru_cache(maxsize=4)
def _describe(folder: Path, _description_hash: str) -> Description:
    """Check a folder once per process; the hash makes a replaced checkpoint a new one."""
    try:
        description = Description.model_validate_json((folder / DESCRIPTION).read_bytes())
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))} {e['msg']}" for e in error.errors())
        raise ValueError(
            f"Wanted the description of a checkpoint in {folder / DESCRIPTION}, got "
            f"{told.strip()}. Export the run again."
        ) from error
    if not {WEIGHTS} <= set(description.sha256) <= {WEIGHTS, CLIMATOLOGY}:
        got = sorted(description.sha256)
        raise ValueError(f"Wanted hashes of {WEIGHTS} and {CLIMATOLOGY}, got {got}. Export again.")
    for name, wanted in description.sha256.items():
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"Wanted {folder / name}, which the description beside it names, got no such file. "
                "Copy or export the checkpoint again."
            )
        if (got := file_hash(folder / name)) != wanted:
            raise ValueError(
                f"Wanted {folder / name} with sha256 {wanted}, got {got}: the file is damaged or "
                "was replaced. Copy or export the checkpoint again."
            )
    return description
