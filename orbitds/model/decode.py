"""The decoder head: each token paints its own block of the fine grid."""

from collections.abc import Callable, Sequence

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from orbitds.interpolate import pad
from orbitds.model.heads import for_factors, of_factor
from orbitds.model.interface import unchanged


class Decoder(nn.Module):
    """Linear layers per token, then its ``zoom*patch`` square block for each output variable.

    The last linear layer starts at zero and the closing convolution at the identity, so that an
    untrained model adds nothing to its base.

    Parameters
    ----------
    patch
        Edge of a token's patch in cells that the trunk is given.
    zooms
        Painted cells along the edge of such a cell; of several each has its own last layers.
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
        self,
        width: int,
        outputs: int,
        *,
        depth: int,
        patch: int,
        zooms: Sequence[int],
        smooth: bool = True,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.split: Callable[[Tensor], Tensor] = unchanged
        self.join: Callable[[Tensor], Tensor] = unchanged
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [nn.Linear(width, width), nn.GELU()]
        self.hidden = nn.Sequential(*layers)
        self.paint = for_factors(zooms, lambda zoom: _painter(width, outputs * (zoom * patch) ** 2))
        self.smooth = for_factors(zooms, lambda _: _smoother(outputs)) if smooth else None

    def forward(
        self, tokens: Float[Tensor, "B N D"], rows: int, *, zoom: int, periodic: bool
    ) -> Float[Tensor, "B U Hf Wf"]:
        """Return the trunk's share of the fine fields; ``rows`` patches from north to south."""
        pixels = self.join(of_factor(self.paint, zoom)(self.hidden(self.split(tokens))))
        # channels last in memory, as convolutions on the fine grid want them
        block = zoom * self.patch
        fine = rearrange(
            pixels, "b (h w) (u p q) -> b (h p) (w q) u", h=rows, p=block, q=block
        ).permute(0, 3, 1, 2)
        if self.smooth is None:
            return fine
        return of_factor(self.smooth, zoom)(pad(fine, 1, periodic))


def _painter(width: int, painted: int) -> nn.Linear:
    layer = nn.Linear(width, painted)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _smoother(outputs: int) -> nn.Conv2d:
    layer = nn.Conv2d(outputs, outputs, kernel_size=3)
    nn.init.dirac_(layer.weight)
    nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]  a Conv2d with bias has one
    return layer
