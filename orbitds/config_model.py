"""What a model is made of, and the presets."""

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from orbitds.resources import locate, read_yaml
from orbitds.schema import Frozen, parse


class ModelConfig(Frozen):
    """The architecture; what it eats and gives is decided by the data pair."""

    kind: Literal["reslim", "vit", "unet", "edsr"] = "reslim"
    """The network: Reslim, or one it is compared with: the plain vision transformer, whose patches
    are of fine cells; U-Net and EDSR, of which width, depth and base alone are told here."""
    patch: PositiveInt = 2
    """Edge of a patch in coarse cells: one token per patch."""
    width: PositiveInt = 256
    """Width D of the trunk; channels of EDSR, and of U-Net on the fine grid."""
    depth: NonNegativeInt = 6
    """Number of transformer blocks; residual blocks of EDSR; halvings of U-Net."""
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
    drop_position: float = Field(default=0.0, ge=0, lt=1)
    """Probability that the trunk is not told where a sample lies in training: so it learns places
    by heart where it was trained, and can be used elsewhere. 0 leaves no way to do without."""
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


def model_preset(name_or_path: str | Path) -> ModelConfig:
    """Return an architecture by the name of its preset or the path of a YAML file."""
    path = locate(name_or_path, "configs/model")
    return parse(ModelConfig, read_yaml(path), source=str(path))
