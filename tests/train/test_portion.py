"""Portions: the heads, hidden units and tokens of one process; what is computed again."""

import pytest
import torch

from orbitds.ledger import Ledger
from orbitds.model.block import Block
from orbitds.train.portion import forget, narrow_weights, split_matrices, split_tokens


def blocks(width=24, heads=4):
    torch.manual_seed(3)
    return [Block(width, heads, mlp_ratio=3.0) for _ in range(2)]


def numbers(block):
    return sum(weight.numel() for weight in block.parameters())


def test_matrices_are_split_and_norms_are_not():
    whole, split = blocks()[0], blocks()
    split_matrices(split, 2)
    width, hidden = 24, 72
    matrices = 4 * width**2 + 2 * width * hidden
    assert numbers(whole) - numbers(split[0]) == (matrices + 3 * width + hidden) // 2
    assert split[0].query_key_value.out_features == 3 * 2 * split[0].head_width
    assert split[0](torch.rand(2, 7, width)).shape == (2, 7, width)
    split_matrices(same := blocks(), 1)
    assert numbers(same[0]) == numbers(whole)


def test_tokens_are_shared_within_the_blocks_alone():
    some, seen = blocks(), []
    for block in some:
        block.norm_mlp.register_forward_hook(lambda _, given, __: seen.append(given[0].shape))
    split_tokens(some, 3)
    tokens = torch.rand(2, 7, 24)
    for block in some:
        tokens = block(tokens)
    assert seen == [(2, 3, 24)] * 2
    assert tokens.shape == (2, 7, 24)


@pytest.mark.parametrize("kind", ["none", "selective", "full"])
def test_what_is_computed_again_is_not_kept_and_changes_nothing(kind):
    plain, some = blocks(), blocks()
    forget(some, kind)
    gradients, kept = [], []
    for chosen in (plain, some):
        tokens = torch.rand(2, 50, 24, generator=torch.Generator().manual_seed(5))
        ledger = Ledger([tokens, *(w for block in chosen for w in block.parameters())])
        with ledger:
            out = chosen[1](chosen[0](tokens))
        kept.append(ledger.held_bytes)
        out.square().sum().backward()
        gradients.append([w.grad for block in chosen for w in block.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    size = 4 * 2 * 50 * 24
    if kind == "none":
        assert kept[0] == kept[1]
    elif kind == "full":
        assert kept[1] < 1.1 * 2 * size  # what goes into the second block, and the output
    else:  # of a block: products of 3, 1, 3 and 1 widths, attention's 1, and what goes in
        assert 2 * 9 * size < kept[1] < min(kept[0], 2 * 11 * size)


def test_narrow_weights_are_half_as_wide():
    some = blocks()
    narrow_weights(some)
    assert {weight.dtype for weight in some[0].parameters()} == {torch.bfloat16}
    assert [w.shape for w in some[1].parameters()] == [w.shape for w in blocks()[1].parameters()]
