"""From an architecture to the network that has it."""

from collections.abc import Sequence

import torch

from orbitds.config import ModelConfig
from orbitds.model.edsr import EDSR
from orbitds.model.interface import DownscalingModel
from orbitds.model.orbit2 import Orbit2, Orbit2Config
from orbitds.model.residual import Base
from orbitds.model.reslim import Reslim
from orbitds.model.unet import UNet
from orbitds.model.vit import ViT

# The networks that are trained here; those that come in with published weights have configs of
# their own.
ARCHITECTURES = {"reslim": Reslim, "vit": ViT, "unet": UNet, "edsr": EDSR}


def build(
    config: ModelConfig | Orbit2Config,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    statics: Sequence[str] = (),
    factor: int,
) -> DownscalingModel:
    """Return the untrained network of a config; arguments as of ``DownscalingModel``."""
    if isinstance(config, Orbit2Config):
        return Orbit2(config, inputs=inputs, outputs=outputs, statics=statics, factor=factor)
    architecture = ARCHITECTURES[config.kind]
    return architecture(config, inputs=inputs, outputs=outputs, statics=statics, factor=factor)


def build_bare(
    config: ModelConfig | Orbit2Config,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    statics: Sequence[str] = (),
    factor: int,
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
