"""The output around its values."""

from dataclasses import replace

import numpy as np
import pytest

from orbitds.checkpoint import load_checkpoint
from orbitds.data.door import enter
from orbitds.grid import Grid
from orbitds.infer.template import dress

WIND, RAIN = "eastward_wind", "total_precipitation_24hr"


@pytest.fixture
def dressed(coarse, checkpoint_folder):
    """Dress fields given by name, of shape [T, Hf, Wf] or with members."""
    checkpoint = load_checkpoint(checkpoint_folder)

    def make(**members):
        canonical = enter(coarse, checkpoint.inputs).ds
        grid = Grid.of(canonical).refine(checkpoint.factor)
        fields = {
            name: np.zeros((12, *(() if count is None else (count,)), *grid.shape), np.float32)
            for name, count in members.items()
        }
        return dress(fields, canonical, grid, checkpoint)

    return make


def test_members_have_a_coordinate(dressed):
    fine = dressed(**{WIND: 4, RAIN: 4, f"{WIND}_spread": None})
    assert fine[WIND].dims == ("time", "member", "latitude", "longitude")
    assert fine[f"{WIND}_spread"].dims == ("time", "latitude", "longitude")
    assert fine["member"].attrs["standard_name"] == "realization"
    assert fine["member"].dtype == np.int32
    np.testing.assert_array_equal(fine["member"], np.arange(4))
    assert "member" not in dressed(**{WIND: None})


def test_a_spread_is_the_uncertainty_of_its_variable(dressed):
    fine = dressed(**{WIND: None, f"{WIND}_spread": None, RAIN: None})
    spread = fine[f"{WIND}_spread"].attrs
    assert spread["standard_name"] == "eastward_wind standard_error"
    assert spread["long_name"] == "standard deviation of the predicted near-surface eastward wind"
    assert spread["units"] == "m s-1"
    assert fine[WIND].attrs["ancillary_variables"] == f"{WIND}_spread"
    assert "ancillary_variables" not in fine[RAIN].attrs


def test_temperatures_say_what_kelvin_they_are(dressed):
    name = "2m_temperature_max"
    fine = dressed(**{name: None, f"{name}_spread": None, WIND: None})
    assert fine[name].attrs["units_metadata"] == "temperature: on_scale"
    assert fine[f"{name}_spread"].attrs["units_metadata"] == "temperature: difference"
    assert "units_metadata" not in fine[WIND].attrs
    assert fine[name].attrs["cell_methods"] == "time: maximum"


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        (None, "time: sum"),
        ("time: sum (interval: 1 hour) area: mean", "time: sum (interval: 1 hour) area: mean"),
        ("area: time: mean", "area: time: sum"),  # a mean rate has become an amount
    ],
)
def test_cell_methods_are_those_of_the_input_first(coarse, dressed, stated, told):
    if stated is not None:
        coarse[RAIN].attrs["cell_methods"] = stated
    assert dressed(**{RAIN: None})[RAIN].attrs["cell_methods"] == told


def test_cf_attributes(coarse, checkpoint_folder):
    coarse["eastward_wind"].attrs["cell_methods"] = "time: mean"
    fine = coarse.orbit.downscale(checkpoint_folder)
    wind = fine["eastward_wind"].attrs
    assert wind["standard_name"] == "eastward_wind"
    assert wind["units"] == "m s-1"
    assert wind["cell_methods"] == "time: mean"
    assert fine["total_precipitation_24hr"].attrs["units"] == "mm"
    assert fine["latitude"].attrs["bounds"] == "latitude_bnds"
    assert fine["longitude"].attrs["units"] == "degrees_east"


@pytest.mark.parametrize("lazy", [False, True])
def test_the_answer_says_which_statics_were_used(coarse, checkpoint_folder, lazy):
    plain = load_checkpoint(checkpoint_folder)
    told = plain.description.provenance | {"statics": "orography: a survey"}
    description = plain.description.model_copy(update={"provenance": told})
    ds = coarse.chunk(time=5) if lazy else coarse
    fine = ds.orbit.downscale(replace(plain, description=description))
    assert fine.attrs["orbitds_statics"] == "orography: a survey"
    assert fine.compute().attrs == fine.attrs
    # a checkpoint of before says nothing, and what an earlier answer said is not handed on
    again = ds.assign_attrs(orbitds_statics="of another model").orbit.downscale(plain)
    assert "orbitds_statics" not in again.attrs
    # outside the training region the model does without
    west = ds.isel(longitude=slice(0, 5)).assign_coords(longitude=coarse["longitude"][:5] + 5)
    with pytest.warns(UserWarning, match="outside the training region"):
        fine = west.orbit.downscale(replace(plain, description=description)).compute()
    assert fine.attrs["orbitds_statics"] == "none"
