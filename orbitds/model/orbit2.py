"""ORBIT-2's network as published, for its checkpoints; dimensions as in ``interface``."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from pydantic import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from torch import Tensor, nn

from orbitds.model.aggregate import VariableAggregation
from orbitds.model.block import Block
from orbitds.model.interface import DownscalingModel, Prediction
from orbitds.schema import Frozen

# The residual path takes these after the output variables, in this order.
STATICS = ("land_sea_mask", "orography", "latitude_field", "landcover")
# Of a cell: coordinates in float32 are good to 3e-5 degree.
TOLERANCE_CELLS = 0.01


class Orbit2Config(Frozen):
    """The architecture of a published checkpoint, and the one window that it knows."""

    kind: Literal["orbit2"]
    """The network: that of ORBIT-2's public code."""
    variables: tuple[str, ...]
    """Variables that have an embedding, in the order of the weights."""
    window: tuple[PositiveInt, PositiveInt]
    """Coarse rows and columns of the position table."""
    halo_cells: tuple[NonNegativeInt, NonNegativeInt] = (0, 0)
    """Of the window, the rows and columns on each side that are halo."""
    patch: PositiveInt
    """Edge of a patch in coarse cells."""
    width: PositiveInt
    """Width D of the trunk."""
    depth: NonNegativeInt
    """Number of transformer blocks."""
    heads: PositiveInt
    """Attention heads in the trunk and in the aggregation over variables."""
    mlp_ratio: PositiveFloat = 4.0
    """Hidden width of a block's MLP over its width."""
    decoder_depth: NonNegativeInt
    """Hidden layers (Linear, GELU) of the decoder head."""
    cnn_ratio: PositiveInt = 4
    """Channels of the residual path on the fine grid."""
    spatial_resolution_km: NonNegativeFloat
    """The number of kilometres that the weights were trained with, whatever the grid's spacing."""
    statics_grid: tuple[PositiveInt, PositiveInt] | None = None
    """Rows and columns of the global static fields inside the checkpoint; None where they are
    inputs."""
    placement: Literal["around", "northeast"] = "northeast"
    """Where the fine cells lie: ORBIT-2's coarse and fine grids start at the same point."""
    predicts: Literal["field"] = "field"
    """What it says of a cell: a value."""

    @model_validator(mode="after")
    def _fits_together(self) -> "Orbit2Config":
        if self.width % self.heads:
            raise ValueError(
                f"Wanted a width that is a multiple of heads, got width {self.width} and "
                f"{self.heads} heads. Correct one of the two."
            )
        if any(size <= 2 * halo for size, halo in zip(self.window, self.halo_cells, strict=True)):
            raise ValueError(
                f"Wanted a window larger than its halos, got {self.window} with halos of "
                f"{self.halo_cells} on each side. Correct the overlap of the tiles."
            )
        return self


