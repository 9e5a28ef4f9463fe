"""The analytic pair: what documentation and tests may rely on."""

import numpy as np
import pytest

from orbitds.data.synthetic import synthetic_pair
from orbitds.data.values import check_values

WIND, RAIN = "eastward_wind", "total_precipitation_24hr"


@pytest.mark.parametrize(("rows", "columns", "factor", "years"), [(7, 11, 3, 4), (5, 8, 2, 3)])
def test_sizes_and_years_are_those_asked_for(rows, columns, factor, years):
    pair = synthetic_pair(rows=rows, columns=columns, factor=factor, years=years)
    assert pair.factor == factor
    assert pair.coarse_grid.shape == (rows, columns)
    assert pair.fine_grid.shape == (rows * factor, columns * factor)
    assert pair.coarse_grid.periodic
    np.testing.assert_allclose(pair.fine_grid.latitude_bounds_deg[[0, -1], [0, 1]], [90, -90])
    steps = [pair.part(name).fine.sizes["time"] for name in ("train", "validate", "test")]
    assert steps == [12 * (years - 2), 12, 12]


def test_a_seed_decides_everything(pair):
    again, other = (
        synthetic_pair(rows=7, columns=11, factor=3),
        synthetic_pair(rows=7, columns=11, factor=3, seed=1),
    )
    for name in ("coarse", "fine", "statics"):
        assert getattr(pair, name).identical(getattr(again, name))
    for name in (WIND, RAIN):
        assert not np.allclose(pair.fine[name], other.fine[name])


def test_coarse_fields_are_block_means(pair):
    area = pair.fine_grid.area[:, :1].reshape(7, 3, 1, 1)
    for name in (WIND, RAIN):
        blocks = pair.fine[name].values.astype(np.float64).reshape(48, 7, 3, 11, 3)
        mean = (blocks * area).sum(axis=(2, 4)) / (3 * area.sum(axis=1)[..., 0])
        np.testing.assert_allclose(pair.coarse[name], mean, rtol=1e-5, atol=1e-5)


def test_values_are_plausible_and_in_the_units_of_the_vocabulary(pair):
    for ds in (pair.coarse, pair.fine, pair.statics):
        for name, field in ds.data_vars.items():
            check_values(str(name), field.values)
            assert field.dtype == np.float32
    units = [pair.fine[WIND].attrs["units"], pair.fine[RAIN].attrs["units"]]
    assert units == ["m s-1", "mm"]


def test_the_terrain_tells_of_the_fine_structure(pair):
    # the wind within a coarse cell is weaker where the terrain is higher
    wind = np.abs(pair.fine[WIND].values).mean(axis=0)
    height = pair.statics["orography"].values
    inside = [
        field - field.reshape(7, 3, 11, 3).mean(axis=(1, 3)).repeat(3, 0).repeat(3, 1)
        for field in (wind, height)
    ]
    assert np.corrcoef(inside[0][3:-3].ravel(), inside[1][3:-3].ravel())[0, 1] < -0.3
