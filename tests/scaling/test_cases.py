"""Which ways to share work are measured."""

import math

import pytest
import torch
from scaling.cases import FIELD_TILES, SIZES, Case, cases, model_of, run_of

from orbitds.train.launch import ALONE


@pytest.mark.parametrize("processes", [2, 4, 8])
@pytest.mark.parametrize("size", list(SIZES.values()), ids=list(SIZES))
def test_the_axes_are_those_of_all_processes(size, processes):
    found = cases(size, processes, model_of(size, tiny=False).heads)
    assert found
    for case in found:
        assert math.prod(case.axes.values()) == processes
    names = [case.name for case in found]
    assert ("hsdp" in names) == (processes >= 4)
    assert ("tiles" in names) == (size.name != "10B")


def test_samples_of_a_step():
    size = SIZES["9.5M"]  # two heads: of eight processes, two share a sample
    found = {case.name: case for case in cases(size, 8, 2)}
    assert found["tiles"].samples(4) == 32
    assert found["hsdp"].samples(4) == 32
    assert found["strong"].samples(4) == 4 * FIELD_TILES
    assert found["sequence"].samples(4) == 16
    assert found["sequence"].told == "tiles 4 x sequence 2"


def test_an_update_moves_the_weights_by_itself():
    run = run_of(SIZES["9.5M"], Case("one", {}), ALONE, torch.device("cpu"), tiny=True)
    update = run.updating()
    begun = {name: part.detach().clone() for name, part in run.engine.parts.items()}
    update(2)
    assert run.number == 2
    assert all((part != begun[name]).any() for name, part in run.engine.parts.items())
