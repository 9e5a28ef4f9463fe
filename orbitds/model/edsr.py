"""EDSR: residual blocks of convolutions on the coarse grid, then sub-pixel upsampling."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from orbitds.config import ModelConfig
from orbitds.interpolate import REACH_CELLS, pad
from orbitds.model.convolutional import ConvolutionalModel

# Of what a residual block adds: so that deep networks train (Lim et al. 2017, section 3.3).
RESIDUAL_SCALE = 0.1


class EDSR(ConvolutionalModel):
    """Enhanced deep super-resolution network: ``depth`` residual blocks of ``width`` channels.

    Blocks have no normalisation, as published. Details of the fine grid enter the first
    convolution with the fine cells of a coarse one as channels, and the last convolution starts at
    zero: the network adds to its base. Weights are shared by all places, tiles have no phase.

    References
    ----------
    Lim et al. 2017, Enhanced deep residual networks for single image super-resolution
    (arXiv 1707.02921). Upsampling: Shi et al. 2016 (arXiv 1609.05158).
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
        width = config.width
        self.head = nn.Conv2d(len(self.inputs) + self.details * factor**2, width, kernel_size=3)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(config.depth))
        self.body = nn.Conv2d(width, width, kernel_size=3)
        self.steps = _prime_factors(factor)
        self.upsample = nn.ModuleList(
            nn.Conv2d(width, width * step**2, kernel_size=3) for step in self.steps
        )
        self.tail = nn.Conv2d(width, self.painted, kernel_size=3)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # pyright: ignore[reportArgumentType]  a Conv2d with bias

    @property
    def reach_cells(self) -> int:
        """Coarse cells around a cell that decide on it: exact."""
        # the closing convolution crosses into the next coarse cell, and so does each before it by
        # no more than one cell of its own grid: all of upsampling reaches two coarse cells
        upsampling = 2 if self.steps else 1
        network = 2 * len(self.blocks) + 2 + upsampling
        structure = REACH_CELLS if self.base.is_delta and self.factor > 1 else 0
        return network + structure

    def paint(
        self,
        fields: Float[Tensor, "B V H W"],
        base: Float[Tensor, "B U Hf Wf"],
        details: Float[Tensor, "B S Hf Wf"],
        *,
        periodic: bool,
        phase: tuple[int, int],  # noqa: ARG002  it has no patches
    ) -> Float[Tensor, "B C Hf Wf"]:
        """Return what to add to the base; see ``ConvolutionalModel``."""
        known = fields.to(base)
        if self.details:  # pixel_unshuffle leaves the size of no channels as it is
            known = torch.cat([known, pixel_unshuffle(details, self.factor)], dim=1)
        first = seen = self.head(pad(known, 1, periodic))
        for block in self.blocks:
            seen = block(seen, periodic=periodic)
        seen = first + self.body(pad(seen, 1, periodic))
        for step, layer in zip(self.steps, self.upsample, strict=True):
            seen = pixel_shuffle(layer(pad(seen, 1, periodic)), step)
        return self.tail(pad(seen, 1, periodic))


class ResidualBlock(nn.Module):
    """Two convolutions whose result is scaled and added to what they were given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, kernel_size=3)
        self.second = nn.Conv2d(width, width, kernel_size=3)

    def forward(self, seen: Float[Tensor, "B C H W"], *, periodic: bool) -> Tensor:
        """Return the fields with what the block adds."""
        hidden = self.first(pad(seen, 1, periodic)).relu()
        return seen + RESIDUAL_SCALE * self.second(pad(hidden, 1, periodic))


def _prime_factors(factor: int) -> tuple[int, ...]:
    """Return the steps of upsampling: twice by 2 rather than once by 4, as published."""
    steps, divisor = [], 2
    while factor > 1:
        while factor % divisor == 0:
            steps.append(divisor)
            factor //= divisor
        divisor += 1
    return tuple(steps)
