"""The order of samples: all of them once an epoch, the same from wherever a run goes on."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitds.data.loader import StepSampler, collate, training_loader
from orbitds.data.sample import Samples
from orbitds.tiles import TileGrid

lengths = st.one_of(st.sampled_from([1, 2, 7, 13, 31]), st.integers(1, 60))


def batches(length, batch_size, *, seed=3, first=0, last):
    return list(StepSampler(length, batch_size=batch_size, seed=seed, first=first, last=last))


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
    sampler = StepSampler(7, batch_size=2, seed=0, first=first, last=5)
    assert len(sampler) == len(list(sampler)) == 5 - first


def test_a_loader_gives_the_samples_of_its_steps(pair, statistics):
    samples = Samples(pair.part("train"), statistics, TileGrid(7, 11, 2, 3, 1, periodic=True))
    loader = training_loader(samples, batch_size=5, seed=4, first=2, last=4)
    expected = batches(len(samples), 5, seed=4, first=2, last=4)
    for batch, indices in zip(loader, expected, strict=True):
        for place, index in enumerate(indices):
            for got, wanted in zip(batch, samples[index], strict=True):
                assert torch.equal(got[place], wanted)


def test_samples_stack_along_a_new_first_axis(pair, statistics):
    samples = Samples(pair.part("train"), statistics, TileGrid(7, 11, 2, 3, 1, periodic=True))
    batch = collate([samples[0], samples[4], samples[9]])
    assert batch.coarse.shape == (3, *samples[0].coarse.shape)
    assert torch.equal(batch.fine[1], samples[4].fine)
    assert torch.equal(batch.latitude_deg[2], samples[9].latitude_deg)
