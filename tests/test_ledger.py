"""The ledger: bytes made, held and let go, of real tensors and of mere shapes."""

from contextlib import nullcontext

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from orbitds.ledger import Ledger


@pytest.mark.parametrize("mode", [nullcontext(), FakeTensorMode()])
def test_what_is_held_is_counted_until_it_goes(mode):
    with mode:
        weight, fields = torch.ones(70, 30, requires_grad=True), torch.ones(50, 70)
    ledger = Ledger([weight, fields])
    size = 4 * 50 * 30
    with mode, ledger:
        product = fields @ weight
        assert ledger.held_bytes == size
        view = product.view(-1)[3:]  # the same memory
        assert ledger.held_bytes == size
        rectified = product.relu()
        assert ledger.held_bytes == 2 * size
        del product, view
        assert ledger.held_bytes == size  # a product keeps its factors alone, both known
        total = rectified.sum()
        del rectified
        assert ledger.held_bytes == size + 4  # its gradient wants it
        total.backward()
    assert ledger.held_bytes == 4 * 70 * 30 + 4  # the gradient of the weight, and the sum
    assert ledger.highest_bytes >= 2 * size
    weight.grad = None
    assert ledger.held_bytes == 4


def test_what_is_entered_stays():
    ledger = Ledger([])
    ledger.hold(1000)
    with ledger:
        torch.zeros(25)
    assert (ledger.held_bytes, ledger.highest_bytes) == (1000, 1100)


def test_writing_into_what_is_known_costs_nothing():
    known = torch.zeros(40)
    ledger = Ledger([known])
    with ledger:
        known.add_(1)
    assert ledger.highest_bytes == 0
