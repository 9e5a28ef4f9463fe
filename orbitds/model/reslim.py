"""Reslim: the forward pass as the paper draws it; dimensions as in ``interface``."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from orbitds.config import ModelConfig
from orbitds.interpolate import REACH_CELLS
from orbitds.model.interface import DownscalingModel, Prediction, spread_of
from orbitds.model.residual import Base, Correction
from orbitds.model.trunk import Trunk
from orbitds.variables import variable


class Reslim(DownscalingModel[ModelConfig]):
    """Residual slim vision transformer: coarse fields in, fine fields out, all normalised.

    Parameters
    ----------
    config
        The architecture.
    inputs, outputs, statics, factor
        As of ``DownscalingModel``.

    Notes
    -----
    Where it departs from ORBIT-2's public code: aggregation is folded, position comes from
    coordinates, tokens decode to their own place, the residual path starts from interpolation or
    delta change and sees statics at the fine resolution.

    References
    ----------
    ORBIT-2 (Wang et al. 2025, arXiv 2505.04802), Reslim architecture.
    """

    adds_to_float32 = True

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
        self.patch = config.patch
        # an edge density leaves as many tokens as the field wants
        self.is_one_graph = config.edge_density is None
        count = len(self.outputs)
        self.trunk = Trunk(
            config,
            [*self.inputs, *self.statics],
            count,
            zoom=factor,
            corrected=config.correction_width > 0,
        )
        self.base = Base(
            self.outputs,
            factor=factor,
            method=config.base,
            log_outputs=[variable(name).transform == "log1p" for name in self.outputs],
        )
        if config.correction_width:
            channels = (3 if self.base.is_delta else 2) * count + len(self.statics)
            depth = config.correction_depth
            width = config.correction_width
            self.correct = Correction(channels, count, factor=factor, width=width, depth=depth)

    @property
    def reach_cells(self) -> int:
        """Coarse cells around a cell that base and convolutions look at, the trunk aside."""
        if self.config.correction_width:
            return REACH_CELLS + self.config.correction_depth + 1
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
        climatology: tuple[Tensor, Tensor] | None = None,
        periodic: bool = False,
        phase: tuple[int, int] = (0, 0),
        noise: Float[Tensor, "B Z"] | None = None,
    ) -> Prediction:
        """Return the fine fields and the base they start from; see ``DownscalingModel``."""
        variables = self.inputs if variables is None else tuple(variables)
        seen = coarse
        if statics is not None and self.statics:
            seen = torch.cat([coarse, F.avg_pool2d(statics, self.factor)], dim=1)
        painted = self.trunk(
            seen,
            variables if seen is coarse else (*variables, *self.statics),
            latitude_deg=latitude_deg,
            longitude_deg=longitude_deg,
            spacing_km=spacing_km,
            periodic=periodic,
            phase=phase,
            noise=noise,
        )
        decoded, log_variance = spread_of(painted, len(self.outputs))
        base, detail = self.base(coarse, variables, climatology, periodic=periodic)
        fine = base + decoded
        if self.config.correction_width:
            mean = torch.zeros_like(base[:, :1]).expand(-1, len(self.statics), -1, -1)
            terrain = mean if statics is None else statics
            details = [detail] if self.base.is_delta else []
            known = torch.cat([decoded.to(base), base, *details, terrain], dim=1)
            fine = fine + self.correct(known, periodic=periodic)
        return Prediction(fine, base, log_variance)
