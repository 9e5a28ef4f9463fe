"""Samples: tiles of a time step against direct slicing, weights, gaps, climatology."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from orbitds.data.climatology import Climatology
from orbitds.data.pair import stack
from orbitds.data.sample import Samples
from orbitds.normalize import Normalizer
from orbitds.tiles import TileGrid
from orbitds.variables import variable

WIND, RAIN = "eastward_wind", "total_precipitation_24hr"
# rows, columns and halo of tiles for 7 x 11 coarse cells: one, uneven cores, wrapping windows
TILES = [(1, 1, 0), (1, 1, 3), (2, 3, 1), (3, 2, 2), (7, 11, 1), (2, 5, 4)]


@pytest.fixture(scope="module", params=["globe", "region"])
def train(pair, request):
    """The training years of the globe, or of 5 x 8 cells of it."""
    part = pair.part("train")
    if request.param == "globe":
        return part
    coarse = {"latitude": slice(1, 6), "longitude": slice(2, 10)}
    fine = {"latitude": slice(3, 18), "longitude": slice(6, 30)}
    return replace(
        part,
        coarse=part.coarse.isel(coarse),
        fine=part.fine.isel(fine),
        statics=part.statics.isel(fine),
    )


def tile_grid(pair, rows=2, columns=3, halo_cells=1):
    shape = pair.coarse_grid.shape
    rows, columns = min(rows, shape[0]), min(columns, shape[1])
    return TileGrid(*shape, rows, columns, halo_cells, pair.coarse_grid.periodic)


def window(field, rows, columns, factor):
    """Cells of [..., Hf, Wf] under coarse rows and columns, one by one, wrapped at the border."""
    width = field.shape[-1]
    rows = [row * factor + child for row in rows for child in range(factor)]
    columns = [(column * factor + child) % width for column in columns for child in range(factor)]
    return field[..., rows, :][..., columns]


def holed(pair, *, missing):
    """The pair with a gap in the fine wind at the eastern border."""
    fine = pair.fine.copy(deep=True).assign_attrs(missing=missing)
    fine[WIND][:, 2:6, -2:] = np.nan
    return replace(pair, fine=fine)


@pytest.mark.parametrize("tiles", TILES)
def test_tiles_are_the_cells_of_the_field(train, statistics, tiles):
    grid = tile_grid(train, *tiles)
    samples = Samples(train, statistics, grid)
    assert len(samples) == 24 * len(grid.tiles)
    coarse, fine = (
        Normalizer(names, statistics)(torch.tensor(stack(ds, names).values)).numpy()
        for ds, names in ((train.coarse, train.inputs), (train.fine, train.outputs))
    )
    orography = train.statics["orography"].values
    row = statistics["orography"]
    for step in (0, 17):
        for place, tile in enumerate(grid.tiles):
            sample = samples[step * len(grid.tiles) + place]
            rows, columns = list(tile.rows), list(tile.columns)
            np.testing.assert_array_equal(sample.coarse, window(coarse[step], rows, columns, 1))
            np.testing.assert_array_equal(sample.fine, window(fine[step], rows, columns, 3))
            expected = (window(orography, rows, columns, 3) - row.mean) / row.std
            np.testing.assert_allclose(sample.statics[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tiles", TILES)
def test_coordinates_rise_also_where_a_window_wraps(train, statistics, tiles):
    grid = tile_grid(train, *tiles)
    samples = Samples(train, statistics, grid)
    latitude, longitude = train.coarse["latitude"].values, train.coarse["longitude"].values
    for place, tile in enumerate(grid.tiles):
        sample = samples[place]
        expected = longitude[0] + np.asarray(tile.columns) * (longitude[1] - longitude[0])
        np.testing.assert_allclose(sample.longitude_deg, expected, rtol=1e-6)
        np.testing.assert_allclose(sample.latitude_deg, latitude[list(tile.rows)], rtol=1e-6)
        spacing = (latitude[0] - latitude[1]) * 6371.0 * np.pi / 180
        np.testing.assert_allclose(sample.spacing_km, [spacing, spacing / 3], rtol=1e-6)


@pytest.mark.parametrize("tiles", TILES)
def test_tiles_together_weigh_each_cell_once(train, statistics, tiles):
    grid = tile_grid(train, *tiles)
    samples = Samples(train, statistics, grid)
    latitude = train.fine["latitude"].values
    half = (latitude[0] - latitude[1]) / 2
    area = np.sin(np.deg2rad(latitude + half)) - np.sin(np.deg2rad(latitude - half))
    expected = np.repeat((area / area.mean())[:, None], train.fine.sizes["longitude"], axis=1)
    total = np.zeros((2, *expected.shape))
    for place, tile in enumerate(grid.tiles):
        rows, columns = (
            (np.asarray(coarse)[:, None] * 3 + np.arange(3)).ravel()
            for coarse in (tile.rows, tile.columns)
        )
        columns %= expected.shape[1]
        total[:, rows[:, None], columns] += samples[place].weight.numpy()
    np.testing.assert_allclose(total, np.stack([expected, expected]), rtol=1e-6)


def test_a_variable_weighs_by_its_row(train, statistics):
    rename = {WIND: "2m_temperature_max"}
    warm = (train.fine + 280).drop_attrs()
    warm = replace(train, fine=warm.rename(rename)[["2m_temperature_max"]])
    rows = {**statistics, "2m_temperature_max": statistics[WIND]}
    plain, heavy = (Samples(p, rows, tile_grid(train))[1].weight[0] for p in (train, warm))
    weight = variable("2m_temperature_max").loss_weight
    assert weight == 10
    np.testing.assert_allclose(heavy, weight * plain, rtol=1e-6)


def test_a_pair_without_statics_has_none(train, statistics):
    bare = replace(train, statics=train.statics[[]])
    sample = Samples(bare, statistics, tile_grid(train))[0]
    assert sample.statics.shape == (0, *sample.fine.shape[1:])


# --- climatology --------------------------------------------------------------------------------


@pytest.mark.parametrize("own_time_out", [True, False])
def test_climatology_is_that_of_the_month_and_leaves_the_own_time_out(
    train, statistics, own_time_out
):
    grid = tile_grid(train)
    climatology = Climatology.of(train)
    samples = Samples(train, statistics, grid, climatology=climatology, own_time_out=own_time_out)
    other = {2001: 2002, 2002: 2001}
    for step in (0, 5, 20):
        date = train.fine["time"][step].dt
        same_month = train.fine["time"].dt.month == int(date.month)
        years = train.fine["time"].dt.year
        keep = same_month & (years == other[int(date.year)]) if own_time_out else same_month
        sample = samples[step * len(grid.tiles) + 1]
        tile = grid.tiles[1]
        for ds, factor, got in (
            (train.fine, 3, sample.fine_climatology),
            (train.coarse, 1, sample.coarse_climatology),
        ):
            mean = stack(ds, train.outputs, np.float64).isel(time=keep.values).mean("time").values
            normalized = Normalizer(train.outputs, statistics)(torch.tensor(mean)).numpy()
            expected = window(normalized, list(tile.rows), list(tile.columns), factor)
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_no_climatology_is_empty(train, statistics):
    sample = Samples(train, statistics, tile_grid(train))[0]
    assert sample.fine_climatology.numel() == sample.coarse_climatology.numel() == 0


def test_the_own_target_leaves_no_trace_in_its_climatology(pair, statistics):
    train = pair.part("train")
    later = train.fine["time"].dt.year < 2002
    changed = replace(train, fine=train.fine.where(later, 7.0))
    step = 18  # July 2002
    fields = [
        Samples(
            p, statistics, tile_grid(p), climatology=Climatology.of(p), own_time_out=True
        ).climatology_of(step)[0]
        for p in (train, changed)
    ]
    np.testing.assert_allclose(*fields, atol=1e-13)


# --- gaps and mistakes --------------------------------------------------------------------------


def test_a_masked_target_weighs_nothing_and_is_finite(train, statistics):
    grid = tile_grid(train, 1, 1, 0)
    masked = holed(train, missing="mask")
    climatology = Climatology.of(masked)
    got = Samples(masked, statistics, grid, climatology=climatology)[3]
    whole = Samples(train, statistics, grid)[3]
    gap = np.zeros(got.fine.shape, dtype=bool)
    gap[0, 2:6, -2:] = True
    assert (got.weight.numpy()[gap] == 0).all()
    np.testing.assert_array_equal(got.weight[~gap], whole.weight[~gap])
    np.testing.assert_array_equal(got.fine[~gap], whole.fine[~gap])
    for tensor in got:
        assert tensor.isfinite().all()


def test_a_gap_that_is_not_declared_is_an_error(train, statistics):
    grid = tile_grid(train, 1, 1, 0)
    with pytest.raises(ValueError, match=r"eastward_wind without missing.*NaN in 8 of.*missing: m"):
        Samples(holed(train, missing="error"), statistics, grid)[0]


def test_a_gap_in_the_input_that_is_not_declared_is_an_error(train, statistics):
    coarse = train.coarse.copy(deep=True)
    coarse[RAIN][1, 0, 0] = np.nan
    samples = Samples(replace(train, coarse=coarse), statistics, tile_grid(train, 1, 1, 0))
    assert samples[0].coarse.isfinite().all()
    with pytest.raises(ValueError, match=r"total_precipitation_24hr without missing values"):
        samples[1]


@pytest.mark.parametrize("value", [np.nan, 12000.0])
def test_a_bad_static_field_is_refused_at_once(train, statistics, value):
    statics = train.statics.copy(deep=True)
    statics["orography"][0, 1] = value
    with pytest.raises(ValueError, match="orography"):
        Samples(replace(train, statics=statics), statistics, tile_grid(train))


def test_implausible_values_are_refused(train, statistics):
    fine = train.fine.copy(deep=True)
    fine[WIND][0, 0, 0] = 1e20  # an undecoded fill value
    samples = Samples(replace(train, fine=fine), statistics, tile_grid(train, 1, 1, 0))
    with pytest.raises(ValueError, match=r"eastward_wind between -120 and 120 m s-1.*fill values"):
        samples[0]


# --- storage ------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [False, True])
def test_lazy_data_give_the_same_samples(train, statistics, held):
    grid = tile_grid(train)
    eager = Samples(train, statistics, grid)
    chunks = {"time": 5, "latitude": 2, "longitude": -1}
    pair = replace(train, coarse=train.coarse.chunk(chunks), fine=train.fine.chunk(chunks))
    lazy = Samples(pair.held() if held else pair, statistics, grid)
    for index in (0, 7, len(lazy) - 1):
        for got, expected in zip(lazy[index], eager[index], strict=True):
            np.testing.assert_array_equal(got, expected)
