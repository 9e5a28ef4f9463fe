"""The order of samples: all of them once an epoch, the same from wherever a run goes on."""

import itertools
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitds.data.order import MixedSampler, Order, StepSampler, mirrored

lengths = st.one_of(st.sampled_from([1, 2, 7, 13, 31]), st.integers(1, 60))


def batches(length, batch_size, *, seed=3, first=0, last):
    return list(
        StepSampler(length, Order(batch_size=batch_size, seed=seed, first=first, last=last))
    )


@settings(deadline=None)
@given(length=lengths, batch_size=st.integers(1, 80), epochs=st.integers(1, 4))
def test_every_sample_comes_once_an_epoch(length, batch_size, epochs):
    steps = -(-length * epochs // batch_size)
    order = list(itertools.chain(*batches(length, batch_size, last=steps)))
    assert len(order) == steps * batch_size
    for epoch in range(epochs):
        assert sorted(order[epoch * length : (epoch + 1) * length]) == list(range(length))


@settings(deadline=None)
@given(length=lengths, batch_size=st.integers(1, 80), first=st.integers(0, 9))
def test_a_run_goes_on_from_any_step_as_if_never_interrupted(length, batch_size, first):
    whole = batches(length, batch_size, last=11)
    assert batches(length, batch_size, first=first, last=11) == whole[first:]


def test_a_batch_may_be_larger_than_the_dataset():
    (batch,) = batches(3, 8, last=1)
    assert len(batch) == 8
    assert sorted(batch[:3]) == sorted(batch[3:6]) == [0, 1, 2]


def test_epochs_and_seeds_differ():
    orders = {tuple(batch) for seed in (0, 1, 2) for batch in batches(50, 50, seed=seed, last=3)}
    assert len(orders) == 9
    assert tuple(range(50)) not in orders


def test_the_order_leaves_other_random_numbers_alone():
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    batches(20, 7, last=9)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("first", [0, 2, 5])
def test_a_sampler_knows_its_length(first):
    sampler = StepSampler(7, Order(batch_size=2, seed=0, first=first, last=5))
    assert len(sampler) == len(list(sampler)) == 5 - first


# --- ranks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("length", [7, 13, 31, 97])
@pytest.mark.parametrize("batch_size", [8, 11, 16])
def test_ranks_share_the_same_global_batches(length, batch_size, world):
    steps = -(-3 * length // batch_size)
    common = {"batch_size": batch_size, "seed": 5, "first": 0, "last": steps}
    ranks = [
        list(StepSampler(length, Order(rank=rank, world=world, **common))) for rank in range(world)
    ]
    joined = [list(itertools.chain(*shares)) for shares in zip(*ranks, strict=True)]
    assert joined == list(StepSampler(length, Order(**common)))
    sizes = {len(share) for shares in ranks for share in shares}
    assert max(sizes) - min(sizes) <= 1
    order = list(itertools.chain(*joined))
    for epoch in range(3):  # over all ranks and steps, each sample once an epoch
        assert sorted(order[epoch * length : (epoch + 1) * length]) == list(range(length))


def test_more_ranks_than_samples_in_a_step_are_refused():
    with pytest.raises(ValueError, match=r"batch of 4 for 5 ranks\. Raise batch_size"):
        Order(batch_size=4, seed=0, first=0, last=1, rank=0, world=5)


# --- whole fields -------------------------------------------------------------------------------


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("times", [5, 7, 13])
@pytest.mark.parametrize("fields", [1, 2, 3])
def test_batches_of_whole_fields_in_runs_of_neighbouring_tiles(times, fields, world):
    tiles, steps = 6, -(-3 * times // fields)
    common = {"batch_size": fields * tiles, "seed": 5, "first": 0, "last": steps}
    orders = [Order(shuffle="fields", rank=rank, world=world, **common) for rank in range(world)]
    ranks = [list(StepSampler(times * tiles, order, tiles=tiles)) for order in orders]
    for share in itertools.chain(*ranks):
        for earlier, later in itertools.pairwise(share):
            assert later == earlier + 1 or later % tiles == 0
    whole = np.array([list(itertools.chain(*shares)) for shares in zip(*ranks, strict=True)])
    whole = whole.reshape(-1, tiles)
    np.testing.assert_array_equal(whole % tiles, np.broadcast_to(np.arange(tiles), whole.shape))
    drawn = whole // tiles
    np.testing.assert_array_equal(drawn, drawn[:, :1] + np.zeros(tiles, int))
    epochs = drawn[: 3 * times, 0].reshape(3, times).tolist()
    assert [sorted(epoch) for epoch in epochs] == [list(range(times))] * 3
    assert epochs[0] != epochs[1] != epochs[2]


def test_whole_fields_go_on_from_any_step_and_end_epochs_within_batches():
    told = {"seed": 1, "batch_size": 8, "shuffle": "fields"}
    whole = list(StepSampler(7 * 4, Order(first=0, last=9, **told), tiles=4))
    assert list(StepSampler(7 * 4, Order(first=5, last=9, **told), tiles=4)) == whole[5:]
    order = list(itertools.chain(*whole))
    assert sorted(order[:28]) == sorted(order[28:56]) == list(range(28))


def test_each_pair_of_a_mixed_run_has_tiles_of_its_own():
    tasks = mixed((14, 15), (1.0, 1.0), tiles=(2, 3), batch_size=6, shuffle="fields")
    for task in tasks:
        tiles = (2, 3)[task.pair]
        assert [index % tiles for index in task.indices] == list(range(tiles)) * (6 // tiles)


# --- several pairs ------------------------------------------------------------------------------


def mixed(lengths=(7, 13, 5), weights=(1.0, 2.0, 1.0), *, tiles=None, **told):
    common = {"batch_size": 3, "seed": 2, "first": 0, "last": 200, "weights": weights}
    return list(MixedSampler(lengths, Order(**(common | told)), tiles=tiles))


def test_pairs_are_drawn_by_weight_and_each_goes_through_its_own_epochs():
    tasks = mixed(last=400)
    counts = np.bincount([task.pair for task in tasks])
    np.testing.assert_allclose(counts / 400, [0.25, 0.5, 0.25], atol=0.06)
    orders = []
    for pair, length in enumerate((7, 13, 5)):
        order = [index for task in tasks if task.pair == pair for index in task.indices]
        for epoch in range(len(order) // length):
            assert sorted(order[epoch * length : (epoch + 1) * length]) == list(range(length))
        orders.append(order)
    assert orders[0][:5] != orders[1][:5]


@pytest.mark.parametrize("first", [0, 1, 17, 199])
def test_a_mixed_run_goes_on_from_any_step(first):
    assert mixed(first=first) == mixed()[first:]
    assert mixed(first=first, last=300)[: 200 - first] == mixed()[first:]


def test_ranks_of_a_mixed_run_work_on_the_same_pair():
    whole = mixed(batch_size=8)
    ranks = [mixed(batch_size=8, rank=rank, world=3) for rank in range(3)]
    for task, shares in zip(whole, zip(*ranks, strict=True), strict=True):
        assert {share.pair for share in shares} == {task.pair}
        assert list(itertools.chain(*(share.indices for share in shares))) == task.indices


def test_one_pair_has_the_order_of_its_own():
    tasks = mixed((13,), (0.3,), last=9)
    assert [task.indices for task in tasks] == batches(13, 3, seed=2, last=9)


def test_the_index_of_a_large_data_set_is_arithmetic():
    started = time.perf_counter()
    (batch,) = batches(367_920, 16, last=1)
    assert len(set(batch)) == 16
    assert time.perf_counter() - started < 2


# --- mirrors ------------------------------------------------------------------------------------


def test_half_of_the_batches_are_mirrored_along_each_axis():
    axes = ("longitude", "latitude")
    chosen = [mirrored(axes, 3, step) for step in range(400)]
    assert chosen == [mirrored(axes, 3, step) for step in range(400)]
    for kind in ((), ("longitude",), ("latitude",), axes):
        assert 60 < chosen.count(kind) < 140
    assert {mirrored(("latitude",), 3, step) for step in range(20)} == {(), ("latitude",)}
    assert mirrored((), 3, 0) == ()


@pytest.mark.parametrize("world", [1, 2, 3])
def test_parts_of_a_step_are_its_share(world):
    common = {"seed": 4, "batch_size": 11, "first": 3, "last": 9, "world": world}
    for rank in range(world):
        whole = list(MixedSampler([13], Order(**common, rank=rank)))
        parts = MixedSampler([13], Order(**common, rank=rank, parts=3))
        assert len(parts) == 18 == 3 * len(whole)
        tasks = list(parts)
        for task in whole:
            mine = [part for part in tasks if part.step == task.step]
            assert len(mine) == 3
            assert all(part.indices and part.pair == task.pair for part in mine)
            assert [index for part in mine for index in part.indices] == task.indices
            sizes = [0, *(len(part.indices) for part in mine)]
            places = [rank * 11 // world + sum(sizes[: number + 1]) for number in range(3)]
            assert [part.place for part in mine] == places
            # buffers are made for the largest part
            assert max(len(part.indices) for part in mine) <= -(-11 // (3 * world))
    with pytest.raises(ValueError, match="11 for 4 ranks in 3 parts"):
        Order(**(common | {"world": 4}), parts=3)


# --- crops --------------------------------------------------------------------------------------


def crops(times, tiles, batch_size, *, first=0, last, stream=0, **rank):
    order = Order(batch_size=batch_size, seed=3, first=first, last=last, shuffle="crops", **rank)
    return list(StepSampler(times * tiles, order, tiles=tiles, stream=stream))


@settings(deadline=None)
@given(times=lengths, tiles=st.integers(1, 40), batch_size=st.integers(1, 20))
def test_an_epoch_of_crops_is_each_time_once(times, tiles, batch_size):
    steps = -(-times * 3 // batch_size)
    order = list(itertools.chain(*crops(times, tiles, batch_size, last=steps)))
    assert all(0 <= index < times * tiles for index in order)
    for epoch in range(3):
        seen = [index // tiles for index in order[epoch * times : (epoch + 1) * times]]
        assert sorted(seen) == list(range(times))


def test_crops_are_at_all_places_and_each_as_often():
    order = list(itertools.chain(*crops(7, 9, 63, last=100)))
    counted = np.bincount([index % 9 for index in order], minlength=9)
    assert counted.sum() == 6300
    assert (np.abs(counted - 700) < 4 * np.sqrt(700)).all()
    # of one time too, and not in step with the times
    own = np.bincount([index % 9 for index in order if index // 9 == 2], minlength=9)
    assert (np.abs(own - 100) < 4.5 * 10).all()


def test_crops_go_on_from_any_step_on_any_ranks():
    whole = crops(5, 37, 8, last=9)
    assert crops(5, 37, 8, first=4, last=9) == whole[4:]
    for world in (2, 3):
        ranks = [crops(5, 37, 8, last=9, rank=rank, world=world) for rank in range(world)]
        assert [list(itertools.chain(*parts)) for parts in zip(*ranks, strict=True)] == whole
    assert crops(5, 37, 8, last=9, stream=1) != whole
