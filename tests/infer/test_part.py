"""Parts of a field: what must be read, and that a part is what it is in the whole, to the bit."""

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from orbitds.checkpoint import load_checkpoint, save_checkpoint
from orbitds.config import ModelConfig
from orbitds.data.climatology import Climatology
from orbitds.data.door import enter
from orbitds.data.pair import stack
from orbitds.data.stats import statistics as statistics_of
from orbitds.data.synthetic import synthetic_pair
from orbitds.grid import Grid
from orbitds.infer.downscaler import Downscaler
from orbitds.infer.part import Frame, Part
from orbitds.infer.windows import Windows
from orbitds.model.reslim import Reslim
from orbitds.region import Region
from orbitds.tiles import TileGrid
from tests.conftest import untrained_for
from tests.infer.plain import plain

WIND, RAIN = "eastward_wind", "total_precipitation_24hr"
FACTOR = 2
SHAPE = 29, 43
# At both poles, at both sides of the first column, one cell, whole bands of rows and of columns.
PARTS = [
    Part(range(4), range(5)),
    Part(range(22, 29), range(38, 43)),
    Part(range(13, 14), range(20, 21)),
    Part(range(9, 20), range(43)),
    Part(range(29), range(13, 17)),
]


# --- frames ---


@st.composite
def frames(draw):
    """Any part of any small field, cut anyhow, with any rim."""
    height, width = draw(st.integers(1, 13)), draw(st.integers(1, 17))
    tiles = TileGrid(
        height,
        width,
        rows=draw(st.integers(1, min(height, 5))),
        columns=draw(st.integers(1, min(width, 5))),
        halo_cells=draw(st.integers(0, 4)),
        periodic=draw(st.booleans()),
        margin_cells=draw(st.integers(0, 3)),
        align_cells=draw(st.integers(1, 3)),
    )
    north, west = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    part = Part(
        range(north, draw(st.integers(north + 1, height))),
        range(west, draw(st.integers(west + 1, width))),
    )
    return Frame(tiles, part, draw(st.integers(0, 3)), draw(st.integers(0, 3)))


@settings(max_examples=100, deadline=None)
@given(frame=frames())
def test_a_frame_is_covered_by_shares_of_the_tiles_that_reach_in(frame):
    """Every cell of the frame has the sum of its shares, each from its own place in the field."""
    tiles, width = frame.tiles, frame.tiles.width
    total, place = np.zeros(frame.shape), np.full(frame.shape, -1)
    cells = np.arange(tiles.height * width).reshape(tiles.height, width)
    for index, places in frame.reaching.items():
        tile = tiles.tiles[index]
        rows, columns = (share.numpy() for share in tiles.shares(tile))
        window = tiles.cut(torch.tensor(cells), tile).numpy()
        for at in places:
            share = np.outer(rows[at.window_rows], columns[at.window_columns])
            assert (share > 0).all()
            total[at.rows, at.columns] += share
            place[at.rows, at.columns] = window[at.window_rows, at.window_columns]
    np.testing.assert_allclose(total, 1, rtol=1e-12)
    columns = np.arange(frame.columns.start, frame.columns.stop) % width
    np.testing.assert_array_equal(place, cells[frame.rows.start : frame.rows.stop][:, columns])
    rows, columns = frame.part_in_frame
    part = frame.part
    np.testing.assert_array_equal(
        place[rows, columns],
        cells[part.rows.start : part.rows.stop, part.columns.start : part.columns.stop],
    )


@settings(max_examples=100, deadline=None)
@given(frame=frames())
def test_what_is_read_holds_the_windows_in_order(frame):
    rows, columns = frame.window
    assert len(set(columns.tolist())) == columns.size
    assert (np.diff(columns) % frame.tiles.width == 1).all() or columns.size == 1
    field = torch.arange(frame.tiles.height * frame.tiles.width)
    field = field.reshape(frame.tiles.height, frame.tiles.width)
    read = field[rows.start : rows.stop, columns]
    for index in frame.reaching:
        tile = frame.tiles.tiles[index]
        at_rows, at_columns = frame.in_window(tile.rows, tile.columns)
        assert torch.equal(read[at_rows, at_columns], frame.tiles.cut(field, tile))


