"""What is counted of a step is what goes over the wire."""

from collections import Counter

import pytest
from training_run import Run, mesh_of, outline_of

from orbitds.config import ModelConfig
from orbitds.train import shard
from orbitds.train.launch import launched
from orbitds.train.mesh import AXES
from orbitds.train.mixture import Scope
from orbitds.train.traffic import Talk, count_traffic
from tests.distributed.processes import run
from tests.distributed.wire import Wire
from tests.train.outlines import config, outline

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
    ({"tiles": 2}, {}, {"parallel": {"reduce_dtype": "bfloat16"}, "parts": 2}),
    ({"shard": 2}, {}, {"parallel": {"reduce_dtype": "bfloat16"}, "parts": 2}),
    ({"shard": 2}, {}, {"parallel": {"reduce_dtype": "bfloat16"}, "dtype": "bfloat16"}),
]
OF_FOUR = [
    ({"replicate": 2, "shard": 2}, {}, {"dtype": "bfloat16", "parts": 2}),
    ({"shard": 2, "tensor": 2}, {}, {}),
    ({"tiles": 2, "tensor": 2}, {}, {}),
    ({"sequence": 2, "tensor": 2}, {}, {"dtype": "bfloat16"}),
    ({"tiles": 2, "sequence": 2}, {"kind": "vit"}, {}),
    ({"shard": 4}, {}, {}),
    (
        {"replicate": 2, "shard": 2},
        {},
        {"parallel": {"reduce_dtype": "bfloat16"}, "dtype": "bfloat16", "parts": 2},
    ),
]


def _counted_of(run, samples=2, **sizes):
    scope = Scope.of([outline()])
    return count_traffic(run, outline(), scope, dict.fromkeys(AXES, 1) | sizes, samples)


def test_a_process_alone_says_nothing():
    assert _counted_of(config()) == []


@pytest.mark.parametrize(
    ("operation", "expected"),
    [("all_gather", 300), ("reduce_scatter", 300), ("all_to_all", 300), ("all_reduce", 600),
     ("pass_on", 400)],
)  # fmt: skip
def test_what_a_process_sends_of_a_tensor(operation, expected):
    assert Talk("weights", operation, "parts", 4, 200, calls=2).sent == expected


def test_copies_add_up_all_weights_block_by_block(monkeypatch):
    run = config()
    whole = [talk for talk in _counted_of(run, tiles=3) if talk.purpose == "gradients"]
    monkeypatch.setattr(shard, "GATHER_BYTES", 1)
    parcels = [talk for talk in _counted_of(run, tiles=3) if talk.purpose == "gradients"]
    assert sum(talk.bytes for talk in parcels) == sum(talk.bytes for talk in whole)
    assert (len(whole), len(parcels)) == (2, 1 + run.architecture.depth)
    assert {talk.processes for talk in parcels} == {3}


def test_more_copies_say_no_more_within_one():
    two, many = (_counted_of(config(), shard=2, replicate=copies) for copies in (2, 512))
    gathered = [[talk for talk in talks if talk.group == "parts"] for talks in (two, many)]
    assert gathered[0] == gathered[1]
    assert {talk.processes for talk in many if talk.group == "copies"} == {512}
    assert sum(talk.sent for talk in many) < 2 * sum(talk.sent for talk in two)


def test_parts_of_a_batch_gather_again_and_add_over_copies_once():
    one, three = (
        _counted_of(config(accumulate=parts, batch_size=6), samples=3, shard=2, replicate=2)
        for parts in (1, 3)
    )
    assert [3 * talk.calls for talk in one if talk.operation != "all_reduce"] == [
        talk.calls for talk in three if talk.operation != "all_reduce"
    ]
    assert {talk.calls for talk in three if talk.operation == "all_reduce"} == {1}


def _steps(_rank, cases, keep_bytes, gather_bytes):
    """Counted and observed of each case, by operation: calls and bytes."""
    shard.KEEP_BYTES, shard.GATHER_BYTES = keep_bytes, gather_bytes
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
            told = outline_of(GRID)
            talks = count_traffic(
                training.config, told, Scope.of([told]), mesh.sizes, BATCH * parts
            )
            found.append((_sums(_counted(talks)), _sums(wire.calls)))
    return found


def _counted(talks):
    for talk in talks:
        # the ring's hand-overs are exchanges in which most say nothing
        operation = "all_to_all" if talk.operation == "pass_on" else talk.operation
        yield from [(operation, talk.bytes)] * talk.calls


def _sums(calls):
    count, size = Counter(), Counter()
    for operation, nbytes in calls:
        count[operation] += 1
        size[operation] += nbytes
    return {operation: (count[operation], size[operation]) for operation in sorted(count)}


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize(
    ("cases", "world"),
    [*((CASES[first : first + 6], 2) for first in range(0, len(CASES), 6)), (OF_FOUR, 4)],
)
def test_counted_is_what_goes_over_the_wire(cases, world):
    found = run(_steps, world, cases, 4 * 2**30, 32 * 2**20)[0]
    for case, (counted, observed) in zip(cases, found, strict=True):
        assert counted == observed, case
        assert observed


@pytest.mark.slow
@pytest.mark.distributed
def test_weights_are_gathered_twice_and_in_groups_where_they_are_large():
    cases = [
        ({"shard": 2}, {}, {}),
        ({"shard": 2}, {}, {"checkpointing": "full", "parts": 2}),
        ({"tiles": 2}, {}, {"parts": 2}),
    ]
    found = run(_steps, 2, cases, 0, 1)[0]
    for case, (counted, observed) in zip(cases, found, strict=True):
        assert counted == observed, case
    assert found[0][1]["all_gather"][0] == 2 * 3 + 1  # three blocks, twice, and the rest
    assert found[2][1]["all_reduce"][0] == 3 + 1 + 1  # three blocks, the rest, and the loss
