"""The trunk: variables to tokens, tokens through transformer blocks, each back to its own place."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from orbitds.config import ModelConfig
from orbitds.model.aggregate import VariableAggregation
from orbitds.model.block import Block
from orbitds.model.compress import Compression
from orbitds.model.decode import Decoder
from orbitds.model.embed import NOISE, PositionEmbedding, ResolutionEmbedding


class Trunk(nn.Module):
    """Tokenise, aggregate variables, embed, compress, encode, expand, decode.

    Parameters
    ----------
    config
        The architecture.
    variables
        Names of the fields it may be given.
    outputs
        Number of fields it paints.
    zoom
        Painted cells along the edge of a cell that it is given.
    corrected
        Whether convolutions follow, so that the trunk needs no closing one.

    References
    ----------
    ORBIT-2 (Wang et al. 2025, arXiv 2505.04802), Reslim architecture.
    """

    def __init__(
        self,
        config: ModelConfig,
        variables: Sequence[str],
        outputs: int,
        *,
        zoom: int,
        corrected: bool = False,
    ) -> None:
        super().__init__()
        width, self.patch, self.zoom = config.width, config.patch, zoom
        self.has_members = config.predicts == "members"
        self.aggregate = VariableAggregation(
            variables,
            patch=config.patch,
            width=width,
            heads=config.heads,
            drop_variables=config.drop_variables,
        )
        self.position = PositionEmbedding(width, config.position_octaves)
        self.resolution = ResolutionEmbedding(width, NOISE if self.has_members else 0)
        self.compression = None
        if config.compression > 1 or config.edge_density is not None:
            self.compression = Compression(
                width, patch=config.patch, ratio=config.compression, density=config.edge_density
            )
        self.blocks = nn.ModuleList(
            Block(
                width,
                config.heads,
                mlp_ratio=config.mlp_ratio,
                dropout=config.dropout,
                drop_path=config.drop_path * (index + 1) / config.depth,
            )
            for index in range(config.depth)
        )
        self.norm = nn.LayerNorm(width)
        self.decode = Decoder(
            width,
            outputs,
            depth=config.decoder_depth,
            block=zoom * config.patch,
            smooth=not corrected,
        )

    def forward(
        self,
        fields: Float[Tensor, "B V H W"],
        variables: Sequence[str],
        *,
        latitude_deg: Float[Tensor, "B H"],
        longitude_deg: Float[Tensor, "B W"],
        spacing_km: Float[Tensor, "B 2"],
        periodic: bool,
        phase: tuple[int, int],
        noise: Float[Tensor, "B Z"] | None,
    ) -> Float[Tensor, "B U {self.zoom}*H {self.zoom}*W"]:
        """Return what the trunk paints; arguments as of ``DownscalingModel.predict``."""
        height, width = fields.shape[-2:]
        (north, west), zoom = phase, self.zoom
        fields = _fill_patches(fields, self.patch, phase, periodic=periodic)
        rows, columns = (size // self.patch for size in fields.shape[-2:])
        place = _Place.of(latitude_deg, longitude_deg, self.patch, phase)
        resolution = self.resolution(spacing_km, self._noise(noise, fields))
        if self.compression is None:
            tokens = self.aggregate(fields, variables)  # B N D
            tokens = tokens + self.position(*place.grid(rows, columns)) + resolution
            tokens = self._encode(tokens)
        else:
            own, image = self.aggregate.with_image(fields, variables)
            tokens, tree = self.compression.compress(own, image, periodic=periodic)  # G M D
            lengths = None
            if self.compression.density is not None:  # samples of unequal length in a row
                lengths = tree.lengths.tolist()
                place, resolution = (
                    place.in_a_row(tree.lengths),
                    _in_a_row(resolution, tree.lengths),
                )
            # each leaf lies at its own centre
            tokens = tokens + self.position(*place.at(*tree.centre.unbind(dim=-1))) + resolution
            tokens = self.compression.expand(self._encode(tokens, lengths), tree, own)
        # the closing convolution may wrap only where the patches fill the circle
        wraps = periodic and columns * self.patch == width
        painted = self.decode(tokens, rows, periodic=wraps)
        painted = painted[..., north * zoom :, west * zoom :]
        return painted[..., : height * zoom, : width * zoom]

    def _encode(
        self, tokens: Float[Tensor, "B n D"], lengths: list[int] | None = None
    ) -> Float[Tensor, "B n D"]:
        for block in self.blocks:
            tokens = block(tokens, lengths)
        return self.norm(tokens)

    def _noise(self, noise: Tensor | None, fields: Tensor) -> Tensor | None:
        if not self.has_members:
            return None
        return torch.randn(len(fields), NOISE, device=fields.device) if noise is None else noise


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


class _Place:
    """Where patches lie: the first one's centre, and the steps from one to the next."""

    def __init__(self, first_deg: tuple[Tensor, Tensor], step_deg: tuple[Tensor, Tensor]) -> None:
        self.first_deg, self.step_deg = first_deg, step_deg

    @classmethod
    def of(
        cls, latitude_deg: Tensor, longitude_deg: Tensor, patch: int, phase: tuple[int, int]
    ) -> "_Place":
        """Return the places of the patches of a field whose axes are uniform."""
        starts, steps = [], []
        for centres, before in zip((latitude_deg, longitude_deg), phase, strict=True):
            first, last = centres[:, :1], centres[:, -1:]
            step = (last - first) / max(centres.shape[1] - 1, 1)
            starts.append(first + step * ((patch - 1) / 2 - before))
            steps.append(step * patch)
        return cls((starts[0], starts[1]), (steps[0], steps[1]))

    def at(self, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        """Return latitude and longitude [B, n] at points in units of patches."""
        (north, west), (down, right) = self.first_deg, self.step_deg
        return north + down * row, west + right * column

    def in_a_row(self, lengths: Tensor) -> "_Place":
        """Return the same for samples of unequal length, one after another."""
        first, step = self.first_deg, self.step_deg
        return _Place(
            (_in_a_row(first[0], lengths), _in_a_row(first[1], lengths)),
            (_in_a_row(step[0], lengths), _in_a_row(step[1], lengths)),
        )

    def grid(self, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """Return latitude and longitude [B, rows*columns] of all patches, row by row."""
        device = self.first_deg[0].device
        row = torch.arange(rows, device=device).repeat_interleave(columns)
        return self.at(row, torch.arange(columns, device=device).repeat(rows))


def _in_a_row(of_sample: Tensor, lengths: Tensor) -> Tensor:
    """Repeat what holds for a sample for each of its tokens, and join the samples."""
    return of_sample.flatten(1).squeeze(1).repeat_interleave(lengths, dim=0)[None]
