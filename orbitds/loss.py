"""Training losses: the Bayesian one of ORBIT-2, plain errors, and two for predicted distributions.

Each returns the weighted sum of the loss and the sum of the weights. Their ratio is the loss. Two
numbers are returned, so that tiles, accumulated parts and ranks can be summed before the division:
then each fine cell counts by its weight, wherever it was computed.

In all of them ``target`` is the normalised truth, finite where the weight is not zero, and
``weight`` is cell area times mask times variable weight; zero on halos; it need not sum to one.
"""

import itertools
import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Field = Float[Tensor, "B U Hf Wf"]
Weight = Float[Tensor, "#B #U Hf Wf"]
Scalar = Float[Tensor, ""]


def bayesian_tv(
    prediction: Field,
    target: Field,
    *,
    weight: Weight,
    tv_weight: float | Float[Tensor, " U"],
    tv_diagonal: float = 0.7,
    base: Field | None = None,
    periodic: bool = False,
) -> tuple[Scalar, Scalar]:
    """Return the negative log posterior: Gaussian likelihood with a total-variation prior.

    Parameters
    ----------
    prediction
        Normalised fine fields.
    tv_weight
        Weight lambda of the total-variation prior over the eight neighbours, for all variables or
        for each.
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
    density = _error(prediction, target, weight) ** 2
    if isinstance(tv_weight, Tensor):
        tv_weight = tv_weight[:, None, None]
    if isinstance(tv_weight, Tensor) or tv_weight > 0:
        smoothed = prediction if base is None else prediction - base
        density = density + tv_weight * total_variation(
            smoothed, diagonal=tv_diagonal, periodic=periodic
        )
    return (weight * density).sum(), weight.sum()


def square_error(prediction: Field, target: Field, *, weight: Weight) -> tuple[Scalar, Scalar]:
    """Return the squared error: the mean is what minimises it."""
    weight = weight.expand_as(prediction)
    return (weight * _error(prediction, target, weight) ** 2).sum(), weight.sum()


def absolute_error(prediction: Field, target: Field, *, weight: Weight) -> tuple[Scalar, Scalar]:
    """Return the absolute error: the median is what minimises it."""
    weight = weight.expand_as(prediction)
    return (weight * _error(prediction, target, weight).abs()).sum(), weight.sum()


def gaussian(
    mean: Field, log_variance: Field, target: Field, *, weight: Weight
) -> tuple[Scalar, Scalar]:
    """Return the negative log likelihood of a normal distribution in each cell.

    Parameters
    ----------
    mean, log_variance
        What the model predicts, normalised; the logarithm keeps the variance positive.

    Notes
    -----
    The constant log(2 pi)/2 is left in, so that the value is a likelihood: that of a standard
    normal target under mean 0 and variance 1 is 1.4189 on average.
    """
    weight = weight.expand_as(mean)
    error = _error(mean, target, weight)
    density = (log_variance + error**2 * torch.exp(-log_variance) + math.log(2 * math.pi)) / 2
    return (weight * density).sum(), weight.sum()


def fair_crps(
    members: Float[Tensor, "K B U Hf Wf"], target: Field, *, weight: Weight
) -> tuple[Scalar, Scalar]:
    """Return the fair continuous ranked probability score of an ensemble.

    Parameters
    ----------
    members
        Two or more members of each field. The score does not favour one ensemble size: its
        expectation is that of an endless ensemble from the same distribution.

    References
    ----------
    Ferro (2014), Fair scores for ensemble forecasts, Q. J. R. Meteorol. Soc. 140.
    """
    count = members.shape[0]
    if count < 2:
        raise ValueError(f"Wanted two or more members, got {count}. Draw more.")
    weight = weight.expand_as(members[0])
    skill = sum(_error(member, target, weight).abs() for member in members) / count
    pairs = itertools.combinations(members, 2)
    spread = sum((one - other).abs() for one, other in pairs) / (count * (count - 1))
    return (weight * (skill - spread)).sum(), weight.sum()


def _error(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    # a missing target has weight zero; zero times NaN would still be NaN
    return torch.where(weight > 0, prediction - target, 0.0)


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
