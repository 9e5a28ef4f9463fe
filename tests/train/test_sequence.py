"""Tokens shared by processes: results and gradients are those of one process."""

import pytest
import torch
import torch.distributed as dist

from orbitds.model.block import Block
from orbitds.model.compiling import compiled
from orbitds.train.launch import launched
from orbitds.train.sequence import SharedTokens, share_tokens, shares
from tests.distributed.processes import run
from tests.distributed.sharing import INPUTS, RANDOM, compare, model_of, sample_of

ODD = {"rows": 9, "columns": 10}  # 25 tokens
CASES = [
    ({}, {}),
    (RANDOM, ODD | {"periodic": True}),
    ({"compression": 3.0} | RANDOM, {"variables": INPUTS[1:3]}),
    ({"kind": "vit", "predicts": "gaussian"}, {}),
    ({"predicts": "members", "correction_width": 0}, ODD),
]


@pytest.mark.parametrize(
    ("count", "processes", "wanted"), [(11, 3, [4, 4, 3]), (2, 3, [1, 1, 0]), (0, 2, [0, 0])]
)
def test_shares_are_as_equal_as_can_be(count, processes, wanted):
    assert shares(count, processes) == wanted


def _whole_models(_rank, by):
    with launched("cpu"):
        group = dist.group.WORLD
        for settings, given in CASES:
            shared = model_of(**settings)
            share_tokens(shared.trunk, group, by=by)
            sample = sample_of(**given)
            compare(shared, sample, tolerance=1e-11, same=2, group=group, **settings)
        # single precision, and fewer tokens than processes: one patch
        shared = model_of(torch.float32)
        share_tokens(shared.trunk, group, by=by)
        compare(shared, sample_of(torch.float32), tolerance=1e-5, same=2, group=group)
        one = sample_of(rows=2, columns=1, batch=1)
        shared = model_of()
        share_tokens(shared.trunk, group, by=by)
        compare(shared, one, tolerance=1e-11, same=2, group=group)


@pytest.mark.distributed
@pytest.mark.parametrize("by", ["ulysses", "ring"])
def test_models_equal_those_of_one_process(by):
    run(_whole_models, 2, by)


def _pieces(rank):
    with launched("cpu"):
        group = dist.group.WORLD
        generator = torch.Generator().manual_seed(41)
        tokens = torch.randn(2, 7, 12, generator=generator, dtype=torch.float64)
        shared = SharedTokens(group, by="ulysses")
        # splitting and joining is nothing, and a process has its run of tokens
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
        # shares that are no longer than a token, and three heads on three processes, compiled too
        torch.manual_seed(42)
        block = Block(12, 3).double()
        expected = block(tokens)
        for by in ("ulysses", "ring"):
            shared = SharedTokens(group, by=by)
            block.attend = shared.attend
            for function in (block, compiled(block)) if by == "ulysses" else (block,):
                mine = tokens.clone().requires_grad_()
                out = shared.join(function(shared.split(mine)))
                torch.testing.assert_close(out, expected, rtol=0, atol=1e-13)
                out.square().sum().backward()
                dist.all_reduce(mine.grad)
                other = tokens.clone().requires_grad_()
                block.attend, own = Block(12, 3).attend, block.attend
                (block(other).square().sum() * 3).backward()
                block.attend = own
                torch.testing.assert_close(mine.grad, other.grad, rtol=0, atol=1e-11)
        # in bfloat16 the ring rounds a result once, like one call does
        query = torch.randn(3, 2, 2, 7, 8, generator=generator)
        half = query.to(torch.bfloat16)
        shared.split(tokens)
        own = (part[:, :, shared.own] for part in half)
        out = shared.attend(*own)
        assert out.dtype == torch.bfloat16
        wanted = torch.nn.functional.scaled_dot_product_attention(*half.float())
        torch.testing.assert_close(out.float(), wanted[:, :, shared.own], rtol=8e-3, atol=8e-3)


@pytest.mark.distributed
def test_pieces_on_three_processes():
    run(_pieces, 3)


def _refusals(_rank):
    with launched("cpu"):
        told = []
        for settings in ({"heads": 1}, {"edge_density": 0.1}):
            model = model_of(**settings)
            try:
                share_tokens(model.trunk, dist.group.WORLD)
            except ValueError as error:
                told.append(str(error))
        share_tokens(model_of(heads=1).trunk, dist.group.WORLD, by="ring")
        return told


@pytest.mark.distributed
def test_what_cannot_be_shared_is_refused():
    for heads, ragged in run(_refusals, 2):
        assert "divide the 1 attention heads of a process, got parallel.sequence 2. Ch" in heads
        assert "got the edge density 0.1" in ragged
        assert "parallel.sequence to 1" in ragged
