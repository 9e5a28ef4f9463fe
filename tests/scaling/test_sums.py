"""Ways to add gradients up learn the same."""

import pytest
import torch
from bench_sums import MIB, Parcels
from scaling.cases import SIZES, Case, run_of

from orbitds.train.launch import launched
from tests.distributed.processes import run


def _losses(_rank, size):
    with launched("cpu") as (launch, device):
        case = Case("tiles", {"tiles": 2})
        training = run_of(SIZES["9.5M"], case, launch, device, tiny=True)
        if size == "rounded":
            training.tell(size)
        elif size is not None:
            assert training.mesh.addends is not None
            way = Parcels(training.engine.weights.values(), size, training.mesh.addends)
            training.choose(way, quiet=False)
        told = [training.step() for _ in range(4)]
        training.tell("nothing")
        return (
            told,
            training.step(),
            torch.cat([w.flatten() for w in training.engine.parts.values()]).sum().item(),
        )


@pytest.mark.distributed
@pytest.mark.parametrize("size", [0, 1, 2000, 128 * MIB])
def test_parcels_learn_what_blocks_learn(size):
    expected, found = (run(_losses, 2, how) for how in (None, size))
    for (losses, own, weights), (others, other, found_weights) in zip(expected, found, strict=True):
        assert losses == pytest.approx(others, rel=1e-6)
        assert own == pytest.approx(other, rel=1e-6)
        assert weights == pytest.approx(found_weights, rel=1e-5)
    # by itself each process has its own loss
    assert found[0][1] != found[1][1]


@pytest.mark.distributed
def test_rounded_sums_learn_nearly_the_same():
    expected, found = (run(_losses, 2, how) for how in (None, "rounded"))
    for (losses, _, weights), (others, _, found_weights) in zip(expected, found, strict=True):
        assert losses == pytest.approx(others, rel=1e-3)
        assert weights == pytest.approx(found_weights, rel=1e-3)
        assert weights != found_weights
