"""What workers read: windows of any times, tiles and histories, in one buffer."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from orbitds.data.batch import ALIGN_BYTES, Reader
from orbitds.data.fields import Fields
from orbitds.data.packing import MISSING, Packing
from orbitds.data.pair import stack
from orbitds.tiles import TileGrid

TILES = TileGrid(7, 11, 2, 3, 1, periodic=True)


@pytest.fixture(scope="module")
def train(pair):
    return pair.part("train")


@pytest.mark.parametrize("history", [0, 1, 3])
def test_a_batch_holds_the_stored_windows_and_those_before(train, history):
    reader = Reader.of(train, TILES, history=history)
    assert len(reader) == (24 - history) * 6
    indices = [0, 5, len(reader) - 1]
    batch = reader.read(indices)
    coarse = stack(train.coarse, train.inputs).transpose("time", ...).values
    fine = stack(train.fine, train.outputs).transpose("time", ...).values
    for row, index in enumerate(indices):
        step, tile = index // 6 + history, TILES.tiles[index % 6]
        assert reader.place(index) == (step, index % 6)
        wanted = np.concatenate([coarse[step - back] for back in range(history + 1)])
        assert torch.equal(batch.coarse[row], TILES.cut(torch.from_numpy(wanted), tile))
        assert torch.equal(batch.fine[row], TILES.cut(torch.from_numpy(fine[step]), tile, 3))
    assert batch.gaps.numel() == 0


def test_a_buffer_holds_all_parts_beside_each_other(train):
    packing = Packing.of(train.inputs)
    values = stack(train.coarse, train.inputs).transpose("time", ...).values
    masked = replace(
        train,
        coarse=train.coarse.assign_attrs(missing="mask"),
        coarse_fields=Fields(packing.pack(values), train.inputs, packing),
        fine_fields=Fields(
            stack(train.fine, train.outputs).transpose("time", ...).values, train.outputs
        ),
    )
    reader = Reader.of(masked, TILES)
    assert reader.checked
    size = reader.bytes_of(3)
    assert size % ALIGN_BYTES == 0
    buffer = torch.full((size + 7,), 99, dtype=torch.uint8)
    batch = reader.read([1, 2, 70], buffer)
    alone = reader.read([1, 2, 70])
    assert [part.dtype for part in batch[:3]] == [torch.int16, torch.float32, torch.uint8]
    for got, wanted in zip(batch[:3], alone[:3], strict=True):
        assert torch.equal(got, wanted)
    views = reader.views(buffer, 3)
    assert all(torch.equal(got, wanted) for got, wanted in zip(views, batch[:3], strict=True))
    assert (buffer[size:] == 99).all()


def test_missing_codes_take_their_neighbour(train):
    packing = Packing.of(train.inputs)
    codes = packing.pack(stack(train.coarse, train.inputs).transpose("time", ...).values)
    codes[3, 1, 2, 0] = MISSING
    masked = replace(
        train,
        coarse=train.coarse.assign_attrs(missing="mask"),
        coarse_fields=Fields(codes, train.inputs, packing),
        fine_fields=Fields(
            stack(train.fine, train.outputs).transpose("time", ...).values, train.outputs
        ),
    )
    batch = Reader.of(masked, TileGrid(7, 11, periodic=True)).read([3])
    around = [codes[3, 1, r, c] for r, c in ((1, 0), (3, 0), (2, 1), (2, 10))]
    assert int(batch.coarse[0, 1, 2, 0]) in around
    assert int(batch.gaps.sum()) == int(batch.gaps[0, 2, 0]) == 1


def test_values_of_a_store_are_not_checked_again(train):
    values = stack(train.coarse, train.inputs).transpose("time", ...).values.copy()
    fine = stack(train.fine, train.outputs).transpose("time", ...).values
    values[0, 0, 0, 0] = 1e20
    fields = {"coarse_fields": Fields(values, train.inputs)}
    with pytest.raises(ValueError, match="eastward_wind between"):
        Reader.of(replace(train, **fields), TILES).read([0])
    fields["fine_fields"] = Fields(fine, train.outputs)
    assert Reader.of(replace(train, **fields), TILES).read([0]).coarse.max() > 1e19


def test_a_part_reads_its_own_times(pair):
    values = stack(pair.coarse, pair.inputs).transpose("time", ...).values
    fine = stack(pair.fine, pair.outputs).transpose("time", ...).values
    whole = replace(
        pair,
        coarse_fields=Fields(values, pair.inputs),
        fine_fields=Fields(fine, pair.outputs),
    )
    for part, first in (("train", 0), ("validate", 24), ("test", 36)):
        reader = Reader.of(whole.part(part), TileGrid(7, 11))
        assert len(reader) == (24 if part == "train" else 12)
        np.testing.assert_array_equal(reader.read([2]).fine[0], fine[first + 2])


def test_a_history_needs_enough_unbroken_times(train):
    short = replace(train, coarse=train.coarse[{"time": [0, 1]}], fine=train.fine[{"time": [0, 1]}])
    with pytest.raises(ValueError, match=r"more than 2 times of synthetic.*got 2"):
        Reader.of(short, TILES, history=2)
    keep = [0, 1, 2, 4, 5]
    broken = replace(train, coarse=train.coarse[{"time": keep}], fine=train.fine[{"time": keep}])
    Reader.of(broken, TILES)
    with pytest.raises(ValueError, match=r"without gaps.*between 2001-03.* and 2001-05"):
        Reader.of(broken, TILES, history=1)
