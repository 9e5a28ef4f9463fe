"""The artefact that training leaves and inference takes: a folder without code in it.

``weights.safetensors`` holds the weights, ``orbitds.json`` everything else that is needed to use
them, ``climatology.safetensors`` (optional) the monthly climatology and the fine static fields of
the training region.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from orbitds.description import (
    CLIMATOLOGY,
    DESCRIPTION,
    WEIGHTS,
    Description,
    file_hash,
    find_checkpoint,
    member,
    name_of,
    parse_description,
    read_description,
)
from orbitds.model.interface import DownscalingModel
from orbitds.normalize import Normalizer, Statistics
from orbitds.region import Region, check_shapes
from orbitds.sets import Choice, TrainingSet
from orbitds.tensors import UnfitError, open_tensors
from orbitds.weights import bare_model, read_weights

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
        Where it lies; None for one that was made or changed in memory.
    identity
        Hash of its description, which holds the hashes of all else; None as of the folder.
    choice
        What of a checkpoint of several sets it is; None for a whole one.

    Notes
    -----
    One that lies in a folder pickles as the folder and its identity, without weights: so it travels
    to other processes, which load it once, and refuse another that has taken its place.
    """

    model: DownscalingModel
    description: Description
    region: Region | None = None
    name: str = "in memory"
    # not to be given: a copy with a changed part does not lie in the folder
    folder: Path | None = field(default=None, init=False)
    identity: str | None = field(default=None, init=False)
    choice: Choice | None = field(default=None, init=False)

    def __reduce__(self) -> tuple[Callable[..., "Checkpoint"], tuple[Any, ...]]:
        if self.folder is None:
            told = self.model, self.description, self.region, self.name
            return _in_memory, (*told, self.choice)
        return load_same, (self.folder, self.identity, self.choice)

    def of(self, choice: Choice) -> "Checkpoint":
        """Return a part of a checkpoint of several sets, as one that knows nothing else.

        The weights are the same, and so is the part whenever the same is asked for.
        """
        return _part_of(self, choice)

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
    sets: Sequence[TrainingSet] = (),
    window_cells: tuple[int, int] | None = None,
    weights: Mapping[str, Tensor] | None = None,
    objective: Literal["downscale", "masked"] = "downscale",
) -> None:
    """Write a checkpoint folder.

    Parameters
    ----------
    sets
        The pairs of the model, where these are several.
    window_cells
        Of training, where fields were cropped.
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
        format=3 if sets else 2,
        model=model.config,
        inputs=model.inputs,
        outputs=model.outputs,
        statics=model.statics,
        factor=model.factor,
        statistics=dict(statistics),
        spacing_km=spacing_km,
        same_product=same_product,
        window_cells=window_cells,
        sets=tuple(sets),
        objective=objective,
        sha256=sha256,
        provenance={"orbitds": metadata.version("orbitds"), **provenance},
    )
    (folder / DESCRIPTION).write_text(
        json.dumps(description.stored(), indent=2) + "\n", encoding="utf-8"
    )


def load_checkpoint(name_or_path: str | Path) -> Checkpoint:
    """Load a checkpoint by its name or its folder, and check its hashes; once in a process.

    Nothing in a checkpoint is ever executed: weights are safetensors, the rest is JSON. Memory is
    taken for what fits together alone: the weights once.

    Parameters
    ----------
    name_or_path
        The name of a shipped checkpoint, a folder, or a name on the Hugging Face Hub,
        ``hf://owner/name@revision``.

    Raises
    ------
    OSError
        If there is no such checkpoint.
    ValueError
        If it is a pickle, damaged, or does not fit together.
    """
    folder = find_checkpoint(name_or_path)
    with _loading:  # threads that ask at once get the same one
        return _load(folder, read_description(folder))


def load_same(folder: Path, identity: str, choice: Choice | None = None) -> Checkpoint:
    """Load the checkpoint, or the part, that lay in a folder when its identity was taken.

    Raises
    ------
    ValueError
        If another one has taken its place.
    """
    checkpoint = load_checkpoint(folder)
    if checkpoint.identity != identity:
        raise ValueError(
            f"Wanted the checkpoint in {folder} that the job began with, {identity[:12]}, got "
            f"another one, {str(checkpoint.identity)[:12]}. Put the first one back, or begin anew."
        )
    return checkpoint if choice is None else checkpoint.of(choice)


def _in_memory(
    model: DownscalingModel,
    description: Description,
    region: Region | None,
    name: str,
    choice: Choice | None,
) -> Checkpoint:
    checkpoint = Checkpoint(model, description, region, name)
    object.__setattr__(checkpoint, "choice", choice)
    return checkpoint


@lru_cache(maxsize=8)
def _part_of(whole: Checkpoint, choice: Choice) -> Checkpoint:
    """Make a part once: what was prepared for it, on a device, is found again by it."""
    model = whole.model.at(
        choice.factor, inputs=choice.inputs, outputs=choice.outputs, statics=choice.statics
    )
    part = _in_memory(model, whole.description.of(choice), whole.region, whole.name, choice)
    object.__setattr__(part, "folder", whole.folder)
    object.__setattr__(part, "identity", whole.identity)
    return part


def _save(tensors: dict[str, Tensor], path: Path) -> str:
    save_file(tensors, path)
    path.chmod(0o644)  # safetensors makes files that nobody else can read
    return file_hash(path)


_loading = Lock()


@lru_cache(maxsize=4)
def _load(folder: Path, content: bytes) -> Checkpoint:
    """Load a folder once per process; another description makes it another checkpoint."""
    description = parse_description(folder, content)
    weights = dict(read_weights(folder, description))
    model = bare_model(description)
    model.load_state_dict(weights, assign=True)
    region = None
    if CLIMATOLOGY in description.sha256:
        region = _region(folder, description)
    checkpoint = Checkpoint(model.eval(), description, region, name_of(folder))
    object.__setattr__(checkpoint, "folder", folder)
    object.__setattr__(checkpoint, "identity", hashlib.sha256(content).hexdigest())
    return checkpoint


def _region(folder: Path, description: Description) -> Region:
    """Return the climatology and static fields of a checkpoint."""
    wanted = f"climatology and static fields in {folder / CLIMATOLOGY}"
    path = member(folder, CLIMATOLOGY)
    with open_tensors(path, description.sha256[CLIMATOLOGY], wanted=wanted) as file:
        try:
            check_shapes(
                file.shapes,
                statics=len(description.statics),
                outputs=len(description.outputs),
                factor=description.factor,
            )
            arrays = {
                name: (tensor if name.endswith("_deg") else tensor.float()).numpy()
                for name, tensor in file.read()
            }
            return Region.of(arrays)
        except ValueError as error:
            raise UnfitError(str(error)) from error
