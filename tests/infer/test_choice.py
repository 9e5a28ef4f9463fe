"""What of a checkpoint of several sets a dataset is for."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from orbitds.checkpoint import load_checkpoint
from orbitds.data.pair import statics_on
from orbitds.data.statics import SOURCE
from orbitds.grid import Grid
from orbitds.infer.backdrop import known
from orbitds.infer.choice import part_for, whole_at
from orbitds.infer.downscaler import Downscaler
from tests.mixed import NORTH, RAIN, WIND, other_pair


@pytest.fixture(scope="module")
def other():
    return other_pair()


@pytest.fixture
def checkpoint(mixed_folder):
    return load_checkpoint(mixed_folder)


def test_the_nearest_spacing_brings_its_factor_and_its_variables(checkpoint, pair, other):
    one, two = part_for(checkpoint, pair.coarse), part_for(checkpoint, other.coarse)
    assert (one.factor, two.factor) == (3, 2)
    assert (one.inputs, one.outputs) == ((WIND, RAIN), (WIND, RAIN))
    assert (two.inputs, two.outputs) == ((WIND, NORTH), (NORTH,))
    assert (one.description.statics, two.description.statics) == (("orography",), ())
    assert one.model.trunk is two.model.trunk is checkpoint.model.trunk
    assert "factor 2 of 3, 2, as of the nearest training data: other at 2502 km" in two.choice.told
    assert part_for(checkpoint, other.coarse) is two  # what lies on a device is found again


def test_a_set_whose_outputs_are_not_in_the_data_is_not_the_nearest(checkpoint, other):
    part = part_for(checkpoint, other.coarse[[WIND]])
    assert (part.factor, part.inputs, part.outputs) == (3, (WIND,), (WIND,))
    assert f"the input has no {RAIN} to be downscaled" in part.choice.told


def test_the_factor_may_be_asked_for(checkpoint, other):
    part = part_for(checkpoint, other.coarse, 3)
    assert (part.factor, part.outputs) == (3, (WIND,))
    assert "asked for" in part.choice.told
    with pytest.raises(ValueError, match=r"of checkpoint 'both', 3 or 2, got 4\. Take one"):
        part_for(checkpoint, other.coarse, 4)
    with pytest.raises(ValueError, match=r"some of \['northward_wind'\].*got of its inputs"):
        part_for(checkpoint, other.coarse[[WIND]], 2)


def test_a_checkpoint_of_one_set_is_all_that_there_is(checkpoint_folder, coarse):
    one = load_checkpoint(checkpoint_folder)
    assert part_for(one, coarse) is part_for(one, coarse, 3) is whole_at(one, None) is one
    with pytest.raises(ValueError, match="of checkpoint 'tiny', 3, got 2"):
        Downscaler(one, factor=2)


def test_without_data_the_factor_has_to_be_told(checkpoint):
    with pytest.raises(ValueError, match=r"one of the factors of checkpoint 'both', 3 or 2"):
        Downscaler(checkpoint)
    part = Downscaler(checkpoint, factor=2).checkpoint
    assert (part.inputs, part.outputs) == ((WIND, NORTH), (NORTH,))


def test_a_part_travels_as_its_folder(checkpoint, other):
    part = part_for(checkpoint, other.coarse)
    content = pickle.dumps(part)
    assert len(content) < 5000
    assert pickle.loads(content) is part
    apart = pickle.loads(pickle.dumps(replace(checkpoint, name="mine").of(part.choice)))
    assert apart.choice == part.choice
    assert (apart.factor, apart.outputs) == (2, (NORTH,))


@pytest.mark.parametrize("lazily", [False, True])
def test_a_dataset_is_downscaled_by_the_factor_of_its_spacing(
    mixed_folder, checkpoint, pair, other, lazily
):
    for data, factor in ((pair, 3), (other, 2)):
        coarse = data.part("test").coarse
        fine = (coarse.chunk(time=5) if lazily else coarse).orbit.downscale(mixed_folder)
        assert list(fine.data_vars) == list(data.outputs)
        assert fine.sizes["latitude"] == factor * coarse.sizes["latitude"]
        assert f"factor {factor} of 3, 2" in fine.attrs["history"]
        # as the network says of what training gives it, without statics of that
        part = part_for(checkpoint, coarse)
        grid = data.coarse_grid
        fields = torch.tensor(coarse[list(part.inputs)].to_dataarray("v").values).transpose(0, 1)
        statics = None
        if part.description.statics:
            relief = torch.tensor(statics_on(("orography",), data.fine)["orography"].values)
            normal = checkpoint.normalizer(("orography",))(relief[None])
            statics = normal.expand(len(fields), -1, -1, -1)
            assert fine.attrs["orbitds_statics"] == SOURCE
        with torch.no_grad():
            said = checkpoint.model.predict(
                checkpoint.normalizer(part.inputs)(fields),
                latitude_deg=torch.tensor(grid.latitude_deg).float().expand(len(fields), -1),
                longitude_deg=torch.tensor(grid.longitude_deg).float().expand(len(fields), -1),
                spacing_km=torch.tensor([[grid.spacing_km, grid.spacing_km / factor]]).expand(
                    len(fields), -1
                ),
                variables=part.inputs,
                statics=statics,
                periodic=True,
                aim=part.model.aim,
            )
        wanted = checkpoint.normalizer(part.outputs).inverse(said.fine)
        for place, name in enumerate(part.outputs):
            field = wanted[:, place].clamp(min=0) if name == RAIN else wanted[:, place]
            np.testing.assert_allclose(fine[name], field, rtol=1e-4, atol=1e-4)


def test_statics_are_those_of_training(checkpoint, pair):
    """Training took them for the fine grid that it has, inference for the one that it makes."""
    part = part_for(checkpoint, pair.coarse)
    refined = Grid.of(pair.coarse).refine(3)
    region, lack = known(part, refined)
    assert lack == ""
    wanted = statics_on(("orography",), pair.fine)["orography"]
    np.testing.assert_allclose(region.statics[0], wanted, rtol=1e-5, atol=1e-2)


def test_a_spacing_far_from_any_is_told(mixed_folder, pair):
    half = xr.Dataset({name: pair.coarse[name].isel(time=slice(3)) for name in (WIND, RAIN)}).isel(
        latitude=slice(0, 6), longitude=slice(0, 6)
    )
    near = half.assign_coords(latitude=half.latitude / 2, longitude=half.longitude / 2)
    with pytest.warns(UserWarning, match="trained at 2859 km for this factor.*1430 km"):
        fine = near.orbit.downscale(mixed_folder, factor=3)
    assert fine.sizes["latitude"] == 18


def test_an_array_is_enough_where_its_set_has_its_output(mixed_folder, other):
    wind = other.part("test").coarse[NORTH]
    fine = wind.orbit.downscale(mixed_folder)
    assert fine.name == NORTH
    assert fine.sizes["longitude"] == 2 * wind.sizes["longitude"]


def test_the_command_tells_what_it_chose(orbitds, mixed_folder, other, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other.part("test").coarse.to_netcdf("coarse.nc")
    command = ("infer", "coarse.nc", "--checkpoint", mixed_folder, "--output")
    plan = orbitds(*command, "fine.nc", "--dry-run")
    assert "factor 2 of 3, 2" in plan.out
    answer = orbitds(*command, "fine.nc")
    assert (answer.code, "factor 2 of 3, 2" in answer.err) == (0, True)
    accessor = other.part("test").coarse.orbit.downscale(mixed_folder)
    with xr.open_dataset("fine.nc") as fine:
        np.testing.assert_allclose(fine[NORTH], accessor[NORTH], rtol=1e-5, atol=1e-5)
    with pytest.warns(UserWarning, match="2859 km for this factor"):
        answer = orbitds(*command, "finer.nc", "--factor", "3")
    assert answer.code == 0
    with xr.open_dataset("finer.nc") as fine:
        assert next(iter(fine.data_vars)) == WIND
        assert fine.sizes["latitude"] == 24
    assert "3 or 2, got 5" in orbitds(*command, "none.nc", "--factor", "5").err


def test_data_are_checked_for_the_part_that_they_would_meet(
    orbitds, mixed_folder, other, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    other.part("test").coarse.to_netcdf("coarse.nc")
    answer = orbitds("check", "coarse.nc", "--checkpoint", mixed_folder)
    assert answer.code == 0
    assert NORTH in answer.out
    assert RAIN not in answer.out
