"""The checkpoint that ships: it is whole, says what it saw, and is worth having."""

import numpy as np
import pytest
import xarray as xr

from orbitds.checkpoint import load_checkpoint
from orbitds.data.pair import open_pair
from orbitds.description import WEIGHTS, find_checkpoint, known_checkpoints
from orbitds.grid import Grid
from orbitds.infer.choice import part_for, whole_at
from orbitds.infer.downscaler import Downscaler

NAME = "foundation"
TEMPERATURE = "2m_temperature"
SETS = {
    "nclimgrid_us_five_4x",
    "nclimgrid_us_five_8x",
    "imerg_to_chirps_java_2x",
    "chirps_java_4x",
    "wfde5_europe_4x",
    "ewembi_germany_3x",
    "terraclimate_bali_4x",
    "navy_winds_10deg_to_2p5deg",
}


@pytest.fixture(scope="module")
def foundation():
    return load_checkpoint(NAME)


@pytest.fixture
def coarse():
    """A field of 16 km over the Sahara, where the checkpoint was not trained."""
    latitude, longitude = 27 - np.arange(14) / 6, 5 + np.arange(11) / 6
    values = np.random.default_rng(0).normal(300, 3, (1, 14, 11)).astype(np.float32)
    return xr.Dataset(
        {TEMPERATURE: (("time", "latitude", "longitude"), values, {"units": "K"})},
        {"time": [np.datetime64("2020-01-01", "ns")], "latitude": latitude, "longitude": longitude},
    )


def test_it_ships_whole_by_its_name(foundation):
    folder = find_checkpoint(NAME)
    assert known_checkpoints()[NAME] == folder
    assert (folder / "MODEL_CARD.md").is_file()
    assert (folder / WEIGHTS).stat().st_size < 15e6
    assert {one.pair for one in foundation.description.sets} == SETS
    assert foundation.region is None, "climatologies are not shipped"


def test_its_card_says_first_where_it_fails():
    card = (find_checkpoint(NAME) / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "never seen" in card.partition("\n## ")[0]


def test_no_time_of_a_test_was_seen(foundation):
    periods = {one.pair: one.period for one in foundation.description.sets}
    # the only test data that ship
    assert periods["navy_winds_10deg_to_2p5deg"][1] < "1991"
    assert all("1895-02" not in str(period) for period in periods.values())


def test_it_is_better_than_delta_change_on_winds_that_it_has_not_seen(foundation):
    test = open_pair("navy_winds_10deg_to_2p5deg").part("test")
    fine = test.coarse.isel(time=slice(0, 24, 6)).load().orbit.downscale(NAME)
    truth = test.fine.isel(time=slice(0, 24, 6)).load()
    weights = np.broadcast_to(test.fine_grid.area, truth["eastward_wind"].shape)
    errors = {
        name: float(np.sqrt(np.average((fine[name] - truth[name]) ** 2, weights=weights)))
        for name in ("eastward_wind", "northward_wind")
    }
    # delta change has 0.830 and 0.753 over all months of the test, eval/results/tasks.md
    assert errors["eastward_wind"] < 0.75
    assert errors["northward_wind"] < 0.68


def test_outside_its_regions_half_of_what_it_adds_counts(coarse, monkeypatch):
    fields = {}
    for share in (0.0, 0.5, 1.0):
        monkeypatch.setattr("orbitds.infer.windows.SHARE_OUTSIDE", share)
        with pytest.warns(UserWarning, match="half of what it adds to interpolation counts"):
            fields[share] = coarse.orbit.downscale(NAME, factor=4)[TEMPERATURE].values
    np.testing.assert_allclose(fields[0.5], (fields[0.0] + fields[1.0]) / 2, atol=1e-3)
    assert np.abs(fields[1.0] - fields[0.0]).max() > 0.05


def test_large_fields_are_cut_as_in_training(foundation, coarse):
    grid = Grid(49 - np.arange(149) / 6, -125 + np.arange(346) / 6)
    part = whole_at(foundation, 4)
    assert foundation.description.window_cells == (32, 32)
    for asked, got in ((None, (7, 15)), ("auto", (7, 15)), ((1, 1), (1, 1))):
        tiles = Downscaler(part, tiles=asked).tiles_for(grid)
        assert (tiles.rows, tiles.columns) == got
    small = Downscaler(part_for(foundation, coarse, 4)).tiles_for(Grid.of(coarse))
    assert (small.rows, small.columns) == (1, 1)
