"""Training periods: of pairs and of files, cut to what is evaluated."""

import numpy as np
import pytest
import xarray as xr

from orbitds.data.climatology import Climatology
from orbitds.eval.past import learn, training_period
from orbitds.eval.quantiles import QuantileMap
from orbitds.grid import Grid

WIND, RAIN = "eastward_wind", "total_precipitation_24hr"


def test_a_pair_gives_means_and_distributions(pair):
    train = pair.part("train")
    past = learn(train, [WIND, RAIN], pair.fine_grid, pair.factor)
    assert past.outputs == (WIND, RAIN)
    fine, coarse = Climatology.of(train).means()
    np.testing.assert_array_equal(past.region.fine_climatology, fine)
    np.testing.assert_array_equal(past.region.coarse_climatology, coarse)
    own = QuantileMap.fit(train.coarse[RAIN], train.fine[RAIN], periodic=True)
    np.testing.assert_array_equal(past.maps[RAIN].correction, own.correction)
    assert past.told == "synthetic, 2001-01-01 to 2002-12-01, 24 times"


def test_a_part_of_the_grid_has_its_own(pair):
    train = pair.part("train")
    rows, columns = slice(6, 15), slice(3, 27)
    part = train.fine.isel(latitude=rows, longitude=columns)
    past = learn(train, [WIND], Grid.of(part), pair.factor)
    whole = learn(train, [WIND], pair.fine_grid, pair.factor)
    np.testing.assert_array_equal(
        past.region.fine_climatology, whole.region.fine_climatology[..., rows, columns]
    )
    np.testing.assert_array_equal(
        past.region.coarse_climatology, whole.region.coarse_climatology[..., 2:5, 1:9]
    )
    assert past.maps[WIND].before.shape[2:] == (9, 24)


def test_a_circle_that_begins_elsewhere_is_turned(pair):
    train = pair.part("train")
    turned = train.fine.roll(longitude=-6, roll_coords=True)
    longitude = turned["longitude"].values
    grid = Grid(
        turned["latitude"].values, np.where(longitude < longitude[0], longitude + 360, longitude)
    )
    past = learn(train, [WIND], grid, pair.factor)
    whole = learn(train, [WIND], pair.fine_grid, pair.factor)
    for name in ("before", "correction"):
        np.testing.assert_allclose(
            getattr(past.maps[WIND], name),
            np.roll(getattr(whole.maps[WIND], name), -6, axis=-1),
            atol=1e-5,
        )


def test_cells_that_are_no_part_are_refused(pair):
    train = pair.part("train")
    across = Grid.of(train.fine.isel(latitude=slice(1, 10)))
    for grid, factor in ((across, 3), (pair.fine_grid, 2), (pair.fine_grid.refine(2), 3)):
        with pytest.raises(ValueError, match=r"Wanted a training period on.*got synthetic with"):
            learn(train, [WIND], grid, factor)


def test_variables_that_it_lacks_are_refused(pair):
    with pytest.raises(ValueError, match=r"Wanted one of \['2m_temperature'\] on both sides"):
        learn(pair, ["2m_temperature"], pair.fine_grid, pair.factor)


def test_files_are_a_training_period_at_their_common_times(pair, tmp_path):
    train = pair.part("train")
    files = {"fine": train.fine.isel(time=slice(2, None)), "coarse": train.coarse[[WIND]]}
    for name, ds in files.items():
        ds.to_netcdf(tmp_path / f"{name}.nc")
    found = training_period(
        None, str(tmp_path / "fine.nc"), str(tmp_path / "coarse.nc"), [WIND, RAIN]
    )
    assert (found.inputs, found.outputs, found.factor) == ((WIND,), (WIND, RAIN), 3)
    past = learn(found, [WIND, RAIN], found.fine_grid, 3)
    assert past.outputs == (WIND,)
    assert past.told.endswith("2001-03-01 to 2002-12-01, 22 times")
    same = learn(train.part("train"), [WIND], pair.fine_grid, 3)
    np.testing.assert_allclose(
        past.region.fine_climatology[4], same.region.fine_climatology[4], rtol=1e-6
    )


def test_a_catalog_name_gives_its_training_years():
    found = training_period("navy_winds_10deg_to_2p5deg", None, None, [WIND])
    assert str(found.fine["time"].values[0])[:4] == "1982"
    assert str(found.fine["time"].values[-1])[:4] == "1989"


def test_nothing_gives_none_and_half_is_refused():
    assert training_period(None, None, None, [WIND]) is None
    for given in (("p", "t", None), (None, "t", None), (None, None, "c"), ("p", "t", "c")):
        with pytest.raises(ValueError, match="Give one or the two"):
            training_period(*given, [WIND])


def test_files_without_the_variables_are_refused(tmp_path):
    xr.Dataset({"cloud": ((), 1.0)}).to_netcdf(tmp_path / "a.nc")
    source = str(tmp_path / "a.nc")
    with pytest.raises(ValueError, match=r"Wanted one of \['eastward_wind'\] in .*a\.nc"):
        training_period(None, source, source, [WIND])
