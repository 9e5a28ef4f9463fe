"""Rows and sums that processes give each other, and where gradients go."""

import pytest
import torch
import torch.distributed as dist

from orbitds.train.collect import exchange, group_of, known, largest, total
from orbitds.train.launch import launched
from tests.distributed.processes import run

# Rows that each of two processes (down) sends to each (across): unequal, and none at all.
WAYS = [[2, 3], [1, 0]]


def _talk(rank):
    with launched("cpu"):
        name = known(dist.group.WORLD)
        assert group_of(name) is dist.group.WORLD
        rows = (10.0 * rank + torch.arange(sum(WAYS[rank])))[:, None] + torch.tensor([0.0, 0.5])
        rows.requires_grad_()
        received = [way[rank] for way in WAYS]
        got = exchange(rows, WAYS[rank], received, name)
        assert got[:, 0].tolist() == [[0, 1, 10], [2, 3, 4]][rank]
        assert torch.equal(got[:, 1], got[:, 0] + 0.5)
        # each row's gradient comes from where the row went
        (got * (rank + 1)).sum().backward()
        assert rows.grad is not None
        assert rows.grad[:, 1].tolist() == [[1, 1, 2, 2, 2], [1]][rank]
        part = torch.tensor([[1.0, -4.0], [2.0, -3.0]][rank], requires_grad=True)
        sums = total(part, name)
        assert sums.tolist() == [3, -7]
        (sums * torch.tensor([1.0, 10.0]) * (rank + 1)).sum().backward()
        assert part.grad is not None
        assert part.grad.tolist() == [3, 30]
        top = largest(part, name)
        assert top.tolist() == [2, -3]
        assert not top.requires_grad
        for operator in (exchange, total, largest):
            given = part.detach().clone()
            operator(given, [1, 1], [1, 1], name) if operator is exchange else operator(given, name)
            assert torch.equal(given, part)  # never in place


@pytest.mark.distributed
def test_two_processes():
    run(_talk, 2)
