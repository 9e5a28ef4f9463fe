"""How a training run is carried out: on which processes, what it saves and what it tells."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from orbitds.schema import Frozen


class ParallelConfig(Frozen):
    """How a run is spread over processes; the product of the sizes is their number."""

    engine: Literal["torch", "deepspeed"] = "torch"
    """PyTorch FSDP2, or DeepSpeed ZeRO, which shares over all processes: `replicate`, `tiles` and
    `shard` say there who sees which samples, not who holds what."""
    replicate: PositiveInt = 1
    """Copies of the weights; each copy sees other samples."""
    tiles: PositiveInt = 1
    """Processes that share the tiles of a field; each holds weights as a further copy does."""
    shard: PositiveInt | None = None
    """Processes that share one copy of the weights and see other samples; by default all that the
    other sizes leave."""
    sequence: PositiveInt = 1
    """Processes that share the tokens of a sample."""
    sequence_by: Literal["ulysses", "ring"] = "ulysses"
    """How tokens meet in attention: each process takes some heads, or keys travel in a ring."""
    channel: PositiveInt = 1
    """Processes that share the input variables of a sample."""
    tensor: PositiveInt = 1
    """Processes that share each matrix of the blocks; divides the heads."""
    reduce_dtype: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic in which gradients of blocks are added up between processes: `bfloat16` sends half
    the bytes, and rounds sums to 8 bits; those outside of blocks stay in float32."""
    zero_stage: int = Field(default=3, ge=1, le=3)
    """What DeepSpeed shares: moments; gradients too; weights too."""
    offload: bool = False
    """Keep weights and moments in host memory, and update them there."""

    @model_validator(mode="after")
    def _deepspeed_shares_weights(self) -> "ParallelConfig":
        for axis in ("sequence", "channel", "tensor"):
            size = getattr(self, axis)
            if self.engine == "deepspeed" and size > 1:
                raise ValueError(
                    f"Wanted processes that share weights and samples alone for the engine "
                    f"deepspeed, got parallel.{axis} {size}. Take parallel.engine torch for it."
                )
        if self.engine == "deepspeed" and self.reduce_dtype != "float32":
            raise ValueError(
                f"Wanted sums of gradients in float32 for the engine deepspeed, got "
                f"parallel.reduce_dtype {self.reduce_dtype!r}. Take parallel.engine torch for it."
            )
        return self


class SaveConfig(Frozen):
    """States of a run, from which it goes on after a stop."""

    every: PositiveInt | None = None
    """Steps between states; as often as it is validated by default."""
    keep_last: PositiveInt = 2
    """States that are kept, the newest ones."""
    keep_every: PositiveInt | None = None
    """States of steps that are multiples of this are kept too."""
    stop_before_s: NonNegativeFloat = 300.0
    """Seconds before the end of the SLURM job at which the run saves and leaves."""


class LogConfig(Frozen):
    """What a run tells besides its JSON lines."""

    every: PositiveInt = 1
    """Steps between lines; validations are always written."""
    tensorboard: bool = True
    """Write TensorBoard events too."""
    wandb: str | None = None
    """Project of Weights & Biases to report to; needs the extra `wandb`."""