def test_a_band_reads_no_more_than_the_windows_around_it():
    tiles = TileGrid(64, 128, 8, 1, 6, periodic=True, margin_cells=2, align_cells=2)
    frame = Frame(tiles, Part(range(24, 32), range(128)), after=1)
    assert list(frame.reaching) == [2, 3, 4]
    rows, columns = frame.window
    assert (rows.start, rows.stop) == (10, 48)
    np.testing.assert_array_equal(columns, np.arange(128))
    part = Frame(TileGrid(64, 128, 8, 8, 6, periodic=True), Part(range(8), range(8)))
    assert part.window[1].tolist() == [*range(106, 128), *range(22)]


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(range(3, 3), range(2)), (range(8), range(2)), (range(2), range(-1, 2)),
     (range(0, 4, 2), range(2))],
)  # fmt: skip
def test_what_is_no_part_is_refused(rows, columns):
    with pytest.raises(ValueError, match=r"Wanted a part within 7 x 11 coarse cells.*got range"):
        Part(rows, columns).check((7, 11))


# --- the downscaler's parts ---


def cells_of(coarse, window):
    rows, columns = window
    return coarse.isel(latitude=slice(rows.start, rows.stop), longitude=columns)


def crop(fine, part):
    rows, columns = (slice(k.start * FACTOR, k.stop * FACTOR) for k in (part.rows, part.columns))
    return fine.isel(latitude=rows, longitude=columns)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint whose windows are smaller than its field: with statics and climatology."""
    pair = synthetic_pair(rows=SHAPE[0], columns=SHAPE[1], factor=FACTOR)
    fine, coarse = Climatology.of(pair.part("train")).means()
    place = tmp_path_factory.mktemp("checkpoints") / "large"
    save_checkpoint(
        place,
        untrained_for(pair),
        statistics=statistics_of(pair.part("train")),
        spacing_km=(pair.coarse_grid.spacing_km, pair.fine_grid.spacing_km),
        provenance={},
        region=Region(pair.fine_grid, stack(pair.statics, pair.static_names).values, fine, coarse),
        same_product=True,
    )
    pair.part("test").coarse.isel(time=slice(0, 3)).to_netcdf(place / "coarse.nc")
    return place


@pytest.fixture(scope="module")
def entered(folder):
    """The canonical input of three months; not to be changed."""
    with xr.open_dataset(folder / "coarse.nc") as ds:
        return enter(ds.load(), load_checkpoint(folder).inputs, missing="mask").ds


def with_gaps(coarse):
    """A coast in the corner of some tiles, no rain at all in a month, and none in a place."""
    coarse = coarse.copy(deep=True)
    coarse[WIND][:, :12, 30:] = np.nan
    coarse[WIND][1, 25, 2] = np.nan
    coarse[RAIN][2] = np.nan
    return coarse


def dry(coarse):
    coarse = coarse.copy(deep=True)
    coarse[RAIN][:, 8:16, 12:24] = 0.0
    coarse[RAIN][:, 13, 20] = 40.0  # the part of one cell; its fine cells take a shape from others
    return coarse


@pytest.mark.parametrize("region", ["globe", "region"])
@pytest.mark.parametrize(
    ("tiles", "options"),
    [
        (None, {"missing": "mask"}),
        ((3, 4), {"missing": "mask"}),
        ((3, 4), {"constraints": ("conserve",)}),
        ((5, 6), {"constraints": ("order", "conserve"), "missing": "mask", "variables": [RAIN]}),
        ((1, 5), {}),
    ],
    ids=["untiled", "mask", "conserve", "all", "columns"],
)
def test_a_part_is_what_it_is_in_the_whole(entered, folder, tiles, region, options):
    field = with_gaps(dry(entered)) if "missing" in options else dry(entered)
    if region == "region":
        field = field.isel(latitude=slice(0, 28), longitude=slice(0, 42))
    downscaler = Downscaler(folder, tiles=tiles, batch_size=1, **options)
    grid = Grid.of(field)
    assert grid.periodic == (region == "globe")
    whole = downscaler(field)
    empty = np.array([False, False, True]) if "missing" in options else None
    smaller = 0
    for part in PARTS:
        rows, columns = (
            range(k.start, min(k.stop, n))
            for k, n in zip((part.rows, part.columns), grid.shape, strict=True)
        )
        part = Part(rows, columns)
        window = downscaler.window_of(grid, part)
        smaller += len(window[0]) < grid.shape[0] or window[1].size < grid.shape[1]
        fine = downscaler.compute(cells_of(field, window), grid, part, empty_times=empty)
        wanted = crop(whole, part)
        for name in wanted.data_vars:  # what is masked is counted in each part
            wanted[name].attrs.pop("orbitds_masked_cells", None)
            fine[name].attrs.pop("orbitds_masked_cells", None)
        xr.testing.assert_identical(fine, wanted)
    assert smaller >= (0 if tiles is None else 2), "parts are read in part"


@pytest.mark.parametrize("constraints", [(), ("conserve",)])
@pytest.mark.parametrize("tiles", [(1, 1), (3, 4)])
def test_the_whole_is_what_plain_words_say(entered, folder, tiles, constraints):
    field = with_gaps(dry(entered)).isel(time=slice(0, 2))
    downscaler = Downscaler(folder, tiles=tiles, constraints=constraints, missing="mask")
    fine = downscaler(field)
    cut = downscaler.tiles_for(Grid.of(field))
    told = plain(field, downscaler.checkpoint, cut, constraints)
    for name in (WIND, RAIN):
        gaps = np.isnan(fine[name].values)
        coarse_gaps = np.isnan(field[name].values)
        np.testing.assert_array_equal(gaps, coarse_gaps.repeat(FACTOR, 1).repeat(FACTOR, 2))
        np.testing.assert_allclose(
            fine[name].values[~gaps], told[name][~gaps], rtol=1e-4, atol=1e-4
        )


def test_only_tiles_that_reach_in_are_run(entered, folder, monkeypatch):
    ran, run = [], Windows.run

    def noted(windows, *given):
        for said in run(windows, *given):
            ran.append(said[0].index)
            yield said

    monkeypatch.setattr(Windows, "run", noted)
    downscaler = Downscaler(folder, tiles=(29, 1))
    grid, part = Grid.of(entered), Part(range(10, 11), range(43))
    downscaler.compute(cells_of(entered, downscaler.window_of(grid, part)), grid, part)
    # cores of one row, tapers of four, and the row behind, where the part looks for seams
    assert set(ran) == set(range(6, 16))


def test_cells_of_another_window_are_refused(entered, folder):
    downscaler = Downscaler(folder, tiles=(3, 4))
    grid, part = Grid.of(entered), Part(range(1), range(1))
    rows, columns = downscaler.window_of(grid, part)
    told = f"Wanted {len(rows)} x {columns.size} coarse cells around.*got 29 x 43.*window_of"
    with pytest.raises(ValueError, match=told):
        downscaler.compute(entered, grid, part)


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("tiles", [None, (2, 3)])
def test_a_time_does_not_depend_on_the_others(entered, folder, tiles, batch_size):
    """To the bit where a batch is one window; a product may round by the place in a batch."""
    downscaler = Downscaler(folder, tiles=tiles, batch_size=batch_size)
    whole = downscaler(entered)
    for times in ([0], [2, 0], [0, 2, 1]):
        some, wanted = downscaler(entered.isel(time=times)), whole.isel(time=times)
        if batch_size == 1:
            xr.testing.assert_identical(some, wanted)
        xr.testing.assert_allclose(some, wanted, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def placeless(tmp_path_factory, folder):
    """A model of patches of one cell, which knows no place: any column may be the first one."""
    place = tmp_path_factory.mktemp("checkpoints") / "placeless"
    known = load_checkpoint(folder)
    config = ModelConfig(
        width=16, depth=1, decoder_depth=1, patch=1, correction_width=4, correction_depth=1,
        position_octaves=2,
    )  # fmt: skip
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        names = known.outputs
        model = Reslim(config, inputs=known.inputs, outputs=names, statics=(), factor=FACTOR)
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
        model.trunk.position.project.weight.zero_()
    description = known.description
    save_checkpoint(
        place,
        model,
        statistics=description.statistics,
        spacing_km=description.spacing_km,
        provenance={},
    )
    return place


@pytest.mark.parametrize("tiles", [(1, 1), (3, 1), (1, 43)])
def test_rolling_the_globe_rolls_the_answer(entered, placeless, tiles):
    """With a tile for each column any roll moves tiles onto tiles."""
    entered = entered.isel(time=[0])
    downscaler = Downscaler(placeless, tiles=tiles)
    assert downscaler.tiles_for(Grid.of(entered)).wraps == (tiles[1] == 1)
    fine = downscaler(entered)
    for columns in (1, 20):
        rolled = entered.copy(data={n: np.roll(f, columns, -1) for n, f in entered.items()})
        again = downscaler(rolled)
        for name in fine.data_vars:
            wanted = np.roll(fine[name].values, columns * FACTOR, -1)
            np.testing.assert_allclose(again[name], wanted, rtol=1e-4, atol=1e-4)
