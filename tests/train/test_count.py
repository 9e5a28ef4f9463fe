"""Counts: operations against the textbook's, tokens, parameters."""

import pytest

from orbitds.model.build import build
from orbitds.train.count import count
from orbitds.train.mixture import Scope
from orbitds.train.start import is_frozen
from tests.train.outlines import OUTPUTS, STATICS, config, outline

N, D = 5 * 7, 32


@pytest.mark.parametrize(("dtype", "checkpointing"), [("float32", "none"), ("bfloat16", "full")])
def test_a_further_block_costs_its_products_and_attention(dtype, checkpointing):
    one, two = (
        count(
            config({"depth": depth}, dtype=dtype, checkpointing=checkpointing),
            outline(),
            Scope.of([outline()]),
        )
        for depth in (1, 2)
    )
    # forward and twice that backward, two operations for each of 12 D^2 weights and token; two
    # products of attention forward and five backward
    assert two.operations - one.operations == 3 * 2 * N * 12 * D**2 + 7 * 2 * N**2 * D
    assert one.tokens == two.tokens == N


def test_parameters_are_those_of_the_model_and_frozen_ones_are_not_trained():
    run = config(freeze=("trunk.blocks.*",))
    model = build(
        run.architecture, inputs=outline().inputs, outputs=OUTPUTS, statics=STATICS, factor=3
    )
    found = count(run, outline(), Scope.of([outline()]))
    assert found.parameters == sum(weight.numel() for weight in model.parameters())
    blocks = sum(weight.numel() for weight in model.trunk.blocks.parameters())
    assert found.trained == found.parameters - blocks
    assert is_frozen("trunk.blocks.0.norm_mlp.weight", run.freeze)
    assert not is_frozen("trunk.norm.weight", run.freeze)


def test_ten_billion_weights_are_counted_without_memory_for_them():
    big = {"width": 8192, "depth": 11, "heads": 32, "decoder_depth": 4}
    of = outline(180, 360, inputs=23, factor=4)
    found = count(config(big), of, Scope.of([of]))
    assert 9.4e9 < found.parameters < 9.6e9
    assert found.tokens == 90 * 180
