"""Tokens shared by processes: results and gradients are those of one process."""

import functools

import pytest
import torch
import torch.distributed as dist
from torch.utils.checkpoint import checkpoint

from orbitds.model.attention import attend
from orbitds.model.block import Block
from orbitds.model.compiling import compiled
from orbitds.train.launch import launched
from orbitds.train.sequence import SharedTokens, share_tokens, shares
from tests.distributed.processes import run
from tests.distributed.sharing import INPUTS, RANDOM, compare, model_of, sample_of

ODD = {"rows": 9, "columns": 10}  # 25 tokens on three processes
CASES = [
    ({}, {}, "ulysses"),
    (RANDOM, ODD | {"periodic": True}, "ulysses"),
    ({"compression": 3.0} | RANDOM, {"variables": INPUTS[1:3]}, "ulysses"),
    ({"kind": "vit", "predicts": "gaussian"}, {"rows": 5, "columns": 7}, "ulysses"),
    ({}, {"rows": 2, "columns": 1, "batch": 1}, "ulysses"),  # one token
    ({"predicts": "members", "correction_width": 0}, ODD, "ring"),
    ({"compression": 3.0, "heads": 4} | RANDOM, {"periodic": True}, "ring"),
    ({}, {"rows": 2, "columns": 3, "batch": 1}, "ring"),
]


@pytest.mark.parametrize(
    ("count", "processes", "wanted"), [(11, 3, [4, 4, 3]), (2, 3, [1, 1, 0]), (0, 2, [0, 0])]
)
def test_shares_are_as_equal_as_can_be(count, processes, wanted):
    assert shares(count, processes) == wanted


def _whole_models(rank):
    with launched("cpu"):
        group = dist.group.WORLD
        for settings, given, by in CASES:
            shared = model_of(**settings)
            share_tokens(shared.trunk, group, by=by)
            if by == "ulysses":  # what the backward pass makes again is the same again
                for block in shared.trunk.blocks:
                    forward = block.forward
                    block.forward = functools.partial(checkpoint, forward, use_reentrant=False)
            sample = sample_of(**given)
            compare(shared, sample, tolerance=1e-11, same=3, group=group, **settings)
        shared = model_of(torch.float32)
        share_tokens(shared.trunk, group)
        compare(shared, sample_of(torch.float32), tolerance=1e-5, same=3, group=group)
        _split_and_join(rank, group)
        _compiled_block(group)
        return _refusals(group)


@pytest.mark.slow
@pytest.mark.distributed
def test_models_equal_those_of_one_process():
    for heads, ragged in run(_whole_models, 3):
        assert "divide the 4 attention heads of a process, got parallel.sequence 3. Ch" in heads
        assert "got the edge density 0.1" in ragged
        assert "parallel.sequence to 1" in ragged


def _split_and_join(rank, group):
    """To split and to join is nothing, and a process has its run of tokens."""
    tokens = torch.randn(2, 7, 12, generator=torch.Generator().manual_seed(41))
    shared = SharedTokens(group, by="ulysses")
    mine = tokens.clone().requires_grad_()
    part = shared.split(mine)
    assert torch.equal(part, [tokens[:, :3], tokens[:, 3:5], tokens[:, 5:]][rank])
    joined = shared.join(part)
    assert torch.equal(joined, tokens)
    # each process weighs by its number: the own tokens' gradients are the sum, the rest zero
    (joined * (rank + 1.0)).sum().backward()
    wanted = torch.zeros_like(tokens)
    wanted[:, shared.own] = 6
    assert torch.equal(mine.grad, wanted)


def _compiled_block(group):
    """The exchange goes into one graph with the rest."""
    generator = torch.Generator().manual_seed(42)
    tokens = torch.randn(2, 7, 12, generator=generator, dtype=torch.float64)
    torch.manual_seed(42)
    block = Block(12, 3).double()
    whole = tokens.clone().requires_grad_()
    expected = block(whole)
    (wanted,) = torch.autograd.grad(expected.square().sum(), whole)
    shared = SharedTokens(group, by="ulysses")
    assert block.attend is attend
    block.attend = shared.attend
    mine = tokens.clone().requires_grad_()
    out = shared.join(compiled(block)(shared.split(mine)))
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-13)
    (out.square().sum() / 3).backward()
    assert mine.grad is not None
    dist.all_reduce(mine.grad)
    torch.testing.assert_close(mine.grad, wanted, rtol=0, atol=1e-12)


def _refusals(group):
    told = []
    for settings in ({"heads": 4}, {"edge_density": 0.1}):
        try:
            share_tokens(model_of(**settings).trunk, group)
        except ValueError as error:
            told.append(str(error))
    return told
