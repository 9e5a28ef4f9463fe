"""Portions: the heads, hidden units and tokens of one process; what is computed again."""

import pytest
import torch

from orbitds.ledger import Ledger
from orbitds.model.block import Block
from orbitds.train.portion import forget, narrow_weights, split_matrices, split_tokens
from tests.distributed.sharing import model_of, sample_of


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


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, {"aggregate": [26], "blocks": [26, 26], "decode": [26]}),
        # 77 patches, of which compression makes 36 tokens
        ({"compression": 2.0}, {"aggregate": [77], "blocks": [12, 12], "decode": [26]}),
    ],
)
def test_tokens_are_shared_from_the_variables_to_the_painted_cells(settings, wanted):
    model, seen = model_of(torch.float32, patch=1, **settings), {}
    trunk = model.trunk

    def look(name, module):
        def note(_, given, __):
            seen.setdefault(name, []).append(given[0].shape[1])

        module.register_forward_hook(note)

    look("aggregate", trunk.aggregate.project)
    for block in trunk.blocks:
        look("blocks", block.norm_mlp)
    look("decode", trunk.decode.hidden[0])
    split_tokens(trunk, 3)
    sample = sample_of(torch.float32)
    assert model.predict(**sample).fine.shape == (2, 2, 21, 33)
    assert seen == wanted


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
