"""The transformer block, against its formula written out, and its stochastic depth."""

import math

import pytest
import torch

from orbitds.model.block import Block, rows_by_head

B, N, D, HEADS = 2, 7, 12, 3


def block_of(**settings):
    """A block in float64 with nothing left at one or zero."""
    block = Block(D, HEADS, mlp_ratio=2.5, **settings).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in block.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    return block


@pytest.fixture
def tokens():
    return torch.randn(B, N, D, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def normalize(tokens, layer):
    mean = tokens.mean(dim=-1, keepdim=True)
    variance = ((tokens - mean) ** 2).mean(dim=-1, keepdim=True)
    return (tokens - mean) / (variance + 1e-5).sqrt() * layer.weight + layer.bias


def reference(block, tokens):
    """The block head by head, with its own layer norm, softmax and GELU."""
    normalized = normalize(tokens, block.norm_attention)
    projected = normalized @ block.query_key_value.weight.T + block.query_key_value.bias
    size = D // HEADS
    heads = []
    for of_head in projected.split(3 * size, dim=-1):
        query, key, value = of_head.split(size, dim=-1)
        scores = query @ key.mT / math.sqrt(size)
        weights = scores.exp() / scores.exp().sum(dim=-1, keepdim=True)
        heads.append(weights @ value)
    tokens = tokens + torch.cat(heads, dim=-1) @ block.project.weight.T + block.project.bias
    first, _, second, _ = block.mlp
    hidden = normalize(tokens, block.norm_mlp) @ first.weight.T + first.bias
    hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
    return tokens + hidden @ second.weight.T + second.bias


def only(block, branch):
    """Silence the other branch, so that what is left is one draw of one branch."""
    silent = {"attention": block.mlp[2], "mlp": block.project}[branch]
    with torch.no_grad():
        silent.weight.zero_()
        silent.bias.zero_()
    return block


def test_order_of_the_tokens_goes_through(tokens):
    block, order = block_of(), torch.tensor([4, 1, 6, 0, 3, 5, 2])
    torch.testing.assert_close(block(tokens[:, order]), block(tokens)[:, order], rtol=0, atol=1e-13)


def test_tokens_of_a_sample_exchange_information_and_samples_do_not(tokens):
    block, other = block_of(), tokens.clone()
    other[1, 2, 5] += 1  # all of a token at once would vanish in the layer norm
    change = (block(other) - block(tokens)).abs().amax(dim=-1)
    assert change[0].max() == 0
    assert change[1].min() > 1e-6


def test_equals_the_formula_with_its_gradient(tokens):
    block = block_of()
    out, expected = block(tokens), reference(block, tokens)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(5)).double()
    weights = list(block.parameters())
    for got, want in zip(
        torch.autograd.grad((out * direction).sum(), weights),
        torch.autograd.grad((expected * direction).sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-11)


def test_rows_are_in_the_order_of_heads():
    rows = torch.arange(3.0 * D)
    ordered = rows_by_head(rows, HEADS)
    # of the second head: its queries, its keys, its values
    assert ordered[12:24].tolist() == [4, 5, 6, 7, 16, 17, 18, 19, 28, 29, 30, 31]
    assert torch.equal(rows_by_head(rows[:, None], HEADS)[:, 0], ordered)


def test_a_new_block_starts_from_the_numbers_of_three_whole_matrices():
    torch.manual_seed(12)
    block = Block(D, HEADS)
    torch.manual_seed(12)
    whole = torch.nn.Linear(D, 3 * D)
    for got, rows in zip(block.query_key_value.parameters(), whole.parameters(), strict=True):
        assert torch.equal(got, rows_by_head(rows, HEADS))


def test_hidden_width_follows_the_ratio():
    assert block_of().mlp[0].out_features == 30


@pytest.mark.parametrize("settings", [{"drop_path": 0.6}, {"dropout": 0.6}])
def test_what_is_random_in_training_is_off_in_evaluation(tokens, settings):
    torch.manual_seed(6)
    block = block_of(**settings)
    assert not torch.equal(block(tokens), block(tokens))
    block.eval()
    torch.testing.assert_close(block(tokens), reference(block, tokens), rtol=0, atol=1e-12)


@pytest.mark.parametrize("branch", ["attention", "mlp"])
def test_drop_path_skips_whole_samples_and_keeps_the_expectation(tokens, branch):
    torch.manual_seed(7)
    drop, draws = 0.3, 4000
    block = only(block_of(drop_path=drop), branch)
    added = block.eval()(tokens[:1]) - tokens[:1]
    many = tokens[:1].expand(draws, N, D)
    share = ((block.train()(many) - many) / added).detach()
    # nothing, or the whole branch scaled up: the same for all tokens of a sample
    kept = share[:, 0, 0] > 0.5
    assert share[~kept].abs().max() == 0
    torch.testing.assert_close(
        share[kept], torch.full_like(share[kept], 1 / (1 - drop)), rtol=1e-9, atol=0
    )
    # four standard deviations of the mean of so many draws
    deviation = math.sqrt(drop / (1 - drop) / draws)
    assert abs(float(share[:, 0, 0].mean()) - 1) < 4 * deviation


# --- samples of unequal length, one after another ---


@pytest.mark.parametrize("lengths", [(3, 1, 6), (5,), (1, 1, 2, 4)])
def test_samples_in_a_row_are_worked_on_one_by_one(lengths):
    block = block_of(drop_path=0.9, dropout=0.9).eval()
    generator = torch.Generator().manual_seed(8)
    row = torch.randn(1, sum(lengths), D, generator=generator, dtype=torch.float64)
    row.requires_grad_()
    out = block(row, lengths)
    expected = torch.cat([reference(block, part) for part in row.split(lengths, dim=1)], dim=1)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    direction = torch.randn(out.shape, generator=generator, dtype=torch.float64)
    leaves = [row, *block.parameters()]
    for got, want in zip(
        torch.autograd.grad((out * direction).sum(), leaves),
        torch.autograd.grad((expected * direction).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-11)


def test_samples_of_equal_length_in_a_row_are_a_batch(tokens):
    block = block_of()
    row = block(tokens.flatten(0, 1)[None], [N] * B)
    torch.testing.assert_close(row.unflatten(1, (B, N))[0], block(tokens), rtol=0, atol=1e-13)


@pytest.mark.parametrize("branch", ["attention", "mlp"])
def test_drop_path_skips_a_sample_in_a_row_as_a_whole(branch):
    torch.manual_seed(9)
    drop, lengths = 0.3, [1, 4, 2, 3] * 150
    block = only(block_of(drop_path=drop), branch)
    generator = torch.Generator().manual_seed(10)
    row = torch.randn(1, sum(lengths), D, generator=generator, dtype=torch.float64)
    added = (block.eval()(row, lengths) - row).detach()
    change = (block.train()(row, lengths) - row).detach()
    kept = []
    for part, whole in zip(change.split(lengths, 1), added.split(lengths, 1), strict=True):
        kept.append(bool(part.abs().max() > 0))
        expected = whole / (1 - drop) if kept[-1] else torch.zeros_like(part)
        torch.testing.assert_close(part, expected, rtol=1e-9, atol=1e-12)
    # a draw for each sample, however long it is
    deviation = math.sqrt(drop * (1 - drop) / len(lengths))
    assert abs(sum(kept) / len(kept) - (1 - drop)) < 4 * deviation
    for place in range(4):
        assert 0 < sum(kept[place::4]) < 150


def test_the_two_branches_of_a_sample_in_a_row_are_skipped_apart():
    torch.manual_seed(11)
    lengths = [2] * 400
    block = block_of(drop_path=0.5)
    row = torch.randn(1, 2, D, dtype=torch.float64).repeat(1, 400, 1)
    out = (block(row, lengths) - row).detach().unflatten(1, (400, 2))[0].flatten(1)
    # nothing, one, the other, or both
    assert len({tuple(sample) for sample in out.mul(1e6).round().tolist()}) == 4
