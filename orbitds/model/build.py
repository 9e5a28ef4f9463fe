"""From an architecture to the network that has it."""

from collections.abc import Sequence

from orbitds.config import ModelConfig
from orbitds.model.interface import DownscalingModel
from orbitds.model.reslim import Reslim
from orbitds.model.vit import ViT

ARCHITECTURES = {"reslim": Reslim, "vit": ViT}


def build(
    config: ModelConfig,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    statics: Sequence[str] = (),
    factor: int,
) -> DownscalingModel:
    """Return the untrained network of a config; arguments as of ``DownscalingModel``."""
    architecture = ARCHITECTURES[config.kind]
    return architecture(config, inputs=inputs, outputs=outputs, statics=statics, factor=factor)
