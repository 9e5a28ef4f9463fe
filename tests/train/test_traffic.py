"""What is counted of a step is what goes over the wire."""

from collections import Counter

import pytest
from training_run import INPUTS, Run, mesh_of, outline_of

from orbitds.config import ModelConfig
from orbitds.train import gradients, shard, traffic
from orbitds.train.launch import launched
from orbitds.train.traffic import count_traffic
from tests.distributed.processes import run
from tests.distributed.wire import Wire

GRID, BATCH = (7, 12), 3
# Odd widths, so that rows do not divide; a decoder whose last layer stays whole where it is cut.
MODEL = {"width": 24, "depth": 3, "heads": 4, "decoder_depth": 2, "correction_width": 5}
CASES = [
    ({"tiles": 2}, {}, {}),
    ({"shard": 2}, {}, {}),
    ({"shard": 2}, {}, {"dtype": "bfloat16", "parts": 3}),
    ({"shard": 2}, {}, {"freeze": ("trunk.blocks.*", "trunk.decode.*")}),
    ({"tiles": 2}, {"decoder_depth": 1}, {"freeze": ("trunk.blocks.*",), "parts": 2}),
    ({"sequence": 2}, {}, {"dtype": "bfloat16"}),
    ({"sequence": 2}, {"compression": 2.0}, {"parts": 2}),
    ({"sequence": 2}, {"decoder_depth": 1}, {"checkpointing": "full"}),
    ({"sequence": 2}, {}, {"checkpointing": "selective"}),
    ({"sequence": 2}, {}, {"dtype": "bfloat16", "parallel": {"sequence_by": "ring"}}),
    ({"sequence": 2}, {}, {"checkpointing": "full", "parallel": {"sequence_by": "ring"}}),
    ({"tensor": 2}, {}, {"dtype": "bfloat16", "parts": 2}),
    ({"tensor": 2}, {"decoder_depth": 1, "compression": 3.0}, {}),
    ({"tensor": 2}, {}, {"checkpointing": "full"}),
    ({"tensor": 2}, {}, {"checkpointing": "selective"}),
    ({"channel": 2}, {}, {"dtype": "bfloat16"}),
    ({"channel": 2}, {"compression": 2.0}, {}),
    ({"shard": 2}, {"kind": "unet", "width": 16}, {}),
]
OF_FOUR = [
    ({"replicate": 2, "shard": 2}, {}, {"dtype": "bfloat16", "parts": 2}),
    ({"shard": 2, "tensor": 2}, {}, {}),
    ({"tiles": 2, "tensor": 2}, {}, {}),
    ({"sequence": 2, "tensor": 2}, {}, {"dtype": "bfloat16"}),
    ({"tiles": 2, "sequence": 2}, {"kind": "vit"}, {}),
    ({"shard": 4}, {}, {}),
]


def _steps(_rank, cases, keep_bytes, gather_bytes, parcel_bytes):
    """Counted and observed of each case, by operation: calls and bytes."""
    shard.KEEP_BYTES, shard.GATHER_BYTES = keep_bytes, gather_bytes
    gradients.PARCEL_BYTES = traffic.PARCEL_BYTES = parcel_bytes
    found = []
    with launched("cpu") as (launch, device):
        for sizes, model, changes in cases:
            mesh = mesh_of(sizes, launch, device)
            parts = changes.get("parts", 1)
            settings = {"grid": GRID, "batch": BATCH, **changes}
            training = Run(ModelConfig(**(MODEL | model)), mesh, device, **settings)
            training.step()
            with Wire() as wire:
                training.step()
            talks = count_traffic(
                training.config, outline_of(GRID), INPUTS, mesh.sizes, BATCH * parts
            )
            found.append((_sums(_counted(talks)), _sums(wire.calls)))
    return found


def _counted(talks):
    for talk in talks:
        # the ring's hand-overs are exchanges in which most say nothing
        operation = "all_to_all" if talk.operation == "pass_on" else talk.operation
        yield from [(operation, talk.bytes)] * talk.count


def _sums(calls):
    count, size = Counter(), Counter()
    for operation, nbytes in calls:
        count[operation] += 1
        size[operation] += nbytes
    return {operation: (count[operation], size[operation]) for operation in sorted(count)}


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize(("cases", "world"), [(CASES, 2), (OF_FOUR, 4)])
def test_counted_is_what_goes_over_the_wire(cases, world):
    found = run(_steps, world, cases, 4 * 2**30, 32 * 2**20, 32 * 2**20)[0]
    for case, (counted, observed) in zip(cases, found, strict=True):
        assert counted == observed, case
        assert observed


@pytest.mark.slow
@pytest.mark.distributed
def test_weights_are_gathered_twice_and_in_groups_where_they_are_large():
    cases = [({"shard": 2}, {}, {}), ({"shard": 2}, {}, {"checkpointing": "full", "parts": 2})]
    found = run(_steps, 2, cases, 0, 1, 2**12)[0]
    for case, (counted, observed) in zip(cases, found, strict=True):
        assert counted == observed, case
    assert found[0][1]["all_gather"][0] == 2 * 3 + 1  # three blocks, twice, and the rest
