"""Ways to add gradients up learn the same."""

import pytest
import torch
from bench_sums import MIB, Parcels
from scaling.cases import SIZES, Case, run_of

from orbitds.train.launch import launched
from tests.distributed.processes import run
from tests.scaling.scripts import EVAL, python

SCRIPT = EVAL / "bench_sums.py"


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


@pytest.mark.slow
@pytest.mark.distributed
def test_ways_are_compared_among_echoes():
    told = python(SCRIPT, "--echoes", 2, "--tiny", "--sizes", "9.5M", "--rounds", 1, "--steps", 2)
    assert told.returncode == 0, told.stderr
    rows = [line.split("|")[2].strip() for line in told.stdout.splitlines() if "| 9.5M" in line]
    ways = ["blocks", "blocks, bfloat16", "parcels 32", "parcels 128", "end"]
    assert rows == ["nothing", "losses", *ways]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "Wanted several processes, got one. Start them by torchrun, or ask for --echoes."),
        (("--echoes", 2, "--ctas", 4), "--ctas is of NCCL, which echoes do without"),
    ],
)
@pytest.mark.slow
def test_what_is_refused(arguments, reason):
    told = python(SCRIPT, *arguments, "--tiny")
    assert told.returncode != 0
    assert reason in told.stderr