class Orbit2(DownscalingModel[Orbit2Config]):
    """Reslim as in ORBIT-2's public code, to be used with published weights.

    Parameters
    ----------
    config
        The architecture.
    inputs, outputs, factor
        As of ``DownscalingModel``.
    statics
        None: its four static fields are coarse, inputs or part of the checkpoint.

    Notes
    -----
    What the public code does otherwise than ``Reslim`` and is kept, because the weights rest on it:
    rows run from south to north inside, a token's outputs are laid along the row and not on its own
    place, position is a table of one window, resolution the raw number of kilometres, statics are
    coarse. The aggregation over variables is folded here too, which changes rounding alone.

    References
    ----------
    ORBIT-2 (Wang et al. 2025, arXiv 2505.04802); public code, ``res_slimvit.py``.
    """

    def __init__(
        self,
        config: Orbit2Config,
        *,
        inputs: Sequence[str],
        outputs: Sequence[str],
        statics: Sequence[str] = (),
        factor: int,
    ) -> None:
        super().__init__(config, inputs=inputs, outputs=outputs, statics=statics, factor=factor)
        # it looks up its statics by the coordinates, which it checks
        self.is_one_graph = config.statics_grid is None
        # `patch` stays 1: in tiles the public code counts patches from the window's own corner
        self.window, self.halo_cells = config.window, config.halo_cells
        self.placement = config.placement
        width, count = config.width, len(self.outputs)
        self.aggregate = VariableAggregation(
            config.variables, patch=config.patch, width=width, heads=config.heads
        )
        rows, columns = (size // config.patch for size in config.window)
        self.position = nn.Parameter(torch.zeros(rows * columns, width))
        self.resolution = nn.Linear(1, width)
        self.encoder = nn.Sequential(
            *(Block(width, config.heads, mlp_ratio=config.mlp_ratio) for _ in range(config.depth)),
            nn.LayerNorm(width),
        )
        hidden = [
            layer
            for _ in range(config.decoder_depth)
            for layer in (nn.Linear(width, width), nn.GELU())
        ]
        self.head = nn.Sequential(*hidden, nn.Linear(width, count * (factor * config.patch) ** 2))
        self.smooth = nn.Conv2d(count, count, kernel_size=3, padding=1)
        self.residual = nn.Sequential(
            nn.Conv2d(count + len(STATICS), config.cnn_ratio * factor**2, kernel_size=3, padding=1),
            nn.GELU(),
            nn.PixelShuffle(factor),
            nn.Conv2d(config.cnn_ratio, count, kernel_size=3, padding=1),
        )
        if config.statics_grid is not None:
            # normalised, rows from north to south, the first column at Greenwich
            self.register_buffer("static_fields", torch.zeros(len(STATICS), *config.statics_grid))

    @property
    def reach_cells(self) -> int:
        """Coarse cells around a cell that convolutions look at, attention aside."""
        return 1 + math.ceil(1 / self.factor)

    def predict(
        self,
        coarse: Float[Tensor, "B V H W"],
        *,
        latitude_deg: Float[Tensor, "B H"],
        longitude_deg: Float[Tensor, "B W"],
        variables: Sequence[str] | None = None,
        **_unused: object,
    ) -> Prediction:
        """Return the fine fields and the residual path they start from.

        See ``DownscalingModel``; spacing, fine statics, climatology, phase and periodicity mean
        nothing to the published weights.

        Raises
        ------
        ValueError
            If the window, a variable or the place does not fit.
        """
        variables = self.inputs if variables is None else tuple(variables)
        if coarse.shape[-2:] != self.config.window:
            raise ValueError(
                f"Wanted a window of {self.config.window} coarse cells, the only one that the "
                f"position table knows, got {tuple(coarse.shape[-2:])}. Cut the field with "
                "TileGrid.of_window, or use ds.orbit.downscale."
            )
        if self.config.statics_grid is not None:
            statics = self._statics(latitude_deg, longitude_deg).to(coarse)
            coarse, variables = torch.cat([coarse, statics], dim=1), (*variables, *STATICS)
        northwards = coarse.flip(-2)
        base = self.residual(northwards[:, self._residual_places(variables)])
        fine = self.smooth(self._trunk(northwards, variables)) + base
        return Prediction(fine.flip(-2), base.flip(-2))

    def _residual_places(self, variables: tuple[str, ...]) -> list[int]:
        wanted = (*self.outputs, *STATICS)
        if missing := [name for name in wanted if name not in variables]:
            raise ValueError(
                f"Wanted {list(wanted)} among the inputs, from which ORBIT-2's residual path "
                f"starts, got {list(variables)} without {missing}. Give these too."
            )
        return [variables.index(name) for name in wanted]

    def _trunk(self, fields: Tensor, variables: tuple[str, ...]) -> Float[Tensor, "B U Hf Wf"]:
        spacing = fields.new_tensor([self.config.spatial_resolution_km])
        tokens = self.aggregate(fields, variables) + self.position  # B N D
        tokens = self.encoder(tokens + self.resolution(spacing))
        rows, columns = (size * self.factor for size in self.config.window)
        return unpatchify_strips(self.head(tokens), rows, columns, self.config.patch)

    def _statics(self, latitude_deg: Tensor, longitude_deg: Tensor) -> Float[Tensor, "B 4 H W"]:
        """Return the static fields of a window: their cells at its coordinates."""
        fields = self.get_buffer("static_fields")
        height, width = fields.shape[-2:]
        # the row of the south pole is the last one, that of the north pole is not there
        rows = _cells((90 - latitude_deg) * (height / 180) - 1, height)
        columns = _cells(longitude_deg * (width / 360) % width, width) % width
        if rows.min() < 0 or rows.max() >= height:
            raise ValueError(
                f"Wanted rows from -90 to {90 - 180 / height:g} degrees, as those of the static "
                f"fields in the checkpoint, got {float(latitude_deg.min()):g} to "
                f"{float(latitude_deg.max()):g}. Drop the row of the north pole."
            )
        cut = fields[:, rows[:, :, None], columns[:, None, :]]  # S B H W
        return cut.transpose(0, 1)


def unpatchify_strips(
    pixels: Float[Tensor, "B N K"], rows: int, columns: int, patch: int
) -> Float[Tensor, "B U {rows} {columns}"]:
    """Lay the outputs of the tokens on the fine grid as the public code does.

    It reads the tokens one after the other as ``patch x patch`` squares of *fine* cells, though
    each has ``factor**2`` such squares to give: so they come to lie side by side along the row, in
    a strip that is not the token's own place.
    """
    return rearrange(
        pixels.reshape(len(pixels), rows // patch, columns // patch, patch, patch, -1),
        "b h w p q u -> b u (h p) (w q)",
    )


def _cells(place: Tensor, count: int) -> Int[Tensor, "B n"]:
    """Return the whole numbers that places on an axis of unit steps stand for."""
    nearest = place.round()
    if (place - nearest).abs().max() > TOLERANCE_CELLS:
        worst = float((place - nearest).abs().max())
        raise ValueError(
            f"Wanted coordinates at some of the {count} points of the static fields in the "
            f"checkpoint, got some {worst:.2g} of a cell beside them. Regrid the input to the "
            "points of that grid, or import the checkpoint without statics and give them as inputs."
        )
    return nearest.long()
