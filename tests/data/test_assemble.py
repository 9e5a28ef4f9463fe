"""Samples made on the device equal those that are made plainly, one by one, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from orbitds.crops import Crops
from orbitds.data import assemble
from orbitds.data.climatology import Climatology
from orbitds.data.fields import Fields
from orbitds.data.packing import Packing
from orbitds.data.pair import stack
from orbitds.data.sample import Samples
from orbitds.normalize import Normalizer
from orbitds.tiles import TileGrid
from orbitds.variables import variable

TILES = [
    *(
        TileGrid(7, 11, *shape, periodic=True)
        for shape in [(1, 1, 0), (2, 3, 1), (3, 2, 2), (2, 5, 4)]
    ),
    *(Crops(7, 11, size, 1, periodic=True, step_cells=2) for size in [(4, 6), (6, 11), (8, 4)]),
    Crops(7, 11, (4, 4)),
]
WIND = "eastward_wind"


@pytest.fixture(scope="module")
def train(pair):
    fine = pair.fine.copy(deep=True).assign_attrs(missing="mask")
    fine[WIND][:, 2:6, -2:] = np.nan
    return replace(pair, fine=fine).part("train")


def plain(pair, statistics, tiles, index, climatology):
    """One sample by the plain formulas: whole fields, normalised and cut."""
    step, place = divmod(index, len(tiles.tiles))
    tile, factor = tiles.tiles[place], pair.factor
    outputs = Normalizer(pair.outputs, statistics)
    coarse, fine = (
        torch.from_numpy(stack(ds, names).isel(time=step).values.copy())
        for ds, names in ((pair.coarse, pair.inputs), (pair.fine, pair.outputs))
    )
    target = outputs(tiles.cut(fine, tile, factor))
    weights = torch.tensor([variable(name).loss_weight for name in pair.outputs])
    area = weights[:, None, None] * torch.tensor(pair.fine_grid.area).float()
    weight = tiles.cut(area, tile, factor) * tiles.core_mask(tile, factor)
    statics = torch.from_numpy(stack(pair.statics, pair.static_names).values.copy())
    time = pair.fine["time"].dt
    normals = [
        outputs(torch.from_numpy(field).float())
        for field in climatology.without(str(int(time.year[step])), int(time.month[step]))
    ]
    rows, _ = tiles.index(tile)
    return (
        Normalizer(pair.inputs, statistics)(tiles.cut(coarse, tile)),
        target.nan_to_num(),
        torch.where(target.isnan(), 0.0, weight),
        tiles.cut(Normalizer(pair.static_names, statistics)(statics), tile, factor),
        tiles.cut(normals[0], tile, factor),
        tiles.cut(normals[1], tile),
        torch.tensor(pair.coarse_grid.latitude_deg[rows]).float(),
        tiles.longitude(torch.tensor(pair.coarse_grid.longitude_deg), tile).float(),
        torch.tensor([pair.coarse_grid.spacing_km, pair.fine_grid.spacing_km]),
    )


@pytest.mark.parametrize("tiles", TILES)
def test_every_bit_is_that_of_the_plain_way(train, statistics, tiles, monkeypatch):
    monkeypatch.setattr(assemble, "CLIMATOLOGY_BYTES", 30_000)  # some are made twice
    climatology = Climatology.of(train)
    samples = Samples(train, statistics, tiles, climatology=climatology, own_time_out=True)
    last = len(samples) - 1
    indices = [0, last, 17, 5, 12 * len(tiles.tiles), 3, last // 2]
    batch = samples.batch(indices)
    for place, index in enumerate(indices):
        wanted = plain(train, statistics, tiles, index, climatology)
        for name, got, expected in zip(batch._fields, batch, wanted, strict=True):
            assert got.dtype == torch.float32
            assert torch.equal(got[place], expected), name


def test_packed_fields_are_good_to_half_a_step(train, statistics):
    fields = {}
    for part, names in (("coarse", train.inputs), ("fine", train.outputs)):
        values = stack(getattr(train, part), names).transpose("time", ...).values
        packing = Packing.of(names)
        fields[f"{part}_fields"] = Fields(packing.pack(values), names, packing)
    tiles = TileGrid(7, 11, 2, 3, 1, periodic=True)
    packed = Samples(replace(train, **fields), statistics, tiles).batch([3, 50])
    whole = Samples(train, statistics, tiles).batch([3, 50])
    std = statistics[WIND].std
    half = Packing.of(train.outputs).step / 2 / np.array([std, 1.0])
    for got, wanted in ((packed.coarse, whole.coarse), (packed.fine, whole.fine)):
        error = (got - wanted).abs().amax((0, 2, 3)).numpy()
        assert (error <= 1.01 * half + 1e-6).all()
        assert (error > 0).all()
    assert torch.equal(packed.weight, whole.weight)  # the gap is still one


@pytest.mark.parametrize("packed", [False, True])
def test_targets_under_missing_inputs_weigh_nothing(train, statistics, packed):
    coarse = train.coarse.copy(deep=True).assign_attrs(missing="mask")
    coarse["total_precipitation_24hr"][4, 2:4, 5] = np.nan
    gappy = replace(train, coarse=coarse)
    if packed:
        packing = Packing.of(train.inputs)
        values = stack(coarse, train.inputs).transpose("time", ...).values
        fine = stack(train.fine, train.outputs).transpose("time", ...).values
        gappy = replace(
            gappy,
            coarse_fields=Fields(packing.pack(values), train.inputs, packing),
            fine_fields=Fields(fine, train.outputs),
        )
    tiles = TileGrid(7, 11, periodic=True)
    got = Samples(gappy, statistics, tiles).batch([4, 5])
    whole = Samples(train, statistics, tiles).batch([4, 5])
    gap = torch.zeros(2, 1, 21, 33, dtype=torch.bool)
    gap[0, :, 6:12, 15:18] = True
    assert torch.equal(got.weight, torch.where(gap, 0.0, whole.weight))
    atol = 1e-3 if packed else 0
    filled = got.coarse[0, 1, 2:4, 5]
    near = torch.cat([whole.coarse[0, 1, 1:5, c] for c in (4, 6)] + [whole.coarse[0, 1, [1, 4], 5]])
    assert all((value - near).abs().min() <= atol for value in filled)
    torch.testing.assert_close(got.coarse[1], whole.coarse[1], atol=atol, rtol=0)


def test_a_window_without_any_input_has_the_mean(train, statistics):
    coarse = train.coarse.copy(deep=True).assign_attrs(missing="mask")
    coarse[WIND][0] = np.nan
    sample = Samples(replace(train, coarse=coarse), statistics, TileGrid(7, 11))[0]
    assert (sample.coarse[0] == 0).all()
    assert (sample.weight == 0).all()
