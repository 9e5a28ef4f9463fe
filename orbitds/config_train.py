"""What training does, as frozen models; how a run is carried out lies in ``config_run``."""

from typing import Literal

from pydantic import (
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from orbitds.config_model import ModelConfig
from orbitds.config_run import LogConfig, ParallelConfig, SaveConfig
from orbitds.schema import Frozen


class TilesConfig(Frozen):
    """How a field is cut for training."""

    rows: PositiveInt = 1
    """Tiles from north to south."""
    columns: PositiveInt = 1
    """Tiles from west to east."""
    halo_cells: NonNegativeInt = 4
    """Coarse cells added on each side of a tile and dropped from the loss."""
    crop_cells: tuple[PositiveInt, PositiveInt] | None = None
    """Instead of tiles, train on windows of so many coarse rows and columns at random places, taken
    whole where a field is smaller; the loss counts all but `halo_cells` at borders inside the
    field. An epoch is each time once. Validation takes tiles of about that size."""
    order: Literal["tiles", "fields"] = "tiles"
    """Shuffle tiles of all times, or times: then a batch is made of whole fields, whose tiles lie
    on neighbouring processes or are worked through one after another (`accumulate`)."""


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
    balance: Literal["variables", "base"] = "variables"
    """How much each output counts: by the weights of the variables, or by one over the mean square
    error of the untrained network, which is its base, so that each output of each pair counts by
    the share of that error which is left."""
    balance_samples: PositiveInt = 64
    """Training samples of each pair from which the error of the base is taken."""


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


class MaskedConfig(Frozen):
    """What masked pre-training hides."""

    share: float = Field(default=0.6, gt=0, lt=1)
    """Share of the field that is hidden."""
    cells: Literal["patches", "quadtree"] = "patches"
    """Hide patches, or leaves of a quadtree: large ones where the field is calm."""


_PREDICTS: dict[str, Literal["gaussian", "members"]] = {"gaussian": "gaussian", "crps": "members"}


class TrainConfig(Frozen):
    """One training run."""

    # `from` is a keyword of Python: files and flags know the one name, code the other
    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    pair: str | None = None
    """Data pair: a name from `orbitds catalog list`, or the path of a YAML file."""
    pairs: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Instead of `pair`, several by name, each with its share of the steps: they may differ in
    grid, factor and variables. Statistics are pooled, and the checkpoint has no region."""
    data: DataConfig = DataConfig()
    """How samples are read."""
    model: ModelConfig = ModelConfig()
    """Architecture; in a file also the name of a preset in configs/model, or its path."""
    objective: Literal["downscale", "masked"] = "downscale"
    """Downscale, or pre-train: reconstruct hidden parts of the coarse inputs."""
    masked: MaskedConfig = MaskedConfig()
    """What the objective `masked` hides."""
    start_from: str | None = Field(default=None, alias="from")
    """Checkpoint whose weights and statistics the run starts from: a shipped name, a folder, that
    of a run, or `hf://owner/name@revision`; heads whose shape differs, and variables it does not
    know, are made anew."""
    freeze: tuple[str, ...] = ()
    """Weights that stay as they are, by patterns of their names such as `trunk.blocks.*`."""
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
    patience: PositiveInt | None = None
    """Validations without a better one after which the run ends."""
    save: SaveConfig = SaveConfig()
    """States from which a stopped run goes on."""
    log: LogConfig = LogConfig()
    """What the run tells."""
    parallel: ParallelConfig = ParallelConfig()
    """How it is spread over processes."""
    checkpointing: Literal["none", "selective", "full"] = "none"
    """What the backward pass computes again instead of keeping it: nothing; all of a block but
    products and attention; whole blocks."""
    compile: bool = False
    """Compile each block: faster on a GPU, after a minute."""
    deterministic: bool = False
    """Take only kernels that give the same bits each time; slower on a GPU."""
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
        """The model with the head that the loss needs; to pre-train, a trunk with a plain head."""
        if self.objective == "masked":
            # convolutions would fill small gaps without the trunk, which is what is wanted of it
            plain = {"predicts": "field", "base": "bicubic", "correction_width": 0}
            return self.model.model_copy(update=plain)
        return self.model.model_copy(update={"predicts": self._predicts})

    @property
    def minimised(self) -> LossConfig:
        """The loss that training minimises: hidden cells know plain errors alone."""
        if self.objective == "downscale" or self.loss.kind in ("mse", "l1"):
            return self.loss
        return LossConfig(kind="mse")

    @property
    def _predicts(self) -> Literal["field", "gaussian", "members"]:
        return _PREDICTS.get(self.loss.kind, "field")

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
        predicts = self._predicts
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

    @model_validator(mode="after")
    def _balance_is_of_squares(self) -> "TrainConfig":
        squares = self.loss.kind in ("bayesian", "mse") and self.objective == "downscale"
        if self.loss.balance == "base" and not squares:
            raise ValueError(
                "Wanted a loss of square errors to balance by the base, bayesian or mse with the "
                f"objective downscale, got {self.loss.kind!r} and {self.objective!r}. Set "
                "loss.balance to variables, or change the loss."
            )
        return self

    @model_validator(mode="after")
    def _crops_or_tiles(self) -> "TrainConfig":
        tiles, patch = self.tiles, self.model.patch
        if tiles.crop_cells is None:
            return self
        if tiles.rows * tiles.columns > 1 or tiles.order != "tiles":
            raise ValueError(
                f"Wanted either tiles.crop_cells or tiles, got crops of {tiles.crop_cells} with "
                f"{tiles.rows} x {tiles.columns} tiles in the order {tiles.order!r}. Leave "
                "tiles.rows, tiles.columns and tiles.order out."
            )
        least = 2 * tiles.halo_cells + patch
        if any(size % patch or size < least for size in tiles.crop_cells):
            raise ValueError(
                f"Wanted tiles.crop_cells that are multiples of the patch, {patch}, and a patch "
                f"larger than two halos, {least}, got {tiles.crop_cells}. Change one of the three."
            )
        return self

    @model_validator(mode="after")
    def _sizes_fit(self) -> "TrainConfig":
        count = self.tiles.rows * self.tiles.columns
        if self.parallel.tiles > 1 and self.tiles.order != "fields":
            raise ValueError(
                f"Wanted tiles.order 'fields' where processes share the tiles of a field, got "
                f"{self.tiles.order!r}. Set it, or parallel.tiles to 1."
            )
        if self.tiles.order == "fields" and self.batch_size % count:
            raise ValueError(
                f"Wanted a batch size that is a multiple of the {count} tiles of a field, got "
                f"{self.batch_size}. Change it, or tiles.order."
            )
        by_heads = self.parallel.sequence if self.parallel.sequence_by == "ulysses" else 1
        if self.model.heads % (self.parallel.tensor * by_heads):
            also = " times parallel.sequence" if by_heads > 1 else ""
            raise ValueError(
                f"Wanted a parallel.tensor{also} that divides the model's {self.model.heads} "
                f"heads, got {self.parallel.tensor * by_heads}. Change one, or take ring."
            )
        return self
