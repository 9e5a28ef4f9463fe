"""Attention: a weighted mean of the values, with the weights of the paper's formula."""

import math

import pytest
import torch

from orbitds.model.attention import attend

B, HEADS, N, M, D = 2, 3, 5, 7, 4


@pytest.fixture
def sides():
    """Query, key and value in float64; fewer queries than keys."""
    generator = torch.Generator().manual_seed(1)
    shapes = (B, HEADS, N, D), (B, HEADS, M, D), (B, HEADS, M, D)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def reference(query, key, value):
    """Softmax written out, one query at a time."""
    rows = []
    for place in range(query.shape[2]):
        scores = (query[:, :, place, None, :] * key).sum(dim=-1) / math.sqrt(query.shape[-1])
        weights = scores.exp() / scores.exp().sum(dim=-1, keepdim=True)
        rows.append((weights[..., None] * value).sum(dim=2))
    return torch.stack(rows, dim=2)


def test_a_constant_value_passes_through(sides):
    query, key, _ = sides
    value = torch.arange(1.0, D + 1, dtype=torch.float64).expand(B, HEADS, M, D)
    expected = value[:, :, :1].expand(B, HEADS, N, D)
    torch.testing.assert_close(attend(query, key, value), expected, rtol=0, atol=1e-14)


def test_order_of_the_keys_does_not_matter(sides):
    query, key, value = sides
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    shuffled = attend(query, key[:, :, order], value[:, :, order])
    torch.testing.assert_close(shuffled, attend(query, key, value), rtol=0, atol=1e-14)
    # keys without their values: the test would see a difference
    assert (attend(query, key[:, :, order], value) - shuffled).abs().max() > 0.1


def test_equals_the_formula_with_its_gradient(sides):
    sides = [side.requires_grad_() for side in sides]
    out, expected = attend(*sides), reference(*sides)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-13)
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(2)).double()
    for got, want in zip(
        torch.autograd.grad((out * direction).sum(), sides),
        torch.autograd.grad((expected * direction).sum(), sides),
        strict=True,
    ):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-13)


def test_large_scores_do_not_overflow(sides):
    query, key, value = sides
    out = attend(1e6 * query, key, value)
    best = (query @ key.mT).argmax(dim=-1)
    expected = value.gather(2, best[..., None].expand(-1, -1, -1, D))
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
