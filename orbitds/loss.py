"""The Bayesian training loss: Gaussian likelihood with a total-variation prior."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Field = Float[Tensor, "B U Hf Wf"]
Scalar = Float[Tensor, ""]


def bayesian_tv(
    prediction: Field,
    target: Field,
    *,
    weight: Float[Tensor, "#B #U Hf Wf"],
    tv_weight: float,
    tv_diagonal: float = 0.7,
    base: Field | None = None,
    periodic: bool = False,
) -> tuple[Scalar, Scalar]:
    """Return the weighted sum of the negative log posterior, and the sum of the weights.

    Their ratio is the loss. Two numbers are returned, so that tiles, accumulated parts and ranks
    can be summed before the division: then each fine cell counts by its weight, wherever it was
    computed.

    Parameters
    ----------
    prediction, target
        Normalised fine fields; the target is finite where the weight is not zero.
    weight
        Cell area times mask times variable weight; zero on halos. Need not sum to one.
    tv_weight
        Weight lambda of the total-variation prior over the eight neighbours.
    tv_diagonal
        Weight of the diagonal neighbours within the prior.
    base
        If given, the prior acts on what the model adds to it: the prior on the whole field charges
        true mountains.
    periodic
        Whether the last column is a neighbour of the first.

    Notes
    -----
    A pair of neighbours belongs to its upper-left cell, so on a tile its weight is that of the
    core; a pair that would reach beyond the field counts as zero.

    References
    ----------
    ORBIT-2 (Wang et al. 2025, arXiv 2505.04802), Bayesian training loss.
    """
    weight = weight.expand_as(prediction)
    # a missing target has weight zero; zero times NaN would still be NaN
    error = torch.where(weight > 0, prediction - target, 0.0)
    density = error**2
    if tv_weight > 0:
        smoothed = prediction if base is None else prediction - base
        density = density + tv_weight * total_variation(
            smoothed, diagonal=tv_diagonal, periodic=periodic
        )
    return (weight * density).sum(), weight.sum()


def total_variation(field: Field, *, diagonal: float, periodic: bool) -> Field:
    """Return the weighted absolute differences of each cell to its neighbours, each pair once."""
    below = F.pad(field[..., 1:, :], (0, 0, 0, 1))
    right = field.roll(-1, dims=-1)
    below_right = below.roll(-1, dims=-1)
    exists = torch.ones_like(field[:1, :1])
    vertical, horizontal, both = exists.clone(), exists.clone(), exists.clone()
    vertical[..., -1, :] = 0
    both[..., -1, :] = 0
    if not periodic:
        horizontal[..., -1] = 0
        both[..., -1] = 0
    return (
        vertical * (below - field).abs()
        + horizontal * (right - field).abs()
        + diagonal * both * ((below_right - field).abs() + (below - right).abs())
    )
