"""Reslim: the forward pass as the paper draws it; dimensions as in ``interface``."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from orbitds.config import ModelConfig
from orbitds.interpolate import REACH_CELLS
from orbitds.model.heads import for_factors, of_factor
from orbitds.model.interface import Aim, DownscalingModel, Prediction, spread_of
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
    delta change and sees statics at the fine resolution. Of several factors each has its own last
    layers of the decoder and its own convolutions; all else is shared.

    References
    ----------
    ORBIT-2 (Wang et al. 2025, arXiv 2505.04802), Reslim architecture.
    """

    adds_to_float32 = True
    has_heads = True

    def __init__(
        self,
        config: ModelConfig,
        *,
        inputs: Sequence[str],
        outputs: Sequence[str],
        statics: Sequence[str] = (),
        factor: int | Sequence[int],
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
            zooms=self.factors,
            corrected=config.correction_width > 0,
        )
        self.base = Base(
            self.outputs,
            method=config.base,
            log_outputs=[variable(name).transform == "log1p" for name in self.outputs],
        )
        if config.correction_width:
            channels = (3 if self.base.is_delta else 2) * count + len(self.statics)
            depth = config.correction_depth
            width = config.correction_width
            self.correct = for_factors(
                self.factors,
                lambda each: Correction(channels, count, factor=each, width=width, depth=depth),
            )

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
        aim: Aim | None = None,
        place_known: Bool[Tensor, "B"] | None = None,
    ) -> Prediction:
        """Return the fine fields and the base they start from; see ``DownscalingModel``.

        Parameters
        ----------
        aim
            Of a network for several sets of data: the factor, the outputs that are wanted (others
            are zero to the convolutions), and which statics are given; by default what it is set
            to.
        place_known
            Which samples the trunk is told the place of; all by default. Of a model that was
            trained with ``drop_position``, for samples outside the regions it was trained on.
        """
        aim = self.aim if aim is None else aim
        variables = self.inputs if variables is None else tuple(variables)
        seen = coarse
        if statics is not None and aim.statics:
            seen = torch.cat([coarse, F.avg_pool2d(statics, aim.factor)], dim=1)
        painted = self.trunk(
            seen,
            variables if seen is coarse else (*variables, *aim.statics),
            zoom=aim.factor,
            latitude_deg=latitude_deg,
            longitude_deg=longitude_deg,
            spacing_km=spacing_km,
            periodic=periodic,
            phase=phase,
            noise=noise,
            place_known=place_known,
        )
        decoded, log_variance = spread_of(painted, len(self.whole.outputs))
        base, detail = self.base(
            coarse, variables, climatology, factor=aim.factor, periodic=periodic
        )
        wanted = [self.whole.outputs.index(name) for name in aim.outputs]
        is_part = aim.outputs != self.whole.outputs
        if is_part:
            decoded, base = _alone(decoded, wanted), _alone(base, wanted)
        fine = base + decoded
        if self.config.correction_width:
            details = [detail] if self.base.is_delta else []
            terrain = self._terrain(statics, aim.statics, base)
            known = torch.cat([decoded.to(base), base, *details, terrain], dim=1)
            fine = fine + of_factor(self.correct, aim.factor)(known, periodic=periodic)
        if is_part:
            fine, base = _pick(fine, wanted), _pick(base, wanted)
            log_variance = None if log_variance is None else _pick(log_variance, wanted)
        return Prediction(fine, base, log_variance)

    def _terrain(
        self, statics: Tensor | None, names: tuple[str, ...], base: Tensor
    ) -> Float[Tensor, "B S Hf Wf"]:
        """Return all static fields; zero, their mean, stands for those that are not given."""
        known, mean = self.whole.statics, torch.zeros_like(base[:, :1])
        if statics is None:
            return mean.expand(-1, len(known), -1, -1)
        if names == known:
            return statics
        given = dict(zip(names, statics.split(1, dim=1), strict=True))
        return torch.cat([given.get(name, mean) for name in known], dim=1)


def _alone(fields: Float[Tensor, "B U Hf Wf"], wanted: list[int]) -> Float[Tensor, "B U Hf Wf"]:
    """Return the fields with zero in place of those that are not wanted."""
    none = torch.zeros_like(fields[:, 0])
    places = range(fields.shape[1])
    return torch.stack([fields[:, place] if place in wanted else none for place in places], dim=1)


def _pick(fields: Float[Tensor, "B U Hf Wf"], wanted: list[int]) -> Float[Tensor, "B u Hf Wf"]:
    """Return some of the fields; an index that is a list would make a GPU wait for it."""
    return torch.stack([fields[:, place] for place in wanted], dim=1)
