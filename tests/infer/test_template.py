"""The output around its values."""

import numpy as np

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
