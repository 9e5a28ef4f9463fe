"""U-Net on the fine grid: interpolated fields go down to coarser levels and up again."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from orbitds.config import ModelConfig
from orbitds.interpolate import extend, interpolate, pad
from orbitds.model.convolutional import ConvolutionalModel


class UNet(ConvolutionalModel):
    """U-Net of ``depth`` halvings, from ``width`` channels on the fine grid, doubled at each level.

    Where it departs from the publication: convolutions keep the size of the field (periodic in
    longitude where the field is), and the last one starts at zero, since the network adds to its
    base. There is no normalisation, as published: statistics of a window would depend on the tiles.

    A field is cut into cells of the lowest level from its phase on. Its borders are filled up to
    whole ones by repetition; a circle of longitude that is not a whole number of them is unrolled
    far enough on both sides that no cell sees where it ends.

    References
    ----------
    Ronneberger, Fischer and Brox 2015, U-Net: convolutional networks for biomedical image
    segmentation (arXiv 1505.04597).
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
        self.stride = 2**config.depth
        # windows begin at coarse cells that are also the edge of a cell of the lowest level
        self.patch = self.stride // math.gcd(self.stride, factor)
        channels = len(self.inputs) + len(self.outputs) + self.details
        widths = [config.width * 2**level for level in range(config.depth + 1)]
        self.down = nn.ModuleList(
            Level(above, width) for above, width in zip([channels, *widths], widths, strict=False)
        )
        self.grow = nn.ModuleList(
            nn.ConvTranspose2d(2 * width, width, kernel_size=2, stride=2) for width in widths[:-1]
        )
        self.up = nn.ModuleList(Level(2 * width, width) for width in widths[:-1])
        self.tail = nn.Conv2d(config.width, self.painted, kernel_size=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # pyright: ignore[reportArgumentType]  a Conv2d with bias

    @property
    def reach_cells(self) -> int:
        """Coarse cells around a cell that decide on it: the farthest of all places in a level."""
        factor = self.factor
        farthest = 0
        for place in range(math.lcm(self.stride, factor)):
            low, high = _seen_from(place, self.config.depth)
            # a cell in the middle of a coarse one is interpolated from that alone, its neighbour
            # from four
            west, east = (
                [_interpolated_from(near, factor) for near in ends]
                for ends in ((low, low + 1), (high - 1, high))
            )
            first, last = min(cells[0] for cells in west), max(cells[1] for cells in east)
            own = place // factor
            farthest = max(farthest, own - first, last - own)
        return farthest

    def paint(
        self,
        fields: Float[Tensor, "B V H W"],
        base: Float[Tensor, "B U Hf Wf"],
        details: Float[Tensor, "B S Hf Wf"],
        *,
        periodic: bool,
        phase: tuple[int, int],
    ) -> Float[Tensor, "B C Hf Wf"]:
        """Return what to add to the base; see ``ConvolutionalModel``."""
        fine = interpolate(fields, self.factor, "bicubic", periodic=periodic)
        known = torch.cat([fine.to(base), base, details], dim=1)
        height, width = known.shape[-2:]
        north, west = (cells * self.factor % self.stride for cells in phase)
        wraps = periodic and width % self.stride == 0 and west == 0
        around = 0
        if periodic and not wraps:
            low, high = _seen_from(0, self.config.depth)
            around = -(-(high - low) // self.stride) * self.stride
        rows = north, -(north + height) % self.stride
        columns = west + around, -(west + width) % self.stride + around
        known = extend(known, rows, columns, periodic=periodic)
        painted = self.tail(self._run(known, periodic=wraps))
        return painted[..., rows[0] : rows[0] + height, columns[0] : columns[0] + width]

    def _run(self, seen: Float[Tensor, "B C Hf Wf"], *, periodic: bool) -> Tensor:
        *outer, lowest = self.down
        skipped = []
        for level in outer:
            seen = level(seen, periodic=periodic)
            skipped.append(seen)
            seen = max_pool2d(seen, 2)
        seen = lowest(seen, periodic=periodic)
        for number in reversed(range(len(outer))):
            seen = torch.cat([skipped[number], self.grow[number](seen)], dim=1)
            seen = self.up[number](seen, periodic=periodic)
        return seen


class Level(nn.Module):
    """Two convolutions of 3 x 3 with ReLU."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, kernel_size=3)
        self.second = nn.Conv2d(width, width, kernel_size=3)
        for layer in (self.first, self.second):  # as published: values keep their size on the way
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, seen: Float[Tensor, "B C H W"], *, periodic: bool) -> Tensor:
        """Return what the level makes of the fields."""
        seen = self.first(pad(seen, 1, periodic)).relu()
        return self.second(pad(seen, 1, periodic)).relu()


def _seen_from(place: int, depth: int) -> tuple[int, int]:
    """Return the first and last fine cell that a U-Net looks at for the one at a place."""
    low, high = place - 2, place + 2
    for _ in range(depth):
        low, high = low // 2 - 2, high // 2 + 2
    for _ in range(depth):
        low, high = 2 * low - 2, 2 * high + 3
    return low, high


def _interpolated_from(place: int, factor: int) -> tuple[int, int]:
    """Return the first and last coarse cell that decide on an interpolated fine one."""
    cell, beside = divmod(2 * place + 1 - factor, 2 * factor)
    return (cell - 1, cell + 2) if beside else (cell, cell)
