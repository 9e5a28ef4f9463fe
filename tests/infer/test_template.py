"""The output around its values."""

from dataclasses import replace

import numpy as np
import pytest

from orbitds.checkpoint import load_checkpoint
from orbitds.data.door import enter
from orbitds.grid import Grid
from orbitds.infer.template import blank, dress


def test_blank_equals_dress_but_for_values(coarse, checkpoint_folder):
    checkpoint = load_checkpoint(checkpoint_folder)
    canonical = enter(coarse, checkpoint.inputs).ds
    grid = Grid.of(canonical).refine(checkpoint.factor)
    empty = blank(checkpoint.outputs, canonical.chunk(time=4), grid, checkpoint)
    values = {name: np.ones((12, *grid.shape), np.float32) for name in checkpoint.outputs}
    full = dress(values, canonical, grid, checkpoint)
    assert empty["eastward_wind"].chunks == ((4, 4, 4), (21,), (33,))
    assert empty.attrs == full.attrs
    for name in [*full.data_vars, *full.coords]:
        assert empty[name].attrs == full[name].attrs
        assert empty[name].dims == full[name].dims
        assert empty[name].dtype == full[name].dtype


def test_cf_attributes_and_provenance(coarse, checkpoint_folder):
    coarse["eastward_wind"].attrs["cell_methods"] = "time: mean"
    coarse.attrs["history"] = "made by hand"
    fine = coarse.orbit.downscale(checkpoint_folder)
    wind = fine["eastward_wind"].attrs
    assert wind["standard_name"] == "eastward_wind"
    assert wind["units"] == "m s-1"
    assert wind["cell_methods"] == "time: mean"
    assert fine["total_precipitation_24hr"].attrs["units"] == "mm"
    assert fine["latitude"].attrs["bounds"] == "latitude_bnds"
    assert fine["longitude"].attrs["units"] == "degrees_east"
    assert fine.attrs["Conventions"] == "CF-1.11"
    earlier, done = fine.attrs["history"].split("\n")
    assert earlier == "made by hand"
    fingerprint = load_checkpoint(checkpoint_folder).fingerprint
    assert fingerprint in done
    assert fine.attrs["orbitds_checkpoint_sha256"] == fingerprint
    assert "missing" not in fine.attrs


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
