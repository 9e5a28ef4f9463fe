"""The plain vision transformer that Reslim is compared with: interpolate first, then attend."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from orbitds.config import ModelConfig
from orbitds.interpolate import REACH_CELLS, interpolate
from orbitds.model.interface import DownscalingModel, Prediction, spread_of
from orbitds.model.trunk import Trunk


class ViT(DownscalingModel[ModelConfig]):
    """Vision transformer on the fine grid: one token for ``patch x patch`` *fine* cells.

    Inputs are interpolated to the fine grid, so there are factor^2 times as many tokens as in
    Reslim, and attention costs factor^4 times as much. There is no residual path. Trunk and head
    are those of Reslim, correct unpatchify included.

    References
    ----------
    ORBIT-2 (Wang et al. 2025, arXiv 2505.04802), Figure 1: the architecture of earlier foundation
    models for weather and climate.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        inputs: Sequence[str],
        outputs: Sequence[str],
        statics: Sequence[str] = (),
        factor: int,
    ) -> None:
        super().__init__(config, inputs=inputs, outputs=outputs, statics=statics, factor=factor)
        self.is_one_graph = config.edge_density is None
        # windows begin at coarse cells that are also the edge of a fine patch
        self.patch = config.patch // math.gcd(config.patch, factor)
        self.trunk = Trunk(config, [*self.inputs, *self.statics], len(self.outputs), zooms=(1,))

    @property
    def reach_cells(self) -> int:
        """Coarse cells around a cell that interpolation and the closing convolution look at."""
        return REACH_CELLS + math.ceil(1 / self.factor)

    def predict(
        self,
        coarse: Float[Tensor, "B V H W"],
        *,
        latitude_deg: Float[Tensor, "B H"],
        longitude_deg: Float[Tensor, "B W"],
        spacing_km: Float[Tensor, "B 2"],
        variables: Sequence[str] | None = None,
        statics: Float[Tensor, "B S Hf Wf"] | None = None,
        climatology: tuple[Tensor, Tensor] | None = None,  # noqa: ARG002  it has no base
        periodic: bool = False,
        phase: tuple[int, int] = (0, 0),
        noise: Float[Tensor, "B Z"] | None = None,
    ) -> Prediction:
        """Return the fine fields; see ``DownscalingModel``."""
        variables = self.inputs if variables is None else tuple(variables)
        factor, patch = self.factor, self.config.patch
        fine = interpolate(coarse, factor, "bicubic", periodic=periodic)
        if statics is not None and self.statics:
            fine, variables = torch.cat([fine, statics], dim=1), (*variables, *self.statics)
        painted = self.trunk(
            fine,
            variables,
            zoom=1,
            latitude_deg=_refine(latitude_deg, factor),
            longitude_deg=_refine(longitude_deg, factor),
            spacing_km=spacing_km,
            periodic=periodic,
            phase=(phase[0] * factor % patch, phase[1] * factor % patch),
            noise=noise,
        )
        decoded, log_variance = spread_of(painted, len(self.outputs))
        return Prediction(decoded, torch.zeros_like(decoded), log_variance)


def _refine(centres_deg: Float[Tensor, "B n"], factor: int) -> Float[Tensor, "B {factor}*n"]:
    """Return the centres of the children of the cells of a uniform axis."""
    step = (centres_deg[:, -1:] - centres_deg[:, :1]) / max(centres_deg.shape[1] - 1, 1)
    inside = (torch.arange(factor, device=centres_deg.device).to(centres_deg) + 0.5) / factor - 0.5
    return (centres_deg[..., None] + step[..., None] * inside).flatten(1)
