"""The loader: the same batches from any number of workers, and errors that arrive."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
import zarr

from orbitds.data import loader as module
from orbitds.data.fields import Fields
from orbitds.data.loader import training_loader
from orbitds.data.order import Order, StepSampler
from orbitds.data.packing import Packing
from orbitds.data.pair import stack
from orbitds.data.sample import Samples
from orbitds.tiles import TileGrid

TILES = TileGrid(7, 11, 2, 3, 1, periodic=True)


@pytest.fixture(scope="module")
def train(pair):
    return pair.part("train")


def stored(pair, folder, dtype="int16"):
    """The pair as a prepared store: its stacked arrays in Zarr."""
    fields = {}
    for part, names in (("coarse", pair.inputs), ("fine", pair.outputs)):
        values = stack(getattr(pair, part), names).transpose("time", ...).values
        packing = Packing.of(names) if dtype == "int16" else None
        array = zarr.create_array(
            folder / part / "values",
            shape=values.shape,
            chunks=(1, *values.shape[1:]),
            dtype=dtype,
        )
        array[:] = values if packing is None else packing.pack(values)
        fields[f"{part}_fields"] = Fields(array, names, packing)
    return replace(pair, **fields)


def loaded(samples, **told):
    common = {"batch_size": 5, "seed": 4, "first": 2, "last": 9}
    how = {key: told.pop(key) for key in ("workers", "prefetch", "mirror") if key in told}
    loader = training_loader(samples, order=Order(**(common | told)), **how)
    return [batch[:2] for batch in loader]


def assert_same(got, wanted):
    for (one, sample), (other, expected) in zip(got, wanted, strict=True):
        assert one == other
        for mine, theirs in zip(sample, expected, strict=True):
            assert torch.equal(mine, theirs)


def test_a_loader_gives_the_samples_of_its_steps(train, statistics):
    samples = Samples(train, statistics, TILES)
    order = StepSampler(len(samples), Order(batch_size=5, seed=4, first=2, last=9))
    for (pair, batch), indices in zip(loaded([samples]), order, strict=True):
        assert pair == 0
        for place, index in enumerate(indices):
            for got, wanted in zip(batch, samples[index], strict=True):
                assert torch.equal(got[place], wanted)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_workers_change_nothing(train, statistics, tmp_path, dtype):
    other = replace(train, name="other", coarse=train.coarse * 0.5)
    samples = [
        Samples(stored(train, tmp_path / "a", dtype), statistics, TILES),
        Samples(other, statistics, TILES),
    ]
    told = {"weights": (1.0, 1.0), "first": 0, "last": 12, "mirror": ("longitude",)}
    plain = loaded(samples, **told)
    assert {pair for pair, _ in plain} == {0, 1}
    assert_same(loaded(samples, workers=2, prefetch=1, **told), plain)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_random_numbers_of_the_run_are_left_alone(train, statistics, workers):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    told = {"workers": workers, "mirror": ("longitude",), "last": 4}
    loaded([Samples(train, statistics, TILES)], **told)
    assert torch.equal(torch.rand(3), expected)


def test_ranks_read_shares_of_the_batch(train, statistics, tmp_path):
    samples = [Samples(stored(train, tmp_path), statistics, TILES)]
    whole = loaded(samples)
    ranks = [loaded(samples, rank=rank, world=2, workers=rank) for rank in range(2)]
    for (_, batch), (_, first), (_, second) in zip(whole, *ranks, strict=True):
        assert torch.equal(torch.cat([first.fine, second.fine]), batch.fine)
        assert first.fine.shape[0] == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_of_whole_fields_is_shared_in_runs_of_neighbouring_tiles(
    train, statistics, workers
):
    samples = [Samples(train, statistics, TILES)]
    told = {"shuffle": "fields", "batch_size": 12, "first": 0, "last": 2, "workers": workers}
    for _, batch in loaded(samples, **told):
        assert batch.weight.shape[0] == 12
        for field in batch.weight.sum(dim=(1, 2, 3)).reshape(2, 6), batch.latitude_deg[:, 0]:
            first, second = field.reshape(2, -1)
            torch.testing.assert_close(first, second)  # both are all tiles of a field, in order
    half = loaded(samples, rank=1, world=2, **told)
    for (_, batch), (_, share) in zip(loaded(samples, **told), half, strict=True):
        assert torch.equal(share.fine, batch.fine[6:])


def test_what_a_worker_finds_wrong_arrives_as_it_would_here(train, statistics):
    fine = train.fine.copy(deep=True)
    fine["eastward_wind"][:, 0, 0] = 1e20
    samples = [Samples(replace(train, fine=fine), statistics, TileGrid(7, 11))]
    for workers in (0, 1):
        with pytest.raises(ValueError, match=r"^Wanted eastward_wind between") as told:
            loaded(samples, workers=workers)
        assert str(told.value).endswith("or use ds.where.")


class Deadly:
    """An array whose reader dies."""

    shape, dtype = (24, 2, 7, 11), np.dtype("float32")

    def __getitem__(self, place):
        os._exit(1)


def test_a_worker_that_dies_is_an_error(train, statistics):
    samples = Samples(train, statistics, TileGrid(7, 11))
    coarse = Fields(Deadly(), train.inputs)
    samples.reader = samples.assemble.reader = replace(samples.reader, coarse=coarse)
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        loaded([samples], workers=1)


def test_too_little_shared_memory_is_said_beforehand(train, statistics, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "SHARED", tmp_path)
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"shared memory for 6 batches, got 0\.00 GiB.*shm-size"):
        loaded([Samples(train, statistics, TILES)], workers=2)
