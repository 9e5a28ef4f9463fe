"""The settings of a run, from YAML and flags: those of training lie in ``config_train``."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt, model_validator

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
    """Checkpoint: a shipped name, or a folder."""
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
    truth: str | None = None
    """Truth on the same grid: a NetCDF file, a Zarr store or a catalog name; by default the test
    years of `pair`, with their coarse input."""
    output: Path
    """Folder for report.html, scores.md, scores.json and scores.nc."""
    coarse: str | None = None
    """The coarse input; with it the simple methods are scored beside the prediction: nearest,
    bilinear, bicubic, and by the lapse rate for temperature."""
    pair: str | None = None
    """Data pair whose training years delta change and quantile mapping learn from."""
    train_truth: str | None = None
    """Instead of `pair`, the truth of a training period, a file or a catalog name; with
    `train_coarse`."""
    train_coarse: str | None = None
    """The coarse input of the same times as `train_truth`."""
    checkpoint: str | None = None
    """A checkpoint with a climatology; with it and `coarse`, delta change is scored too."""
    others: dict[str, str] = Field(default_factory=dict)
    """Further predictions by what they are called, such as those of trained baselines."""
    regions: tuple[str, ...] | None = None
    """Regions to score apart: names, or GeoJSON files of polygons; land, sea and belts of latitude
    by default."""
    missing: Literal["error", "mask"] = "error"
    """Whether cells without a prediction are an error, or are left out of the scores."""
    label: str | None = None
    """What the prediction is called in the table; by default the checkpoint that it was made with,
    if its attributes say so."""
    overwrite: bool = False
    """Replace earlier scores in the folder."""

    @model_validator(mode="after")
    def _truth_or_pair(self) -> "EvalConfig":
        if self.truth is None and (self.pair is None or self.coarse is not None):
            raise ValueError(
                f"Wanted truth, or pair alone for its test years, got truth {self.truth}, pair "
                f"{self.pair} and coarse {self.coarse}. Give truth, or leave coarse out."
            )
        return self

    @model_validator(mode="after")
    def _simple_methods_have_coarse_data(self) -> "EvalConfig":
        wanting = [
            name
            for name in ("pair", "train_truth", "train_coarse", "checkpoint", "others")
            if getattr(self, name)
        ]
        if self.truth is not None and self.coarse is None and wanting:
            raise ValueError(
                f"Wanted coarse beside {' and '.join(wanting)}, got none: what stands beside the "
                "prediction is made of it or compared with what is. Give coarse."
            )
        return self


def read_config(name_or_path: str | Path, stage: Stage) -> dict:
    """Return the settings of a YAML file, or of one shipped in ``configs``, as flags would.

    A model preset that is referred to by name is replaced by the content of its file.
    """
    settings = read_yaml(locate(name_or_path, f"configs/{stage}"))
    if isinstance(settings.get("model"), str):
        settings["model"] = model_preset(settings["model"]).model_dump()
    return settings
