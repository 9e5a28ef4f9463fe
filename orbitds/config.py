"""Every setting of a run, as frozen models: one page to read."""

from pathlib import Path
from typing import Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from orbitds.resources import locate, read_yaml
from orbitds.schema import Frozen, parse

Stage = Literal["train", "infer", "eval"]
Constraint = Literal["order", "conserve"]


class ModelConfig(Frozen):
    """The architecture; what it eats and gives is decided by the data pair."""

    kind: Literal["reslim", "vit"] = "reslim"
    """The network: Reslim, or the plain vision transformer it is compared with, whose patches are
    of fine cells."""
    patch: PositiveInt = 2
    """Edge of a patch in coarse cells: one token per patch."""
    width: PositiveInt = 256
    """Width D of the trunk."""
    depth: NonNegativeInt = 6
    """Number of transformer blocks."""
    heads: PositiveInt = 2
    """Attention heads in the trunk and in the aggregation over variables."""
    mlp_ratio: PositiveFloat = 4.0
    """Hidden width of a block's MLP over its width."""
    decoder_depth: NonNegativeInt = 4
    """Hidden layers (Linear, GELU) of the decoder head."""
    base: Literal["bilinear", "bicubic", "delta"] = "bicubic"
    """What the residual path starts from: interpolation, or delta change on the climatology."""
    correction_width: NonNegativeInt = 64
    """Channels of the residual path's convolutions; 0 leaves the base uncorrected."""
    correction_depth: PositiveInt = 2
    """Hidden layers of the residual path: convolutions over coarse cells, fine ones as channels."""
    compression: float = Field(default=1.0, ge=1, le=64)
    """Tokens before over tokens after the quadtree: fine where the field has edges. 1 is off."""
    edge_density: float | None = Field(default=None, ge=0, lt=1)
    """If given, a block splits only above this share of edge cells, so that smooth fields take
    fewer tokens; `compression` remains the least."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout in the blocks' MLP."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Probability of skipping the last block in training; earlier blocks less, linearly."""
    drop_variables: float = Field(default=0.0, ge=0, lt=1)
    """Probability that the trunk does not see a variable of a sample in training."""
    predicts: Literal["field", "gaussian", "members"] = "field"
    """What it says of a cell: a value, a mean with a variance, or one member for each noise vector.
    Training sets it from `loss.kind`."""
    position_octaves: PositiveInt = 8
    """Wavelengths of the position features: the globe's girth halved so many times, less one."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "ModelConfig":
        if self.width % self.heads:
            raise ValueError(
                f"Wanted a width that is a multiple of heads, got width {self.width} and "
                f"{self.heads} heads. Change one of the two."
            )
        return self


class TilesConfig(Frozen):
    """How a field is cut for training."""

    rows: PositiveInt = 1
    """Tiles from north to south."""
    columns: PositiveInt = 1
    """Tiles from west to east."""
    halo_cells: NonNegativeInt = 4
    """Coarse cells added on each side of a tile and dropped from the loss."""


class LossConfig(Frozen):
    """What training minimises."""

    kind: Literal["bayesian", "mse", "l1", "gaussian", "crps"] = "bayesian"
    """Gaussian likelihood with total-variation prior; squared or absolute error; the likelihood of
    a predicted mean and variance; or the fair CRPS of members."""
    members: int = Field(default=2, ge=2)
    """Members a step, for `crps`."""
    tv_weight: NonNegativeFloat = 0.02
    """Weight lambda of the total-variation prior of `bayesian`."""
    tv_weights: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """Weights of the prior for single variables, by name."""
    tv_diagonal: NonNegativeFloat = 0.7
    """Weight of the diagonal neighbours in the prior."""
    tv_of: Literal["field", "residual"] = "residual"
    """What the prior smooths: the whole field, or what the model adds to its base."""


_PREDICTS = {"gaussian": "gaussian", "crps": "members"}


class OptimConfig(Frozen):
    """AdamW with linear warm-up and cosine decay."""

    lr: PositiveFloat = 1e-3
    """Peak learning rate."""
    weight_decay: NonNegativeFloat = 0.01
    """Decay of weight matrices; biases, norms and embeddings are left alone."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the first moment."""
    beta2: float = Field(default=0.98, ge=0, lt=1)
    """Decay of the second moment."""
    warmup_steps: NonNegativeInt = 20
    """Steps of linear warm-up."""
    final_lr_fraction: float = Field(default=0.01, ge=0, le=1)
    """Learning rate at the last step over the peak."""
    clip: PositiveFloat = 1.0
    """Largest norm of the gradient."""


