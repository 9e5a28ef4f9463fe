"""Mirrors: the sample of mirrored physical fields, components with the other sign."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from orbitds.data.climatology import Climatology
from orbitds.data.history import base_name, with_earlier
from orbitds.data.mirror import mirror
from orbitds.data.pair import stack
from orbitds.data.sample import Samples
from orbitds.normalize import Normalizer
from orbitds.tiles import TileGrid
from orbitds.variables import variable


@pytest.fixture(scope="module")
def samples(pair, statistics):
    train = pair.part("train")
    train = replace(
        train,
        coarse=train.coarse.assign(northward_wind=train.coarse.eastward_wind * 0.3 + 2),
    )
    rows = statistics | {
        "northward_wind": statistics["eastward_wind"],
        # a mean that is not zero, so that its sign shows
        "eastward_wind": statistics["eastward_wind"].model_copy(update={"mean": 3.5}),
    }
    rows |= {name: rows[base_name(name)] for name in with_earlier(train.inputs, 1)}
    tiles = TileGrid(7, 11, periodic=True)
    return Samples(train, rows, tiles, climatology=Climatology.of(train), history=1)


@pytest.mark.parametrize("axes", [("longitude",), ("latitude",), ("longitude", "latitude")])
def test_a_mirror_image_is_that_of_the_physical_fields(samples, axes):
    indices = [2, 9]
    batch = samples.batch(indices)
    got = samples.assemble(samples.reader.read(indices)._replace(mirror=axes))
    dims = [{"latitude": -2, "longitude": -1}[axis] for axis in axes]
    pair = samples.pair
    for row, index in enumerate(indices):
        step = index + 1
        physical = np.concatenate(
            [stack(pair.coarse, pair.inputs).isel(time=step - back).values for back in (0, 1)]
        )
        signs = [1.0] * 6
        for axis in axes:
            turned = ("eastward_wind", "northward_wind")[axis == "latitude"]
            for place, name in enumerate(samples.inputs):
                if name.startswith(turned):
                    signs[place] *= -1
        wanted = np.flip(physical, dims) * np.array(signs, dtype=np.float32)[:, None, None]
        wanted = samples.assemble.normalize_inputs(torch.from_numpy(wanted.copy()))
        torch.testing.assert_close(got.coarse[row], wanted, atol=2e-6, rtol=1e-6)
    torch.testing.assert_close(got.fine[:, 1], batch.fine[:, 1].flip(dims))
    sign = -1 if "longitude" in axes else 1
    mean, std = 3.5, float(samples.assemble.normalize_outputs.std[0])
    for field, whole in (
        (got.fine, batch.fine),
        (got.fine_climatology, batch.fine_climatology),
        (got.coarse_climatology, batch.coarse_climatology),
    ):
        wind = sign * (whole[:, 0].flip(dims) * std + mean)
        torch.testing.assert_close(field[:, 0] * std + mean, wind, atol=2e-5, rtol=1e-5)
    assert torch.equal(got.statics, batch.statics.flip(dims))
    assert torch.equal(got.weight, batch.weight.flip(dims))
    rows = batch.latitude_deg.flip(-1) if "latitude" in axes else batch.latitude_deg
    columns = batch.longitude_deg.flip(-1) if "longitude" in axes else batch.longitude_deg
    assert torch.equal(got.latitude_deg, rows)
    assert torch.equal(got.longitude_deg, columns)


@pytest.mark.parametrize("axes", [("longitude",), ("latitude",), ("longitude", "latitude")])
def test_a_mirror_of_a_mirror_is_the_sample(samples, axes):
    batch = samples.batch([0, 4])
    normalizers = samples.assemble.normalize_inputs, samples.assemble.normalize_outputs
    twice = mirror(mirror(batch, axes, *normalizers), axes, *normalizers)
    for got, wanted in zip(twice, batch, strict=True):
        torch.testing.assert_close(got, wanted, atol=2e-6, rtol=1e-6)


def test_scalars_and_no_climatology_are_only_reversed(pair, statistics):
    dry = pair.part("train")
    rain = ["total_precipitation_24hr"]
    dry = replace(dry, coarse=dry.coarse[rain], fine=dry.fine[rain])
    samples = Samples(dry, statistics, TileGrid(7, 11))
    batch, names = samples.batch([0]), Normalizer(rain, statistics)
    got = mirror(batch, ("longitude",), names, names)
    assert torch.equal(got.coarse, batch.coarse.flip(-1))
    assert got.fine_climatology.numel() == 0


def test_the_table_knows_components():
    kinds = {name: variable(name).component for name in ("v_component_of_wind_850", "uas", "tas")}
    assert list(kinds.values()) == ["northward", "eastward", None]
