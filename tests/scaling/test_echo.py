"""A process among echoes of itself."""

import math
import time
from argparse import Namespace

import pytest
import torch
import torch.distributed as dist
from scaling.cases import SIZES, Case, run_of
from scaling.echo import TIMED, Pace, among, at_pace, pace_of
from scaling.measure import steps_at_pace
from scaling.network import Link, Network, seconds
from scaling.probe import all_gather, reduce_scatter

from orbitds.train.launch import Launch
from tests.distributed.processes import run


def _collectives(_rank):
    own = torch.arange(3.0)
    with among(4):
        gathered, scattered, exchanged = torch.empty(12), torch.empty(3), torch.empty(7)
        all_gather(gathered, own)
        reduce_scatter(scattered, torch.arange(12.0))
        dist.all_to_all_single(exchanged, own, [1, 2, 3, 1], [1, 1, 1, 0])
        dist.all_reduce(own)
        told = (dist.get_world_size(), gathered, scattered, exchanged, own)
    assert not dist.is_initialized()
    return [one if isinstance(one, int) else one.tolist() for one in told]


@pytest.mark.distributed
def test_others_say_the_same():
    world, gathered, scattered, exchanged, summed = run(_collectives, 1)[0]
    assert world == 4
    assert gathered == 4 * [0, 1, 2]
    assert scattered == [0, 1, 2]
    assert exchanged == [0, 1, 2, 0, 1, 2, 0]
    assert summed == [0, 1, 2]


NETWORK = Network("slow", Link(0.02, 1e6), Link(1.0, 1e3), "", "", 1e9)


def _paced(_rank):
    """Tell how long operations take."""
    own, gathered = torch.arange(10_000.0), torch.empty(40_000)
    calls = {
        "all_reduce": lambda: dist.all_reduce(own),
        "all_gather": lambda: all_gather(gathered, own),
        "reduce_scatter": lambda: reduce_scatter(own, gathered),
        "all_to_all": lambda: dist.all_to_all_single(torch.empty_like(own), own),
    }
    with among(4), at_pace(Pace(NETWORK, 1)):
        told = {operation: _seconds(call) for operation, call in calls.items()}
        with at_pace(None):
            # the quickest of some: a busy machine makes any of them wait
            told["at once"] = min(_seconds(calls["all_reduce"]) for _ in range(5))
    with among(4):
        dist.all_reduce(own)
        steps = steps_at_pace(Pace(NETWORK, 1), lambda: [_seconds(calls["all_reduce"])])
        told["step"] = steps[0]
    return told


def _seconds(call):
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


@pytest.mark.distributed
def test_an_operation_has_its_time_at_a_pace():
    told = run(_paced, 1)[0]
    sizes = {"all_reduce": 40e3, "all_gather": 160e3, "reduce_scatter": 160e3, "all_to_all": 40e3}
    for operation, size in sizes.items():
        # a copy, which is part of it, is quicker than this memory
        wanted = seconds(NETWORK, operation, size, processes=4) - 2 * 160e3 / 1e9
        assert told[operation] > wanted > 0.02
    assert told["at once"] < 0.1
    assert told["step"] > 0.1


def _held(_rank):
    """Tell the time of sums on a GPU, of what is beside them, and what a stream waits for."""
    network = NETWORK._replace(host=Link(1e-3, 100e9), memory_bytes_per_s=3e12)
    own = torch.randn(2**22, device="cuda")
    begin, beside, end = (torch.cuda.Event(enable_timing=True) for _ in range(3))
    told = []
    with among(2), at_pace(Pace(network, 8)):
        dist.all_reduce(own)  # its kernel is compiled
        torch.cuda.synchronize()
        for _ in range(3):
            begin.record()
            work = dist.all_reduce(own, async_op=True)
            assert work is not None
            own.sin()
            beside.record()
            work.wait()
            end.record()
            torch.cuda.synchronize()
            told.append((begin.elapsed_time(beside), begin.elapsed_time(end)))
    return told, 1e3 * seconds(network, "all_reduce", own.nbytes, processes=2)


@pytest.mark.gpu
@pytest.mark.distributed
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_stream_waits_for_an_echo_at_a_pace_and_is_free_before():
    told, wanted = run(_held, 1)[0]
    for beside, whole in told:
        assert whole > 0.95 * wanted
        assert beside < wanted / 2
        assert whole < 2 * wanted


def _losses(_rank, axes, world):
    size, device = SIZES["9.5M"], torch.device("cpu")
    with among(world):
        launch = Launch(world=world, master="nobody")
        training = run_of(size, Case("some", axes), launch, device, tiny=True)
        return [training.step() for _ in range(4)]


@pytest.mark.distributed
@pytest.mark.parametrize(
    "axes", [{"shard": 8}, {"replicate": 2, "shard": 4}, {"sequence": 2}, {"tensor": 2}]
)
def test_numbers_stay_those_of_a_run(axes):
    losses = run(_losses, 1, axes, math.prod(axes.values()))[0]
    assert all(math.isfinite(loss) for loss in losses)
    assert len(set(losses)) == 4


def test_a_pace_wants_timed_collectives(tmp_path):
    told = Namespace(timed=tmp_path / "none.json", held=16)
    with pytest.raises(SystemExit, match=r"Wanted timed collectives, got no file .*none\.json"):
        pace_of(told)
    pace = pace_of(Namespace(timed=TIMED, held=16))
    assert pace.multiprocessors == 16
    assert 1e-6 < pace.network.host.latency_s < 1e-4
