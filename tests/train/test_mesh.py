"""The grid of processes: who shares what with whom."""

import itertools

import pytest
import torch
import torch.distributed as dist

from orbitds.config import ParallelConfig
from orbitds.train.launch import Launch, launched
from orbitds.train.mesh import make_mesh
from tests.distributed.processes import run

CPU = torch.device("cpu")


def test_alone_there_is_no_grid():
    mesh = make_mesh(ParallelConfig(), Launch(), CPU)
    assert (mesh.world, mesh.data_world, mesh.data_rank, mesh.same) == (1, 1, 0, 1)
    assert mesh.grid is mesh.weights is mesh.addends is mesh.group("shard") is None


@pytest.mark.parametrize(("sizes", "told"), [({"shard": 2}, 2), ({"sequence": 3}, 3)])
def test_sizes_that_are_not_the_number_of_processes(sizes, told):
    with pytest.raises(ValueError, match=rf"= {told}, got 1.*start {told} processes"):
        make_mesh(ParallelConfig(**sizes), Launch(), CPU)


def _places(rank):
    with launched("cpu") as (launch, device):
        assert (launch.rank, device.type) == (rank, "cpu")
        told = []
        for sizes in ({"tiles": 2}, {"sequence": 2, "replicate": 2}, {"tensor": 2, "channel": 2}):
            mesh = make_mesh(ParallelConfig(**sizes), launch, device)
            groups = [mesh.addends, *(mesh.group(axis) for axis in mesh.sizes)]
            members = [dist.get_process_group_ranks(g) if g is not None else None for g in groups]
            weights = None if mesh.weights is None else mesh.weights.mesh.tolist()
            told.append((mesh.data_rank, mesh.data_world, mesh.same, weights, members))
        return told


@pytest.mark.distributed
def test_who_shares_what():
    places = run(_places, 4)
    everyone = [0, 1, 2, 3]
    for rank, (fields, tokens, matrices) in enumerate(places):
        assert fields[:3] == (rank, 4, 1)
        # two copies of the weights, each shared by two
        assert fields[3] == [[0, 1], [2, 3]]
        pair = [0, 1] if rank < 2 else [2, 3]
        across = [0, 2] if rank % 2 == 0 else [1, 3]
        assert fields[4] == [everyone, None, across, pair, None, None, None]
        assert tokens[:4] == (rank // 2, 2, 2, [[0, 1], [2, 3]])
        assert tokens[4] == [everyone, across, None, None, pair, None, None]
        # matrices are shared within a pair, weights across
        assert matrices[:4] == (0, 1, 2, [across])
        assert matrices[4] == [across, None, None, None, None, across, pair]
    # all samples are seen: each number of a data group occurs
    for place in zip(*places, strict=True):
        assert {p[0] for p in place} == set(range(place[0][1]))
    assert len(list(itertools.chain(*places))) == 12
