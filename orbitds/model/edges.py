"""Where a field changes abruptly: Canny's edges on the device, without its data-dependent loop."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from orbitds.interpolate import pad

# Multiples of the root-mean-square gradient above which a pixel is weak and strong: of Gaussian
# noise a third of the pixels is strong, before all but the ridges are dropped. So narrow a gap
# keeps chains of weak pixels short, and with them what the single step leaves out of Canny's edges.
LOW, HIGH = 0.8, 1.0
# Least root-mean-square gradient of a normalised field: a thousand times that of rounding noise.
FLOOR = 1e-3
# Pixels around a pixel that decide on it: smoothing 2, Sobel 1, its neighbours 1, theirs 1.
REACH = 5
# The Gaussian of sigma 1 at 0, 1 and 2 pixels, with unit sum over the five.
_GAUSSIAN = [math.exp(-(x**2) / 2) for x in range(3)]
_CENTRE, _NEAR, _FAR = (w / (2 * sum(_GAUSSIAN) - 1) for w in _GAUSSIAN)
# Gradients within 22.5 degrees of an axis count as parallel to it.
_STEEP = math.tan(math.pi / 8)


@torch.no_grad()
def edges_of(
    image: Float[Tensor, "B H W"], *, periodic: bool, low: float = LOW, high: float = HIGH
) -> Bool[Tensor, "B H W"]:
    """Mark the edges of each field, with thresholds relative to its own gradients.

    Parameters
    ----------
    image
        Normalised fields. One that is uniform but for rounding has no edges.
    periodic
        Whether the last column is a neighbour of the first. Other borders repeat the outer cell.
    low, high
        Thresholds in units of the sample's root-mean-square gradient, see ``edge_map``.
    """
    east, south, magnitude = _gradient(image, periodic=periodic)
    own = magnitude[:, 2:-2, 2:-2]
    typical = own.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=FLOOR)
    return _edges(east, south, magnitude, low * typical, high * typical)


@torch.no_grad()
def edge_map(
    image: Float[Tensor, "B H W"], *, low: float, high: float, periodic: bool
) -> Bool[Tensor, "B H W"]:
    """Mark the pixels where the gradient is largest across an edge.

    Parameters
    ----------
    low, high
        Least magnitudes of the Sobel gradient (eight times the difference per pixel) for a pixel
        that has a pixel above ``high`` among its eight neighbours, and for any pixel.
    periodic
        Whether the last column is a neighbour of the first. Other borders repeat the outer cell.

    Notes
    -----
    Smoothing, suppression and thresholds are those of ``kornia.filters.canny``. Canny follows weak
    edges as far as they go; here one step from the strong ones stands for that loop, whose length
    depends on the data and would have the host wait for the device at every turn.

    References
    ----------
    Canny (1986), A computational approach to edge detection.
    """
    return _edges(*_gradient(image, periodic=periodic), low, high)


def count_edges(edges: Bool[Tensor, "B H W"], patch: int) -> Int[Tensor, "B H/{patch} W/{patch}"]:
    """Count the edge pixels of each patch."""
    return edges.unflatten(2, (-1, patch)).unflatten(1, (-1, patch)).sum(dim=(2, 4))


def _gradient(image: Tensor, *, periodic: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return the Sobel gradient to the east and south and its size, two pixels beyond the image."""
    # sums of slices: a convolution would round to TF32 or, under autocast, to bf16
    image = pad(image.float(), REACH, periodic)
    image = _smooth(_smooth(image).mT).mT
    above, here, below = image[:, :-2], image[:, 1:-1], image[:, 2:]
    across = (above + below).add(here, alpha=2)
    down = below - above
    east = across[:, :, 2:] - across[:, :, :-2]
    south = (down[:, :, :-2] + down[:, :, 2:]).add(down[:, :, 1:-1], alpha=2)
    return east, south, torch.hypot(east, south)


def _smooth(image: Tensor) -> Tensor:
    """Smooth along the rows' axis; the result is two rows shorter at either end."""
    far = image[:, :-4] + image[:, 4:]
    near = image[:, 1:-3] + image[:, 3:-1]
    return (image[:, 2:-2] * _CENTRE).add(near, alpha=_NEAR).add(far, alpha=_FAR)


def _edges(
    east: Tensor, south: Tensor, magnitude: Tensor, low: float | Tensor, high: float | Tensor
) -> Tensor:
    """Keep the ridges of the gradient above the thresholds, two pixels smaller on all sides."""
    ridge = _is_ridge(east[:, 1:-1, 1:-1], south[:, 1:-1, 1:-1], magnitude)
    peak = magnitude[:, 1:-1, 1:-1]
    strong = ridge & (peak > high)
    weak = ridge & (peak > low)
    strong = strong[:, :-2] | strong[:, 1:-1] | strong[:, 2:]
    strong = strong[:, :, :-2] | strong[:, :, 1:-1] | strong[:, :, 2:]
    return weak[:, 1:-1, 1:-1] & strong


def _is_ridge(east: Tensor, south: Tensor, magnitude: Tensor) -> Tensor:
    """Tell where the magnitude exceeds that of both neighbours up and down the gradient.

    Of two equal pixels along an axis the first is kept. Along a diagonal none is: the pixels
    between the two lie on the edge as well.
    """
    steepness, flatness = south.abs(), east.abs()
    is_east = steepness < _STEEP * flatness
    is_south = flatness < _STEEP * steepness
    is_falling = (east * south) > 0
    here = magnitude[:, 1:-1, 1:-1]
    diagonal = torch.where(is_falling, magnitude[:, :-2, :-2], magnitude[:, :-2, 2:])
    before = torch.where(is_south, magnitude[:, :-2, 1:-1], diagonal)
    before = torch.where(is_east, magnitude[:, 1:-1, :-2], before)
    diagonal = torch.where(is_falling, magnitude[:, 2:, 2:], magnitude[:, 2:, :-2])
    after = torch.where(is_south, magnitude[:, 2:, 1:-1], diagonal)
    after = torch.where(is_east, magnitude[:, 1:-1, 2:], after)
    ties = (is_east | is_south) & (here == after)
    return (here > before) & ((here > after) | ties)
