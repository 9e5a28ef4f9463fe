"""The trunk: variables to tokens, tokens through transformer blocks, each back to its own place."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from orbitds.config import ModelConfig
from orbitds.interpolate import extend
from orbitds.model.aggregate import VariableAggregation
from orbitds.model.block import Block
from orbitds.model.compress import Compression
from orbitds.model.decode import Decoder
from orbitds.model.embed import NOISE, PositionEmbedding, ResolutionEmbedding
from orbitds.model.interface import unchanged


class Trunk(nn.Module):
    """Tokenise, aggregate variables, embed, compress, encode, expand, decode.

    Parameters
    ----------
    config
        The architecture.
    variables
        Names of the fields it may be given.
    outputs
        Number of fields to paint; of each also the logarithm of the variance, behind all fields,
        where the config asks for it.
    zooms
        Painted cells along the edge of a cell that it is given; several where it has heads for
        each.
    corrected
        Whether convolutions follow, so that the trunk needs no closing one.

    Attributes
    ----------
    own
        From the number of patches to those whose tokens this process works on: all of them, or what
        training puts there where processes share tokens; those of compressed ones are all.
    split, join
        Around the blocks, of tokens that are compressed: nothing, or what training puts there where
        processes share them.

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
        zooms: Sequence[int],
        corrected: bool = False,
    ) -> None:
        super().__init__()
        width, self.patch = config.width, config.patch
        self.has_members = config.predicts == "members"
        self.aggregate = VariableAggregation(
            variables,
            patch=config.patch,
            width=width,
            heads=config.heads,
            drop_variables=config.drop_variables,
        )
        self.position = PositionEmbedding(width, config.position_octaves, config.drop_position)
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
        self.own: Callable[[int], slice] = slice
        self.split: Callable[[Tensor], Tensor] = unchanged
        self.join: Callable[[Tensor], Tensor] = unchanged
        self.decode = Decoder(
            width,
            2 * outputs if config.predicts == "gaussian" else outputs,
            depth=config.decoder_depth,
            patch=config.patch,
            zooms=zooms,
            smooth=not corrected,
        )

    def forward(
        self,
        fields: Float[Tensor, "B V H W"],
        variables: Sequence[str],
        *,
        zoom: int,
        latitude_deg: Float[Tensor, "B H"],
        longitude_deg: Float[Tensor, "B W"],
        spacing_km: Float[Tensor, "B 2"],
        periodic: bool,
        phase: tuple[int, int],
        noise: Float[Tensor, "B Z"] | None,
        place_known: Bool[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "B U {zoom}*H {zoom}*W"]:
        """Return what the trunk paints; arguments as of ``DownscalingModel.predict``."""
        height, width = fields.shape[-2:]
        north, west = phase
        fields = _fill_patches(fields, self.patch, phase, periodic=periodic)
        rows, columns = (size // self.patch for size in fields.shape[-2:])
        axes = (
            _axis_of(latitude_deg, self.patch, north),
            _axis_of(longitude_deg, self.patch, west),
        )
        resolution = self.resolution(spacing_km, self._noise(noise, fields))
        known = self.position.known(len(fields), place_known)
        if self.compression is None:
            patches = self.own(rows * columns)
            tokens = self.aggregate(fields, variables, patches)  # B n D
            place = _patches(axes, rows, columns, patches)
            tokens = self._encode(tokens + self.position(*place, known) + resolution)
        else:
            own, image = self.aggregate.with_image(fields, variables)
            tokens = self._compressed(own, image, axes, resolution, known, periodic=periodic)
        # the closing convolution may wrap only where the patches fill the circle
        wraps = periodic and columns * self.patch == width
        painted = self.decode(tokens, rows, zoom=zoom, periodic=wraps)
        painted = painted[..., north * zoom :, west * zoom :]
        return painted[..., : height * zoom, : width * zoom]

    def _compressed(
        self,
        own: Float[Tensor, "B N D"],
        image: Float[Tensor, "B H W"],
        axes: "tuple[_Axis, _Axis]",
        resolution: Float[Tensor, "B 1 D"],
        known: Bool[Tensor, "B 1"] | None,
        *,
        periodic: bool,
    ) -> Float[Tensor, "B N D"]:
        """Return what the blocks make of the leaves' tokens, at the patches."""
        assert self.compression is not None
        tokens, tree = self.compression.compress(own, image, periodic=periodic)  # G M D
        latitude, longitude = axes
        lengths = None
        if self.compression.density is not None:  # samples of unequal length in a row
            lengths = tree.lengths.tolist()
            latitude = _Axis(*(_in_a_row(part, tree.lengths) for part in latitude))
            longitude = _Axis(*(_in_a_row(part, tree.lengths) for part in longitude))
            resolution = _in_a_row(resolution, tree.lengths)
            known = None if known is None else _in_a_row(known, tree.lengths)
        # each leaf lies at its own centre
        place = _at(latitude, tree.centre[..., 0]), _at(longitude, tree.centre[..., 1])
        tokens = tokens + self.position(*place, known) + resolution
        tokens = self.join(self._encode(self.split(tokens), lengths))
        return self.compression.expand(tokens, tree, own)

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
    return extend(fields, (north, south), (west, east), periodic=periodic)


class _Axis(NamedTuple):
    """Where patches lie on a uniform axis: the first one's centre, and the step to the next."""

    first_deg: Float[Tensor, "B 1"]
    step_deg: Float[Tensor, "B 1"]


def _axis_of(centres_deg: Float[Tensor, "B n"], patch: int, before: int) -> _Axis:
    """Return the patches of an axis of cells, of which so many lie before the first one."""
    first, last = centres_deg[:, :1], centres_deg[:, -1:]
    step = (last - first) / max(centres_deg.shape[1] - 1, 1)
    return _Axis(first + step * ((patch - 1) / 2 - before), step * patch)


def _at(axis: _Axis, place: Tensor) -> Tensor:
    """Return coordinates [B, n] at places in units of patches, beyond the field too."""
    return axis.first_deg + axis.step_deg * place


def _patches(
    axes: tuple[_Axis, _Axis], rows: int, columns: int, own: slice
) -> tuple[Tensor, Tensor]:
    """Return latitude and longitude [B, n] of some patches of the rows*columns, row by row."""
    device = axes[0].first_deg.device
    row = torch.arange(rows, device=device).repeat_interleave(columns)
    column = torch.arange(columns, device=device).repeat(rows)
    return _at(axes[0], row[own]), _at(axes[1], column[own])


def _in_a_row(of_sample: Tensor, lengths: Tensor) -> Tensor:
    """Repeat what holds for a sample for each of its tokens, and join the samples."""
    return of_sample.flatten(1).squeeze(1).repeat_interleave(lengths, dim=0)[None]
