"""The decoder head: each token paints its own block of the fine grid."""

from collections.abc import Callable

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from orbitds.interpolate import pad
from orbitds.model.interface import unchanged


class Decoder(nn.Module):
    """Linear layers per token, then its ``factor*patch`` square block for each output variable.

    The last linear layer starts at zero and the closing convolution at the identity, so that an
    untrained model adds nothing to its base.

    Parameters
    ----------
    smooth
        Whether a 3 x 3 convolution closes; the residual path's convolutions make it superfluous.

    Attributes
    ----------
    split, join
        Around the linear layers: nothing, or what training puts there where processes share tokens.

    Notes
    -----
    ORBIT-2's public decoder reshapes a token's outputs along the row, so that a token paints a
    strip elsewhere on the map; here the block lies where the token lies.
    """

    def __init__(
        self, width: int, outputs: int, *, depth: int, block: int, smooth: bool = True
    ) -> None:
        super().__init__()
        self.block = block
        self.split: Callable[[Tensor], Tensor] = unchanged
        self.join: Callable[[Tensor], Tensor] = unchanged
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [nn.Linear(width, width), nn.GELU()]
        self.hidden = nn.Sequential(*layers)
        self.paint = nn.Linear(width, outputs * block * block)
        nn.init.zeros_(self.paint.weight)
        nn.init.zeros_(self.paint.bias)
        self.smooth = nn.Conv2d(outputs, outputs, kernel_size=3) if smooth else None
        if self.smooth is not None:
            nn.init.dirac_(self.smooth.weight)
            nn.init.zeros_(self.smooth.bias)  # pyright: ignore[reportArgumentType]  a Conv2d with bias has one

    def forward(
        self, tokens: Float[Tensor, "B N D"], rows: int, *, periodic: bool
    ) -> Float[Tensor, "B U Hf Wf"]:
        """Return the trunk's share of the fine fields; ``rows`` patches from north to south."""
        pixels = self.join(self.paint(self.hidden(self.split(tokens))))
        # channels last in memory, as convolutions on the fine grid want them
        fine = rearrange(
            pixels, "b (h w) (u p q) -> b (h p) (w q) u", h=rows, p=self.block, q=self.block
        ).permute(0, 3, 1, 2)
        return fine if self.smooth is None else self.smooth(pad(fine, 1, periodic))
