"""States of several processes: written by some, read by others."""

import time
import warnings

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from orbitds.config import SaveConfig
from orbitds.train import share as share_module
from orbitds.train.launch import ALONE, launched
from orbitds.train.manifest import read_manifest
from orbitds.train.states import States
from tests.distributed.processes import run, wait_for

STEP = 7


def _whole(seed):
    """Return tensors of odd sizes: plain ones, and those that processes will share."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    return {
        "plain": draw(3, 5),
        "scalar": draw(),
        "count": torch.tensor(seed),
        "rows": draw(7, 3),
        "columns": draw(4, 5).bfloat16(),
        "one row": draw(1, 3),
        "vector": torch.randint(99, (5,), generator=generator),
        "copied": draw(11),
    }


def _shared(mesh, seed, *, turned=False):
    """Return those tensors, shared along the last axis of a mesh and copied along the others.

    Turned ones are cut along their other axis.
    """
    copies = [Replicate()] * (mesh.ndim - 1)
    placements = {
        "rows": Shard(int(turned)),
        "columns": Shard(int(not turned)),
        "one row": Shard(0),
        "vector": Shard(0),
        "copied": Replicate(),
    }
    return {
        name: distribute_tensor(tensor, mesh, [*copies, placements[name]])
        if name in placements
        else tensor
        for name, tensor in _whole(seed).items()
    }


def _agree(tensors, seed):
    for name, expected in _whole(seed).items():
        found = tensors[name]
        found = found.full_tensor() if name in tensors and hasattr(found, "full_tensor") else found
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected), name


def _states(folder, launch=ALONE, group=None):
    return States(folder, SaveConfig(keep_last=9), launch, group)


def _round_trips(rank, folder, shape):
    """Load what one process wrote, write a state, load that."""
    with launched("cpu") as (launch, _):
        mesh = init_device_mesh("cpu", shape)
        states = _states(folder / "alone", launch, dist.group.WORLD)
        tensors = _shared(mesh, 0)
        assert states.load(tensors) == {"step": STEP, "by": "one"}
        _agree(tensors, 1)
        states = _states(folder / "many", launch, dist.group.WORLD)
        states.save(STEP, _shared(mesh, 2), {"by": rank})
        states.wait()
        for turned in (False, True):
            tensors = _shared(mesh, 0, turned=turned)
            assert _states(folder / "many", launch, dist.group.WORLD).load(tensors)["by"] == 0
            _agree(tensors, 2)


def _write_alone(folder):
    states = _states(folder / "alone")
    states.save(STEP, _whole(1), {"by": "one"})
    states.wait()


def _read_alone(folder):
    tensors = _whole(0)
    states = _states(folder / "many")
    assert states.load(tensors) == {"step": STEP, "by": 0}
    _agree(tensors, 2)
    return read_manifest(folder / "many" / f"step-{STEP:08d}")


@pytest.mark.distributed
@pytest.mark.parametrize("shape", [(3,), pytest.param((2, 2), marks=pytest.mark.slow)])
def test_another_number_of_processes(tmp_path, shape):
    """Three that share, and a two by two of HSDP; more than rows of some tensors."""
    _write_alone(tmp_path)
    world = int(torch.tensor(shape).prod())
    run(_round_trips, world, tmp_path, shape)
    manifest = _read_alone(tmp_path)
    assert manifest.world == world
    # each element is written once, and everybody writes some
    sizes = [file.size for file in manifest.files.values()]
    assert len(sizes) == world
    for whole in manifest.tensors.values():
        wanted = torch.tensor(whole.shape).prod()
        assert sum(torch.tensor(part.shape).prod() for part in whole.parts) == wanted


class _Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 5)
        self.head = nn.Linear(5, 1)

    def forward(self, x):
        return self.head(torch.relu(self.inner(x)))


def _trained(mesh, seed, steps):
    """Return the state of a small model after some steps of AdamW."""
    torch.manual_seed(seed)
    net = _Net()
    fully_shard(net.inner, mesh=mesh)
    fully_shard(net, mesh=mesh)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    for step in range(steps):
        net(torch.randn(4, 3, generator=torch.Generator().manual_seed(step))).sum().backward()
        optimizer.step()
    tensors = {f"model.{name}": weight for name, weight in net.named_parameters()}
    for name, weight in net.named_parameters():
        for moment in ("exp_avg", "exp_avg_sq", "step"):
            tensors[f"{moment}.{name}"] = optimizer.state[weight][moment]
    return tensors


def _local(tensors):
    return {name: getattr(t, "_local_tensor", t).detach().clone() for name, t in tensors.items()}


def _two(rank, folder):
    """All that two processes do, in one start."""
    with launched("cpu") as (launch, _):
        group = dist.group.WORLD
        mesh = init_device_mesh("cpu", (2,))
        _round_trips_of_moments(folder, launch, group, mesh)
        _slow_one(folder / "slow", launch, group)
        _failing_one(folder / "failing", launch, group)
        _damage(folder / "damaged", launch, group)


def _round_trips_of_moments(folder, launch, group, mesh):
    trained = _trained(mesh, 1, 3)
    expected = _local(trained)
    states = _states(folder / "moments", launch, group)
    states.save(3, trained, {})
    states.wait()
    other = _trained(mesh, 2, 1)
    assert not torch.equal(other["exp_avg.head.weight"], trained["exp_avg.head.weight"])
    assert states.load(other) == {"step": 3}
    for name, tensor in _local(other).items():
        assert torch.equal(tensor, expected[name]), name
    whole = {n: t.full_tensor() if hasattr(t, "full_tensor") else t for n, t in trained.items()}
    if launch.is_main:
        torch.save({name: tensor.detach() for name, tensor in whole.items()}, folder / "whole.pt")


def _slow_one(folder, launch, group):
    """All agree at which call a state is there, though one writes slowly."""
    states = _states(folder, launch, group)
    write_file = share_module.write_file
    asked = [folder.with_name(f"asked{rank}") for rank in range(launch.world)]
    if launch.rank == 1:
        # a call that waited for the disk would be waited for by it
        share_module.write_file = lambda *told: wait_for(*asked) or write_file(*told)
    states.save(1, _whole(1), {})
    calls = 0
    while states._writing is not None:
        states.poll()
        calls += 1
        if calls == 4:
            asked[launch.rank].touch()
        time.sleep(0.01)
    share_module.write_file = write_file
    told = [None] * launch.world
    dist.all_gather_object(told, calls)
    assert told[0] == told[1] > 3
    states.save(2, _whole(2), {})  # and while this one is on its way
    states.poll()
    states.save(3, _whole(3), {})
    states.poll()
    tensors = _whole(0)
    assert states.load(tensors) == {"step": 3}
    _agree(tensors, 3)


def _failing_one(folder, launch, group):
    """One cannot write: all hear of it, and what was there stays."""
    states = _states(folder, launch, group)
    states.save(1, _whole(1), {})
    states.wait()
    if launch.rank == 1:
        (folder / ".partial-00000002").mkdir()
        (folder / ".partial-00000002" / "shard-00001.safetensors").symlink_to("/dev/full")
    dist.barrier()
    states.save(2, _whole(2), {})
    with pytest.raises(OSError, match=r"from process 1: .*shard-00001\.safetensors: No space"):
        _poll(states)
    assert states.load(_whole(0)) == {"step": 1}


def _poll(states):
    for _ in range(1000):
        states.poll()
        time.sleep(0.005)


def _damage(folder, launch, group):
    """Each checks some files; all take the state before, the first says why."""
    states = _states(folder, launch, group)
    for step in (1, 2):
        states.save(step, _whole(step), {})
    states.wait()
    if launch.rank == 0:
        path = folder / "step-00000002" / "shard-00001.safetensors"
        path.write_bytes(path.read_bytes()[:-3])
    dist.barrier()
    tensors = _whole(0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert _states(folder, launch, group).load(tensors) == {"step": 1}
    told = [str(one.message) for one in said]
    assert len(told) == launch.is_main
    assert all("step 2 is damaged: shard-00001.safetensors has" in one for one in told)
    _agree(tensors, 1)


@pytest.mark.distributed
def test_two_processes(tmp_path):
    run(_two, 2, tmp_path)
    expected = torch.load(tmp_path / "whole.pt", weights_only=True)
    tensors = {name: torch.zeros_like(tensor) for name, tensor in expected.items()}
    assert _states(tmp_path / "moments").load(tensors) == {"step": 3}
    for name, tensor in tensors.items():
        assert torch.equal(tensor, expected[name]), name
    assert tensors["exp_avg_sq.inner.weight"].abs().sum() > 0
