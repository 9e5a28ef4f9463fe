"""From an architecture to the network that has it."""

from collections.abc import Sequence
from typing import TypedDict

import torch

from orbitds.config import ModelConfig
from orbitds.model.edsr import EDSR
from orbitds.model.interface import DownscalingModel
from orbitds.model.orbit2 import Orbit2, Orbit2Config
from orbitds.model.residual import Base
from orbitds.model.reslim import Reslim
from orbitds.model.unet import UNet
from orbitds.model.vit import ViT


class _Names(TypedDict):
    inputs: Sequence[str]
    outputs: Sequence[str]
    statics: Sequence[str]


# The networks that are trained here; those that come in with published weights have configs of
# their own.
ARCHITECTURES = {"reslim": Reslim, "vit": ViT, "unet": UNet, "edsr": EDSR}


def build(
    config: ModelConfig | Orbit2Config,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    statics: Sequence[str] = (),
    factor: int | Sequence[int],
) -> DownscalingModel:
    """Return the untrained network of a config; arguments as of ``DownscalingModel``.

    Raises
    ------
    ValueError
        If it is to have several factors, and is of a kind that has one.
    """
    names: _Names = {"inputs": inputs, "outputs": outputs, "statics": statics}
    factors = (factor,) if isinstance(factor, int) else tuple(factor)
    if len(factors) == 1:
        if isinstance(config, Orbit2Config):
            return Orbit2(config, **names, factor=factors[0])
        return ARCHITECTURES[config.kind](config, **names, factor=factors[0])
    if isinstance(config, Orbit2Config) or config.kind != "reslim":
        kind = "network of ORBIT-2" if isinstance(config, Orbit2Config) else config.kind
        raise ValueError(
            f"Wanted one factor for a {kind}, got {list(factors)}. Take model.kind reslim, which "
            "has a head for each, or pairs of one factor."
        )
    return Reslim(config, **names, factor=factors)


def build_bare(
    config: ModelConfig | Orbit2Config,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    statics: Sequence[str] = (),
    factor: int | Sequence[int],
) -> DownscalingModel:
    """Return the network of a config without its weights, which have shapes and no memory.

    Weights are given to it by ``load_state_dict(weights, assign=True)``; no random number is drawn.
    """
    with torch.device("meta"):
        model = build(config, inputs=inputs, outputs=outputs, statics=statics, factor=factor)
    with torch.device("cpu"):
        for module in model.modules():
            if isinstance(module, Base):  # has the one buffer that is not stored
                module.is_log = module.log_flags()
    return model
