"""Reslim: the forward pass as the paper draws it; dimensions as in ``interface``."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from orbitds.config import ModelConfig
from orbitds.interpolate import REACH_CELLS
from orbitds.model.aggregate import VariableAggregation
from orbitds.model.block import Block
from orbitds.model.decode import Decoder
from orbitds.model.embed import NOISE, PositionEmbedding, ResolutionEmbedding
from orbitds.model.interface import DownscalingModel, Prediction
from orbitds.model.residual import Base, Correction
from orbitds.variables import variable

# Logarithms of variances in units of the training data's: from a thousandth to some e^5 deviations.
LOG_VARIANCE = (-14.0, 10.0)


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
        width, count = config.width, len(self.outputs)
        self.aggregate = VariableAggregation(
            [*self.inputs, *self.statics],
            patch=config.patch,
            width=width,
            heads=config.heads,
            drop_variables=config.drop_variables,
        )
        self.position = PositionEmbedding(width, config.position_octaves)
        is_gaussian, has_members = config.predicts == "gaussian", config.predicts == "members"
        self.resolution = ResolutionEmbedding(width, NOISE if has_members else 0)
        self.encoder = nn.Sequential(
            *(
                Block(
                    width,
                    config.heads,
                    mlp_ratio=config.mlp_ratio,
                    dropout=config.dropout,
                    drop_path=config.drop_path * (index + 1) / config.depth,
                )
                for index in range(config.depth)
            ),
            nn.LayerNorm(width),
        )
        painted = 2 * count if is_gaussian else count  # means, then logarithms of variances
        self.decode = Decoder(
            width, painted, depth=config.decoder_depth, block=factor * config.patch
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
            self.correct = Correction(channels, count, width=config.correction_width, depth=depth)

    @property
    def reach_cells(self) -> int:
        """Coarse cells around a cell that base and convolutions look at, the trunk aside."""
        convolutions = 1 + (self.config.correction_depth + 1) * bool(self.config.correction_width)
        return REACH_CELLS + math.ceil(convolutions / self.factor)

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
        resolution = self.resolution(spacing_km, self._noise(noise, len(coarse), coarse.device))
        painted = self._trunk(
            seen,
            variables if seen is coarse else (*variables, *self.statics),
            latitude_deg,
            longitude_deg,
            resolution,
            periodic=periodic,
            phase=phase,
        )
        decoded, spread = painted[:, : len(self.outputs)], painted[:, len(self.outputs) :]
        base, detail = self.base(coarse, variables, climatology, periodic=periodic)
        fine = base + decoded
        if self.config.correction_width:
            mean = torch.zeros_like(base[:, :1]).expand(-1, len(self.statics), -1, -1)
            terrain = mean if statics is None else statics
            details = [detail] if self.base.is_delta else []
            known = torch.cat([decoded.to(base), base, *details, terrain], dim=1)
            fine = fine + self.correct(known, periodic=periodic)
        if self.config.predicts != "gaussian":
            return Prediction(fine, base)
        return Prediction(fine, base, spread.float().clamp(*LOG_VARIANCE))

    def _noise(self, noise: Tensor | None, batch: int, device: torch.device) -> Tensor | None:
        if self.config.predicts != "members":
            return None
        return torch.randn(batch, NOISE, device=device) if noise is None else noise

    def _trunk(
        self,
        fields: Tensor,
        variables: tuple[str, ...],
        latitude_deg: Tensor,
        longitude_deg: Tensor,
        resolution: Tensor,
        *,
        periodic: bool,
        phase: tuple[int, int],
    ) -> Float[Tensor, "B U Hf Wf"]:
        height, width = fields.shape[-2:]
        patch, (north, west) = self.config.patch, phase
        fields = _fill_patches(fields, patch, phase, periodic=periodic)
        rows, columns = (size // patch for size in fields.shape[-2:])
        tokens = self.aggregate(fields, variables)  # B N D
        tokens = tokens + self.position(
            _patch_centres(latitude_deg, rows, patch, north),
            _patch_centres(longitude_deg, columns, patch, west),
        )
        tokens = tokens + resolution
        tokens = self.encoder(tokens)
        # the closing convolution may wrap only where the patches fill the circle
        wraps = periodic and columns * patch == width
        decoded = self.decode(tokens, rows, periodic=wraps)
        decoded = decoded[..., north * self.factor :, west * self.factor :]
        return decoded[..., : height * self.factor, : width * self.factor]


def _fill_patches(fields: Tensor, patch: int, phase: tuple[int, int], *, periodic: bool) -> Tensor:
    """Extend a field to whole patches: longitude wraps, latitude repeats."""
    north, west = phase
    height, width = fields.shape[-2:]
    south, east = -(north + height) % patch, -(west + width) % patch
    if east or west:
        mode = "circular" if periodic else "replicate"
        fields = F.pad(fields, (west, east, 0, 0), mode=mode)
    if north or south:
        fields = F.pad(fields, (0, 0, north, south), mode="replicate")
    return fields


def _patch_centres(
    centres_deg: Float[Tensor, "B n"], patches: int, patch: int, before: int
) -> Float[Tensor, "B {patches}"]:
    """Return the mean coordinate of each patch of a uniform axis, beyond its ends too."""
    first, last = centres_deg[:, :1], centres_deg[:, -1:]
    step = (last - first) / max(centres_deg.shape[1] - 1, 1)
    middle = torch.arange(patches, device=centres_deg.device) * patch + (patch - 1) / 2 - before
    return first + step * middle
