"""Matrices shared by processes: results and gradients are those of one process."""

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from orbitds.train.launch import launched
from orbitds.train.tensor import share_matrices
from tests.distributed.processes import run
from tests.distributed.sharing import RANDOM, compare, model_of, sample_of

# Decoders of one, two and three hidden layers: paint is paired, alone, paired.
CASES = [
    ({"decoder_depth": 1}, {"periodic": True}),
    ({"decoder_depth": 2, "compression": 3.0} | RANDOM, {}),
    ({"decoder_depth": 3, "edge_density": 0.1}, {}),
    ({"kind": "vit", "decoder_depth": 0}, {"rows": 5, "columns": 3}),
]


def _whole_models(rank):
    with launched("cpu"):
        axis = init_device_mesh("cpu", (2,), mesh_dim_names=("tensor",))
        for settings, given in CASES:
            shared = model_of(**settings)
            share_matrices(shared.trunk, axis)
            compare(shared, sample_of(**given), tolerance=1e-11, **settings)
        # each process holds half of the heads, whole ones
        shared, whole = model_of(), model_of()
        share_matrices(shared.trunk, axis)
        local = shared.trunk.blocks[0].query_key_value.weight.to_local()
        half = whole.trunk.blocks[0].query_key_value.weight.chunk(2)[rank]
        assert torch.equal(local, half)
        cut = {name for name, w in shared.named_parameters() if isinstance(w, DTensor)}
        assert {name.split(".", 3)[-1] for name in cut if "blocks.1" in name} == {
            f"{layer}.{kind}"
            for layer in ("query_key_value", "project", "mlp.0", "mlp.2")
            for kind in ("weight", "bias")
        }
        shared = model_of(torch.float32)
        share_matrices(shared.trunk, axis)
        assert isinstance(shared.trunk.decode.paint.weight, DTensor)
        compare(shared, sample_of(torch.float32), tolerance=1e-5)
        told = []
        for settings in ({"heads": 1}, {"mlp_ratio": 23 / 24}):
            try:
                share_matrices(model_of(**settings).trunk, axis)
            except ValueError as error:
                told.append(str(error))
        return told


@pytest.mark.distributed
def test_models_equal_those_of_one_process():
    for heads, hidden in run(_whole_models, 2):
        assert "divides the 1 heads, got 2. Change" in heads
        assert "divides the 23 hidden units of a block, got 2. Change" in hidden
