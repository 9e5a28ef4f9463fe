"""Ensembles: CRPS of closed forms and of pairs, spread of a perfect ensemble, flat ranks."""

import itertools

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from orbitds.loss import fair_crps
from orbitds.metrics.ensemble import (
    SPREAD,
    fair_crps_map,
    rank_weights,
    spread_skill,
    spread_sums,
)


def draws(members, times=2, seed=0, spread=1.0):
    """Members and a truth that is drawn as they are, by cell."""
    generator = torch.Generator().manual_seed(seed)
    field = torch.randn(members + 1, times, 18 * 27, generator=generator, dtype=torch.float64)
    return spread * field[1:], field[0]


def test_crps_is_that_of_all_pairs():
    members, truth = draws(5)
    pairs = sum((one - other).abs() for one, other in itertools.permutations(members, 2))
    expected = (members - truth).abs().mean(dim=0) - pairs / (2 * 5 * 4)
    assert_close(fair_crps_map(members, truth), expected, rtol=1e-12, atol=1e-12)


def test_crps_is_the_training_loss():
    members, truth = draws(3)
    total, weight = fair_crps(
        members[:, None, None], truth[None, None], weight=torch.ones(1, 1, *truth.shape).double()
    )
    assert_close(fair_crps_map(members, truth).mean(), total / weight, rtol=1e-12, atol=0)


def test_crps_of_a_normal_distribution():
    # Gneiting and Raftery 2007: of N(0, 1) at 0 it is (sqrt(2) - 1) / sqrt(pi)
    members, _ = draws(4, times=300)
    got = float(fair_crps_map(members, torch.zeros_like(members[0])).mean())
    assert got == pytest.approx((2**0.5 - 1) / np.pi**0.5, rel=0.01)


def test_spread_is_the_error_of_the_mean_where_all_are_drawn_alike():
    for members, spread, wanted in (
        (3, 1.0, 1.0),
        (8, 1.0, 1.0),
        (8, 0.5, 0.5 * (9 / 8 / (1 + 0.25 / 8)) ** 0.5),
    ):
        drawn, truth = draws(members, times=200, spread=spread)
        sums = {
            name: v.sum(dim=0, keepdim=True).numpy()
            for name, v in zip(SPREAD, spread_sums(drawn, truth, None), strict=True)
        }
        squared = ((drawn.mean(dim=0) - truth) ** 2).sum()[None].numpy()
        got = spread_skill(sums["member_variance"], squared, members)
        np.testing.assert_allclose(got, wanted, rtol=0.02)


def test_ranks_are_flat_for_a_truth_like_its_members():
    drawn, truth = draws(4, times=200)
    ranks = rank_weights(drawn, truth, torch.ones_like(truth)).numpy()
    np.testing.assert_allclose(ranks / ranks.sum(), 0.2, rtol=0.02)
    assert ranks.sum() == pytest.approx(200 * 18 * 27)


def test_ranks_by_hand_and_equal_ones_shared():
    weight = torch.tensor([[1.0, 2.0, 4.0]]).double()
    members = torch.tensor([[[0.0, 1.0, 0.0]], [[0.0, 2.0, 5.0]]])
    truth = torch.tensor([[0.0, 1.5, 9.0]])
    got = rank_weights(members, truth, weight)
    # the first cell may have any of three ranks, the second is between, the third above
    assert_close(got, torch.tensor([1 / 3, 1 / 3 + 2, 1 / 3 + 4]).double())
    valid = torch.tensor([[False, True, False]])
    assert rank_weights(members, truth, weight * valid).tolist() == [0, 2, 0]
