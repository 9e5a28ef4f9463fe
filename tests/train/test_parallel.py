"""Which ways of sharing a sample are applied, by the sizes in the settings."""

import pytest
import torch
from torch.distributed.tensor import DTensor

from orbitds.config import ParallelConfig
from orbitds.model.attention import attend
from orbitds.model.orbit2 import Orbit2, Orbit2Config
from orbitds.train.launch import Launch, launched
from orbitds.train.mesh import make_mesh
from orbitds.train.parallel import share_samples
from tests.distributed.processes import run
from tests.distributed.sharing import compare, model_of, sample_of

CPU = torch.device("cpu")


def test_one_process_leaves_a_model_as_it_is():
    model = model_of()
    share_samples(model, make_mesh(ParallelConfig(), Launch(), CPU), ParallelConfig())
    trunk = model.trunk
    assert trunk.blocks[0].attend is attend
    assert trunk.aggregate.combine is None
    assert trunk.own(5) == slice(5)
    assert trunk.split(sample := torch.ones(2)) is trunk.decode.join(sample) is sample


def _each_way(_rank):
    with launched("cpu") as (launch, device):
        for sizes in (
            {"tensor": 2},
            {"sequence": 2},
            {"sequence": 2, "sequence_by": "ring"},
            {"channel": 2},
            {"shard": 2},
        ):
            config = ParallelConfig(**sizes)
            mesh, model = make_mesh(config, launch, device), model_of(depth=1)
            share_samples(model, mesh, config)
            trunk = model.trunk
            applied = (
                isinstance(trunk.blocks[0].query_key_value.weight, DTensor),
                trunk.blocks[0].attend is not attend,
                trunk.aggregate.combine is not None,
            )
            assert applied == ("tensor" in sizes, "sequence" in sizes, "channel" in sizes)
            if applied[1]:
                assert trunk.blocks[0].attend.__self__.by == config.sequence_by
            group = mesh.addends if mesh.same > 1 else None
            sample = sample_of(rows=4, columns=5, batch=1)
            compare(model, sample, tolerance=1e-11, same=mesh.same, group=group, depth=1)
        published = Orbit2(
            Orbit2Config(
                kind="orbit2",
                variables=("a", "b", "c", "d", "e"),
                window=(4, 8),
                patch=2,
                width=8,
                depth=1,
                heads=2,
                decoder_depth=1,
                spatial_resolution_km=111,
            ),
            inputs=("a",),
            outputs=("a",),
            factor=2,
        )
        config = ParallelConfig(tensor=2)
        try:
            share_samples(published, make_mesh(config, launch, device), config)
        except TypeError as error:
            return str(error)


@pytest.mark.distributed
def test_the_axes_of_several_processes_share():
    for told in run(_each_way, 2):
        assert "Wanted a Reslim or a ViT where processes share a sample, got Orbit2. Set" in told
