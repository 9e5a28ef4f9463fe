"""An array in, an array out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from orbitds.checkpoint import load_checkpoint, save_checkpoint
from orbitds.config import ModelConfig
from orbitds.model.reslim import Reslim
from orbitds.normalize import Statistics

WIND, RAIN = "eastward_wind", "total_precipitation_24hr"


def checkpoint_of(pair, folder, inputs, outputs):
    config = ModelConfig(width=8, depth=0, decoder_depth=0, correction_width=4, base="bicubic")
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(5)
        model = Reslim(config, inputs=inputs, outputs=outputs, statics=(), factor=3)
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    save_checkpoint(
        folder,
        model,
        statistics=dict.fromkeys({*inputs, *outputs}, Statistics(mean=0.0, std=10.0)),
        spacing_km=(pair.coarse_grid.spacing_km, pair.fine_grid.spacing_km),
        provenance={},
        same_product=True,
    )
    return folder


@pytest.fixture(scope="module")
def alone(pair, tmp_path_factory):
    """A checkpoint of wind alone."""
    folder = tmp_path_factory.mktemp("alone") / "wind"
    return checkpoint_of(pair, folder, (WIND,), (WIND,))


@pytest.mark.parametrize("name", [WIND, "uas", "UWND"])
@pytest.mark.parametrize("is_lazy", [False, True])
def test_an_array_is_the_variable_of_a_dataset(coarse, alone, name, is_lazy):
    ds = coarse[[WIND]].chunk(time=5) if is_lazy else coarse[[WIND]]
    fine = ds.orbit.downscale(alone)
    array = ds[WIND].rename(name).orbit.downscale(alone)
    assert isinstance(array, xr.DataArray)
    assert array.name == WIND
    assert (array.chunks is not None) is is_lazy
    xr.testing.assert_equal(array, fine[WIND])
    assert array.attrs["orbitds_checkpoint_sha256"] == load_checkpoint(alone).fingerprint
    assert array.attrs.items() >= fine[WIND].attrs.items()
    assert str(array.encoding) == str(fine[WIND].encoding)


def test_layout_and_coordinates_come_back(coarse, alone):
    theirs = coarse[WIND].rename(latitude="lat", longitude="lon").sortby("lat")
    theirs = theirs.transpose("lon", "lat", "time").assign_coords(height=2.0)
    fine = theirs.orbit.downscale(alone)
    assert fine.dims == ("lon", "lat", "time")
    assert fine["height"] == 2.0
    again = fine.to_dataset().transpose("time", "lat", "lon")
    assert again.sizes == {"time": 12, "lat": 21, "lon": 33}


def test_options_are_those_of_a_dataset(coarse, alone):
    plain = coarse[[WIND]].orbit.downscale(alone, tiles=(2, 2), constraints=["conserve"])
    array = coarse[WIND].orbit.downscale(alone, tiles=(2, 2), constraints=["conserve"])
    xr.testing.assert_equal(array, plain[WIND])
    assert array.attrs["orbitds_constraints"] == "conserve"
    holes = coarse[WIND].where(coarse[WIND]["latitude"] > 0)
    assert np.isnan(holes.orbit.downscale(alone, missing="mask")).any()


def test_an_output_may_be_picked(pair, coarse, tmp_path):
    folder = checkpoint_of(pair, tmp_path / "both", (WIND,), (WIND, RAIN))
    assert coarse[WIND].orbit.downscale(folder).name == WIND
    for choice in ([RAIN], RAIN):
        rain = coarse[WIND].orbit.downscale(folder, variables=choice)
        assert rain.name == RAIN
        assert rain.attrs["units"] == "mm"
    with pytest.raises(ValueError, match=r"one variable for an array.*da\.to_dataset\(\)\.orbit"):
        coarse[WIND].orbit.downscale(folder, variables=[WIND, RAIN])


def test_another_output_wants_to_be_named(pair, coarse, tmp_path):
    folder = checkpoint_of(pair, tmp_path / "rain", (WIND,), (RAIN,))
    message = r"gives 'eastward_wind', got 'rain', which gives \['total_p.*variables=\[\.\.\.\]"
    with pytest.raises(ValueError, match=message):
        coarse[WIND].orbit.downscale(folder)
    assert coarse[WIND].orbit.downscale(folder, variables=[RAIN]).name == RAIN


def test_an_array_without_a_name_is_refused(coarse, alone):
    with pytest.raises(ValueError, match=r"name of a variable, got one without.*da\.rename"):
        coarse[WIND].rename(None).orbit.downscale(alone)
    with pytest.raises(ValueError, match=r"'eastward_wnd'.*Did you mean.*eastward_wind"):
        coarse[WIND].rename("eastward_wnd").orbit.downscale(alone)


def test_a_checkpoint_of_more_is_refused(coarse, checkpoint_folder):
    message = r"Wanted eastward_wind, total_precipitation_24hr.*single array 'uas'.*ds\.orbit"
    with pytest.raises(ValueError, match=message):
        coarse[WIND].rename("uas").orbit.downscale(checkpoint_folder)


def test_levels_of_one_array(pair, coarse, tmp_path):
    names = ("temperature_850", "temperature_500")
    folder = checkpoint_of(pair, tmp_path / "levels", names, names)
    levels = xr.concat([coarse[WIND] + 260, coarse[WIND] + 240], "level")
    levels = levels.assign_coords(level=("level", [850, 500], {"units": "hPa"}))
    levels = levels.rename("ta").assign_attrs(units="K")
    fine = levels.orbit.downscale(folder, variables=["temperature_500"])
    assert fine.name == "temperature_500"
    with pytest.raises(ValueError, match="gives 'ta', got 'levels'"):
        levels.orbit.downscale(folder)


def test_a_loaded_checkpoint_serves_too(coarse, alone):
    loaded = load_checkpoint(alone)
    wanted = coarse[WIND].orbit.downscale(alone)
    xr.testing.assert_identical(coarse[WIND].orbit.downscale(loaded), wanted)
    renamed = coarse[WIND].orbit.downscale(replace(loaded, name="mine"))
    assert renamed.attrs["orbitds_checkpoint"] == "mine"
