"""Scores of ensembles: CRPS, spread and ranks."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from orbitds.metrics.moments import ratio

# Sums of an ensemble.
SPREAD = ("crps", "member_variance")


def fair_crps_map(
    members: Float[Tensor, "M *T N"], truth: Float[Tensor, "*T N"]
) -> Float[Tensor, "*T N"]:
    """Return the fair continuous ranked probability score of each cell.

    The members are sorted once: the mean difference of all pairs is a weighted sum of them.

    References
    ----------
    Ferro (2014), Fair scores for ensemble forecasts, Q. J. R. Meteorol. Soc. 140.
    """
    count = len(members)
    skill = (members - truth).abs().mean(dim=0)
    place = torch.arange(1, count + 1, dtype=members.dtype)
    ordered = members.sort(dim=0).values
    pairs = torch.tensordot(2 * place - count - 1, ordered, dims=1)  # sum over pairs i < j
    return skill - pairs / (count * (count - 1))


def spread_sums(
    members: Float[Tensor, "M T N"], truth: Float[Tensor, "T N"], valid: Bool[Tensor, "T N"] | None
) -> Float[Tensor, "2 N"]:
    """Return ``SPREAD``, CRPS and the variance of two or more members, over a few times."""
    members, truth = members.double(), truth.double()
    values = torch.stack([fair_crps_map(members, truth), members.var(dim=0)])
    return (values if valid is None else values.mul_(valid)).sum(dim=1)


def spread_skill(
    variance: Float[np.ndarray, "*D R"], error_squared: Float[np.ndarray, "*D R"], members: int
) -> Float[np.ndarray, "*D R"]:
    """Return the spread over the RMSE of the mean; one where members and truth are alike.

    References
    ----------
    Fortin et al. 2014, Why should ensemble spread match the RMSE of the ensemble mean?
    """
    return np.sqrt((1 + 1 / members) * ratio(variance, error_squared))


def rank_weights(
    members: Float[Tensor, "M T N"], truth: Float[Tensor, "T N"], weight: Float[Tensor, "T N"]
) -> Float[Tensor, "M_1"]:
    """Return the weight of the cells whose truth has each rank among the members.

    A truth that equals members, as on dry days, counts in equal parts for all ranks it may have.
    """
    count = len(members)
    below = (members < truth).sum(dim=0)
    equal = (members == truth).sum(dim=0)
    joint = torch.bincount(
        (below * (count + 1) + equal).flatten(), weight.flatten(), minlength=(count + 1) ** 2
    ).view(count + 1, count + 1)
    ranks = torch.zeros(count + 1, dtype=torch.float64)
    for ties in range(count + 1):
        for lowest in range(count + 1 - ties):
            ranks[lowest : lowest + ties + 1] += joint[lowest, ties] / (ties + 1)
    return ranks
