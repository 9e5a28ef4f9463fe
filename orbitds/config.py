"""The settings of a run, from YAML and flags: those of training lie in ``config_train``."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from orbitds.config_model import ModelConfig, model_preset
from orbitds.config_run import LogConfig, ParallelConfig, SaveConfig
from orbitds.config_train import (
    DataConfig,
    LossConfig,
    MaskedConfig,
    OptimConfig,
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
    """What to write: a path that ends in .nc or .zarr, or the address of a Zarr store."""
    factor: PositiveInt | None = None
    """Which factor of a checkpoint that has several; by default that of the training data whose
    spacing is nearest to the input's."""
    variables: tuple[str, ...] | None = None
    """Output variables to write; all of the checkpoint's by default."""
    time: str | None = None
    """Times to downscale, first and last by label: `2001-05:2001-09`, `2001` or `1999-12-31:`."""
    region: str | None = None
    """Cells to downscale, those that lie wholly inside south:north,west:east in degrees:
    `30:60,-10:40`, or across the date line `-50:-30,165:-175`."""
    tiles: str = "auto"
    """Into how many tiles to cut each field: rows and columns such as `2x4`, or `auto`, the whole
    field at once unless it is too large."""
    halo: PositiveInt | None = None
    """Coarse cells around each tile; by default four more than the model's convolutions look over.
    Neighbours are blended there."""
    batch_size: PositiveInt | Literal["auto"] = "auto"
    """Tiles run at once, or `auto`, by the free memory; halved where it runs out."""
    constraints: tuple[Constraint, ...] = ()
    """`order`: minimum <= mean <= maximum temperature. `conserve`: the mean of the fine cells of a
    coarse cell is its value. Physical bounds always hold."""
    missing: Literal["error", "mask"] | None = None
    """Whether NaN is an error, or marks cells that have no output either; by default what the
    catalog says of the input, and an error for a bare file."""
    members: PositiveInt | None = None
    """Fields to draw for each time, along a dimension `member`, from a checkpoint that gives
    members; by default one, without the dimension."""
    spread: bool = False
    """Write the standard deviation of each variable too, as `<name>_spread`."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:1`, or `auto`: the first GPU if there is one; one each for several
    processes on a host."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """In which products are computed; `auto` is bfloat16 on GPUs that are fast in it, float32
    elsewhere. Interpolation and physical values are in float32 at least."""
    compile: bool = False
    """Compile the model: worth its minute for a long job on a GPU."""
    share: str | None = None
    """Do a part of the job, the K-th of N as `K/N`, while other processes do theirs into the same
    output; torchrun, srun and SLURM arrays say it by themselves."""
    split: Literal["year", "month"] | None = None
    """Write a NetCDF file for each year or month: fine_2001.nc, fine_2001-05.nc."""
    zarr_format: int = Field(default=3, ge=2, le=3)
    """Format of a Zarr store; 2 for readers that do not know shards."""
    resume: bool = False
    """Go on with an unfinished job; begin where there is none. It is refused where input,
    checkpoint or options are others."""
    overwrite: bool = False
    """Replace the output if it exists, when the new one is whole; and forget an unfinished job."""
    keep_going: bool = False
    """Where values of the input are not usable, go on with other times; the exit status is 1 then,
    and the output is not finished."""


class InferConfig(InferOptions):
    """One downscaling job from file to file."""

    input: tuple[str, ...]
    """Coarse data: NetCDF files, Zarr stores or patterns of them, an address or a catalog name."""

    @field_validator("input", mode="before")
    @classmethod
    def _one_or_more(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value


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
    tiles: str | None = Field(default=None, pattern=r"^[1-9]\d*x[1-9]\d*$")
    """Into how many rows and columns of tiles the prediction was cut, such as `2x4`: then the seam
    index says how visible their borders are."""
    ssim: Literal["uniform", "gaussian"] = "uniform"
    """Window of the structural similarity: 7 x 7 cells, or 11 x 11 cells with Gaussian weights."""
    missing: Literal["error", "mask"] = "error"
    """Whether cells without a prediction are an error, or are left out of the scores."""
    label: str | None = None
    """What the prediction is called in the table; by default the checkpoint that it was made with,
    if its attributes say so."""
    maps: bool = True
    """Maps of the errors in report.html; their fields are in scores.nc in any case."""
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
