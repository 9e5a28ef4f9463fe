"""The artefact that training leaves and inference takes: a folder without code in it.

``weights.safetensors`` holds the weights, ``orbitds.json`` everything else that is needed to use
them, ``climatology.safetensors`` (optional) the monthly climatology and the fine static fields of
the training region.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from orbitds.description import (
    CLIMATOLOGY,
    DESCRIPTION,
    WEIGHTS,
    Description,
    describe,
    file_hash,
    find_checkpoint,
)
from orbitds.model.block import rows_by_head
from orbitds.model.build import build
from orbitds.model.interface import DownscalingModel
from orbitds.normalize import Normalizer, Statistics
from orbitds.region import Region

# Attribute of a dataset that names the checkpoint it was made with.
MADE_WITH = "orbitds_checkpoint"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained model with everything it needs to be used: it knows what it eats.

    Attributes
    ----------
    model
        The network in evaluation mode, on the CPU.
    description
        Architecture, variables, factor, statistics, provenance.
    region
        Fine statics and climatology of the training region; None if the model takes neither.
    name
        The name or folder it came from.
    folder
        The folder it was loaded from, absolute; None if it was not.
    """

    model: DownscalingModel
    description: Description
    region: Region | None = None
    name: str = "in memory"
    folder: Path | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Input variables."""
        return self.description.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Output variables."""
        return self.description.outputs

    @property
    def factor(self) -> int:
        """Fine cells along the edge of a coarse cell."""
        return self.description.factor

    @property
    def fingerprint(self) -> str:
        """Hash of the weights: what an output file says it was made with."""
        return self.description.sha256[WEIGHTS]

    def normalizer(self, names: tuple[str, ...]) -> Normalizer:
        """Return the normaliser of some of the variables."""
        return Normalizer(names, self.description.statistics)


def save_checkpoint(
    folder: Path,
    model: DownscalingModel,
    *,
    statistics: Mapping[str, Statistics],
    spacing_km: tuple[float, float],
    provenance: Mapping[str, Any],
    region: Region | None = None,
    same_product: bool = False,
    weights: Mapping[str, Tensor] | None = None,
    objective: Literal["downscale", "masked"] = "downscale",
) -> None:
    """Write a checkpoint folder.

    Parameters
    ----------
    weights
        The model's weights, where it does not hold them itself.

    Raises
    ------
    FileExistsError
        If the folder holds something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"Wanted an empty place for the checkpoint, got {folder}, which exists. "
            "Choose another folder, or remove this one."
        )
    folder.mkdir(parents=True, exist_ok=True)
    held = model.state_dict() if weights is None else weights
    weights = {name: tensor.detach().contiguous() for name, tensor in held.items()}
    sha256 = {WEIGHTS: _save(weights, folder / WEIGHTS)}
    if region is not None:
        tensors = {
            name: torch.tensor(array).contiguous() for name, array in region.arrays().items()
        }
        sha256[CLIMATOLOGY] = _save(tensors, folder / CLIMATOLOGY)
    description = Description(
        model=model.config,
        inputs=model.inputs,
        outputs=model.outputs,
        statics=model.statics,
        factor=model.factor,
        statistics=dict(statistics),
        spacing_km=spacing_km,
        same_product=same_product,
        objective=objective,
        sha256=sha256,
        provenance={"orbitds": metadata.version("orbitds"), **provenance},
    )
    (folder / DESCRIPTION).write_text(
        json.dumps(description.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8"
    )


def load_checkpoint(name_or_path: str | Path) -> Checkpoint:
    """Load a checkpoint by its shipped name or its folder, and check its hashes.

    Nothing in a checkpoint is ever executed: weights are safetensors, the rest is JSON.

    Raises
    ------
    FileNotFoundError
        If there is no such checkpoint.
    ValueError
        If it is a pickle, damaged, or does not fit together.
    """
    folder = find_checkpoint(name_or_path).absolute()
    return _load(folder, file_hash(folder / DESCRIPTION))


def _save(tensors: dict[str, Tensor], path: Path) -> str:
    save_file(tensors, path)
    path.chmod(0o644)  # safetensors makes files that nobody else can read
    return file_hash(path)


@lru_cache(maxsize=4)
def _load(folder: Path, _description_hash: str) -> Checkpoint:
    """Load a folder once per process; the hash makes a replaced checkpoint a new one."""
    description = describe(folder)
    model = build(
        description.model,
        inputs=description.inputs,
        outputs=description.outputs,
        statics=description.statics,
        factor=description.factor,
    )
    try:
        model.load_state_dict(_weights(folder, description))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"Wanted weights that fit the architecture in {folder / DESCRIPTION}, got {error}. "
            "Export the run again."
        ) from error
    region = None
    if CLIMATOLOGY in description.sha256:
        try:
            tensors = load_file(folder / CLIMATOLOGY)
            region = Region.of({name: tensor.numpy() for name, tensor in tensors.items()})
        except (SafetensorError, KeyError) as error:
            raise ValueError(
                f"Wanted climatology and static fields in {folder / CLIMATOLOGY}, got {error}. "
                "Export the run again."
            ) from error
    return Checkpoint(model.eval(), description, region, folder.name, folder)


def _weights(folder: Path, description: Description) -> dict[str, Tensor]:
    weights = load_file(folder / WEIGHTS)
    if description.format == 1:
        for name, tensor in weights.items():
            if ".query_key_value." in name:
                weights[name] = rows_by_head(tensor, description.model.heads)
    return weights
