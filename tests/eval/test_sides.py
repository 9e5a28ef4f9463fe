"""Sides of an evaluation: common variables, times and cells; members apart."""

import numpy as np
import pytest
import xarray as xr

from orbitds.eval.sides import Sides
from orbitds.grid import Grid, block_mean
from tests.eval.test_run import TEMPERATURE, WIND, weather


def test_sides_have_common_variables_times_and_cells():
    truth = weather(times=6)
    prediction = truth.isel(time=slice(1, None), latitude=slice(None, None, -1))[[WIND]]
    sides = Sides.of(prediction, truth, block_mean(truth, 3).isel(time=slice(None, 5)))
    assert sides.names == (WIND,)
    assert sides.truth.sizes["time"] == sides.prediction.sizes["time"] == 4
    assert sides.coarse.sizes["time"] == 4
    assert sides.coarse_factor() == 3
    np.testing.assert_array_equal(sides.prediction[WIND], sides.truth[WIND])
    assert Grid.of(sides.truth).matches(sides.grid)


def test_lazy_data_with_the_same_times_keep_their_chunks():
    truth = weather(times=6).chunk(time=4)
    sides = Sides.of(truth, truth)
    assert sides.truth[WIND].chunksizes["time"] == (4, 2)


@pytest.mark.parametrize("dim", ["member", "number", "realization"])
def test_members_are_datasets_of_their_own(dim):
    truth = weather()
    prediction = xr.concat([truth + shift for shift in (0.0, 1.0, 2.0)], dim=dim)
    for name in (TEMPERATURE, WIND):
        prediction[name].attrs = truth[name].attrs
    sides = Sides.of(prediction, truth)
    assert len(sides.members) == 3
    np.testing.assert_allclose(sides.members[2][WIND], truth[WIND] + 2)
    assert len(Sides.of(prediction.isel({dim: [1]}), truth).members) == 1


def test_coarse_data_must_be_coarser():
    with pytest.raises(ValueError, match="coarser than the truth, got both on"):
        Sides.of(weather(), weather(), weather()).coarse_factor()
    assert Sides.of(weather(), weather()).coarse_factor() is None


def test_times_in_common_are_asked_of_every_member():
    truth = weather()
    later = truth.assign_coords(time=truth["time"] + np.timedelta64(400, "D"))
    with pytest.raises(ValueError, match="prediction 2005-.*truth 2004-"):
        Sides.of(later, truth)