class DataConfig(Frozen):
    """How training reads its samples."""

    workers: NonNegativeInt = 0
    """Processes that read ahead; 0 reads in the training process, for data in memory."""
    prefetch: PositiveInt = 2
    """Batches that each worker reads ahead."""
    history: NonNegativeInt = 0
    """Earlier times of the inputs that are further inputs, such as `2m_temperature@-1`."""
    mirror: tuple[Literal["longitude", "latitude"], ...] = ()
    """Axes along which half of the batches are mirrored; components of vectors change sign."""


class TrainConfig(Frozen):
    """One training run."""

    pair: str | None = None
    """Data pair: a name from `orbitds catalog list`, or the path of a YAML file."""
    pairs: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Instead of `pair`, several by name, each with its share of the steps. Statistics and region
    of the first go into the checkpoint."""
    data: DataConfig = DataConfig()
    """How samples are read."""
    model: ModelConfig = ModelConfig()
    """Architecture; in a file also the name of a preset in configs/model, or its path."""
    tiles: TilesConfig = TilesConfig()
    """How each field is cut; a sample is one tile at one time."""
    loss: LossConfig = LossConfig()
    """Training loss."""
    optim: OptimConfig = OptimConfig()
    """Optimiser and schedule."""
    steps: PositiveInt = 1000
    """Optimiser steps."""
    batch_size: PositiveInt = 16
    """Samples in a step."""
    accumulate: PositiveInt = 1
    """Parts a step's batch is worked through in, to save memory; must divide the batch."""
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    """Decay of the running mean of the weights that is validated and exported; 0 is off."""
    seed: NonNegativeInt = 0
    """Seed of initial weights, sample order and dropout."""
    validate_every: PositiveInt = 100
    """Steps between validations; the best weights are kept."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:1`, or `auto`: the first GPU if there is one."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the trunk; weights and sums stay in float32."""

    @property
    def mixture(self) -> dict[str, float]:
        """The pairs of the run, and the share of the steps that each gets."""
        return {self.pair: 1.0} if self.pair is not None else dict(self.pairs)

    @property
    def architecture(self) -> ModelConfig:
        """The model with the head that the loss needs."""
        predicts = _PREDICTS.get(self.loss.kind, "field")
        return self.model.model_copy(update={"predicts": predicts})

    @model_validator(mode="after")
    def _pair_or_pairs(self) -> "TrainConfig":
        if (self.pair is None) == (not self.pairs):
            raise ValueError(
                f"Wanted either pair or pairs, got pair {self.pair!r} and pairs {self.pairs}. "
                "Give one of the two."
            )
        return self

    @model_validator(mode="after")
    def _head_fits_loss(self) -> "TrainConfig":
        predicts = self.architecture.predicts
        if self.model.predicts not in ("field", predicts):
            raise ValueError(
                f"Wanted model.predicts {predicts!r} for the loss {self.loss.kind!r}, got "
                f"{self.model.predicts!r}. Leave model.predicts out: loss.kind decides."
            )
        return self

    @model_validator(mode="after")
    def _parts_divide_batch(self) -> "TrainConfig":
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"Wanted a batch size that is a multiple of accumulate, got {self.batch_size} "
                f"and {self.accumulate}. Change one of the two."
            )
        return self


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


def model_preset(name_or_path: str | Path) -> ModelConfig:
    """Return an architecture by the name of its preset or the path of a YAML file."""
    path = locate(name_or_path, "configs/model")
    return parse(ModelConfig, read_yaml(path), source=str(path))
