"""The settings of a run, from YAML and flags: those of training lie in ``config_train``."""

from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from orbitds.config_model import ModelConfig, model_preset
from orbitds.config_train import (
    DataConfig,
    LogConfig,
    LossConfig,
    MaskedConfig,
    OptimConfig,
    ParallelConfig,
    SaveConfig,
    TilesConfig,
    TrainConfig,
)
from orbitds.resources import locate, read_yaml
from orbitds.schema import Frozen, parse

__all__ = [
    "Constraint",
    "DataConfig",
    "EvalConfig",
    "InferConfig",
    "InferOptions",
    "LogConfig",
    "LossConfig",
    "MaskedConfig",
    "ModelConfig",
    "OptimConfig",
    "ParallelConfig",
    "SaveConfig",
    "Stage",
    "TilesConfig",
    "TrainConfig",
    "model_preset",
    "parse",
    "read_config",
]

Stage = Literal["train", "infer", "eval"]
Constraint = Literal["order", "conserve"]


class InferOptions(Frozen):
    """How to downscale, whatever the input."""

    checkpoint: str
    """Checkpoint: a shipped name, a folder, or `hf://owner/name@revision`."""
    output: Path
    """What to write: a path that ends in .nc or .zarr."""
    variables: tuple[str, ...] | None = None
    """Output variables to write; all of the checkpoint's by default."""
    tiles: str | None = None
    """`auto`, or rows and columns such as `2x4`; by default the whole field at once."""
    batch_size: PositiveInt | None = None
    """Tiles run at once; chosen from the field's size by default."""
    constraints: tuple[Constraint, ...] = ()
    """`order`: minimum <= mean <= maximum temperature. `conserve`: the mean of the fine cells of a
    coarse cell is its value. Physical bounds always hold."""
    missing: Literal["error", "mask"] | None = None
    """Whether NaN is an error, or marks cells that have no output either; by default what the
    catalog says of the input, and an error for a bare file."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:1`, or `auto`: the first GPU if there is one."""
    overwrite: bool = False
    """Replace the output if it exists."""


class InferConfig(InferOptions):
    """One downscaling job from file to file."""

    input: str
    """Coarse data: a NetCDF file, a Zarr store or a catalog name."""


class EvalConfig(Frozen):
    """One evaluation of a prediction against the truth."""

    prediction: str
    """Prediction: a NetCDF file, a Zarr store or a catalog name."""
    truth: str
    """Truth on the same grid: a NetCDF file, a Zarr store or a catalog name."""
    output: Path
    """Folder for scores.md and scores.json."""
    coarse: str | None = None
    """The coarse input; with it nearest, bilinear and bicubic are scored beside the prediction."""
    checkpoint: str | None = None
    """A checkpoint with a climatology; with it and `coarse`, delta change is scored too."""
    missing: Literal["error", "mask"] = "error"
    """Whether cells without a prediction are an error, or are left out of the scores."""
    label: str | None = None
    """What the prediction is called in the table; by default the checkpoint that it was made with,
    if its attributes say so."""
    overwrite: bool = False
    """Replace earlier scores in the folder."""


def read_config(name_or_path: str | Path, stage: Stage) -> dict:
    """Return the settings of a YAML file, or of one shipped in ``configs``, as flags would.

    A model preset that is referred to by name is replaced by the content of its file.
    """
    settings = read_yaml(locate(name_or_path, f"configs/{stage}"))
    if isinstance(settings.get("model"), str):
        settings["model"] = model_preset(settings["model"]).model_dump()
    return settings
