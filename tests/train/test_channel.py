"""Variables shared by processes: results and gradients are those of one process."""

import pytest
import torch
import torch.distributed as dist

from orbitds.model.aggregate import VariableAggregation
from orbitds.train.channel import share_variables
from orbitds.train.launch import launched
from tests.distributed.processes import run
from tests.distributed.sharing import INPUTS, RANDOM, compare, model_of, sample_of

# Five variables with the static field, three and two of them; one, where a process has none.
CASES = [
    ({}, {"periodic": True}),
    ({"drop_variables": 0.6, "compression": 3.0}, {"batch": 5}),
    (RANDOM, {"variables": INPUTS[1:3]}),
    ({"compression": 2.0, "drop_variables": 0.9}, {"variables": INPUTS[:1], "statics": None}),
    ({"edge_density": 0.1, "base": "bilinear"}, {"variables": INPUTS[:2]}),
    ({"kind": "vit", "patch": 1}, {"rows": 5, "columns": 3}),
]


def _whole_models(rank):
    with launched("cpu"):
        group = dist.group.WORLD
        for settings, given in CASES:
            shared = model_of(**settings)
            share_variables(shared.trunk.aggregate, group)
            sample = sample_of(**given)
            compare(shared, sample, tolerance=1e-11, same=3, group=group, **settings)
        shared = model_of(torch.float32)
        share_variables(shared.trunk.aggregate, group)
        compare(shared, sample_of(torch.float32), tolerance=1e-5, same=3, group=group)
        _aggregation(rank, group)


@pytest.mark.distributed
def test_models_equal_those_of_one_process():
    run(_whole_models, 3)


def _aggregation(rank, group):
    generator = torch.Generator().manual_seed(43)
    names = tuple("abcdefg")
    torch.manual_seed(44)
    module = VariableAggregation(names, patch=2, width=12, heads=3).double()
    with torch.no_grad():
        module.query.mul_(100)  # scores far apart
    fields = torch.randn(2, 7, 6, 10, generator=generator, dtype=torch.float64)
    tokens, image = module.with_image(fields, names)
    share_variables(module, group)
    # of others' variables no pixel is weighed
    seen = []
    weigh = module._weigh
    module._weigh = lambda part, *more: seen.append(part.shape[1]) or weigh(part, *more)
    shared_tokens, shared_image = module.with_image(fields, names)
    assert seen == [[3, 2, 2][rank]]
    torch.testing.assert_close(shared_tokens, tokens, rtol=0, atol=1e-13)
    torch.testing.assert_close(shared_image, image, rtol=0, atol=1e-6)
    # the quadtree follows from the image: all processes must have the same one
    others = [torch.empty_like(shared_image) for _ in range(3)]
    dist.all_gather(others, shared_image)
    assert torch.equal(others[0], others[1])
    assert torch.equal(others[0], others[2])
    # two variables on three processes
    two = module(fields[:, 5:], names[5:])
    module.own, module.combine = slice, None
    torch.testing.assert_close(two, module(fields[:, 5:], names[5:]), rtol=0, atol=1e-13)
