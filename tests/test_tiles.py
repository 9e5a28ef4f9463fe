"""TILES: cores cover the field once, windows have one shape, cutting and joining change nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from torch.testing import assert_close

from orbitds.tiles import Tile, TileGrid


@st.composite
def tile_grids(draw):
    """Any cut of any small field, tiles uneven more often than not."""
    height, width = draw(st.integers(1, 13)), draw(st.integers(1, 17))
    return TileGrid(
        height,
        width,
        rows=draw(st.integers(1, min(height, 5))),
        columns=draw(st.integers(1, min(width, 5))),
        halo_cells=draw(st.integers(0, 4) | st.tuples(st.integers(0, 4), st.integers(0, 4))),
        periodic=draw(st.booleans()),
        margin_cells=draw(st.integers(0, 3)),
        align_cells=draw(st.integers(1, 3)),
    )


def field_of(grid, factor=1, channels=2, seed=0):
    shape = (channels, grid.height * factor, grid.width * factor)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def place(total, grid, tile, window, factor):
    """Add a window to the field at its place, in plain numpy."""
    rows = np.arange(tile.rows.start * factor, tile.rows.stop * factor)
    columns = np.arange(tile.columns.start * factor, tile.columns.stop * factor)
    total[np.ix_(rows, columns % (grid.width * factor))] += np.asarray(window)


# --- invariants ---


@settings(max_examples=60, deadline=None)
@given(grid=tile_grids())
def test_cores_cover_the_field_exactly_once(grid):
    count = np.zeros((grid.height, grid.width), dtype=int)
    for tile in grid.tiles:
        count[
            tile.core_rows.start : tile.core_rows.stop,
            tile.core_columns.start : tile.core_columns.stop,
        ] += 1
    assert (count == 1).all()
    assert len(grid.tiles) == grid.rows * grid.columns


@settings(max_examples=60, deadline=None)
@given(grid=tile_grids())
def test_cores_are_as_even_as_can_be(grid):
    for edges in ("core_rows", "core_columns"):
        lengths = {len(getattr(tile, edges)) for tile in grid.tiles}
        assert max(lengths) - min(lengths) <= 1
        assert min(lengths) >= 1


@settings(max_examples=60, deadline=None)
@given(grid=tile_grids())
def test_all_windows_have_one_shape_inside_the_field(grid):
    for tile in grid.tiles:
        assert (len(tile.rows), len(tile.columns)) == grid.window
        assert tile.rows.start >= 0
        assert tile.rows.stop <= grid.height
        assert len(tile.columns) <= grid.width, "no cell stands twice in a window"
        if not grid.periodic:
            assert tile.columns.start >= 0
            assert tile.columns.stop <= grid.width


@settings(max_examples=60, deadline=None)
@given(grid=tile_grids())
def test_the_halo_surrounds_the_core_up_to_the_border(grid):
    rows, halo = grid.halo
    for tile in grid.tiles:
        assert tile.core_rows.start - tile.rows.start >= min(rows, tile.core_rows.start)
        assert tile.rows.stop - tile.core_rows.stop >= min(rows, grid.height - tile.core_rows.stop)
        west, east = tile.core_columns.start, grid.width - tile.core_columns.stop
        if grid.periodic and not grid.wraps:
            west = east = halo
        assert tile.core_columns.start - tile.columns.start >= min(halo, west)
        assert tile.columns.stop - tile.core_columns.stop >= min(halo, east)


@settings(max_examples=60, deadline=None)
@given(grid=tile_grids())
def test_patches_of_a_window_are_patches_of_the_field(grid):
    for tile in grid.tiles:
        assert tile.rows.start % grid.align_cells == 0
        assert tile.columns.start % grid.align_cells == 0
        if grid.periodic and not grid.wraps:
            assert len(tile.columns) % grid.align_cells == 0


@settings(max_examples=60, deadline=None)
@given(grid=tile_grids())
def test_windows_are_no_larger_than_core_halo_and_alignment_need(grid):
    rows, columns = (2 * halo + 2 * (grid.align_cells - 1) for halo in grid.halo)
    assert grid.window[0] <= -(-grid.height // grid.rows) + rows
    assert grid.window[1] <= -(-grid.width // grid.columns) + columns


@settings(max_examples=60, deadline=None)
@given(grid=tile_grids(), factor=st.integers(1, 3))
def test_cut_is_a_window_of_the_wrapped_field(grid, factor):
    field = field_of(grid, factor)
    wrapped = np.concatenate([field.numpy()] * 3, axis=-1)
    shift = grid.width * factor
    for tile in grid.tiles:
        window = grid.cut(field, tile, factor)
        start, stop = tile.columns.start * factor + shift, tile.columns.stop * factor + shift
        rows = slice(tile.rows.start * factor, tile.rows.stop * factor)
        np.testing.assert_array_equal(window, wrapped[:, rows, start:stop])


@settings(max_examples=40, deadline=None)
@given(grid=tile_grids(), factor=st.integers(1, 3))
def test_fine_and_coarse_windows_lie_over_each_other(grid, factor):
    coarse = field_of(grid)
    fine = coarse.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    for tile in grid.tiles:
        window = grid.cut(coarse, tile)
        expected = window.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
        assert_close(grid.cut(fine, tile, factor), expected, rtol=0, atol=0)


@settings(max_examples=60, deadline=None)
@given(grid=tile_grids(), factor=st.integers(1, 3))
def test_core_masks_count_every_fine_cell_once_at_its_place(grid, factor):
    total = np.zeros((grid.height * factor, grid.width * factor))
    for tile in grid.tiles:
        mask = grid.core_mask(tile, factor)
        assert set(mask.unique().tolist()) <= {0.0, 1.0}
        alone = np.zeros_like(total)
        place(alone, grid, tile, mask, factor)
        core = np.zeros_like(total)
        core[
            tile.core_rows.start * factor : tile.core_rows.stop * factor,
            tile.core_columns.start * factor : tile.core_columns.stop * factor,
        ] = 1
        np.testing.assert_array_equal(alone, core)
        total += alone
    assert (total == 1).all()


@settings(max_examples=60, deadline=None)
@given(grid=tile_grids(), factor=st.integers(1, 3))
def test_blend_inverts_cut(grid, factor):
    field = field_of(grid, factor)
    windows = [grid.cut(field, tile, factor) for tile in grid.tiles]
    assert_close(grid.blend(windows, factor), field, rtol=1e-13, atol=1e-13)


@settings(max_examples=60, deadline=None)
@given(grid=tile_grids(), factor=st.integers(1, 3))
def test_weights_of_a_blend_are_the_tapers_and_sum_to_one(grid, factor):
    ones = [torch.ones(grid.window[0] * factor, grid.window[1] * factor).double()] * len(grid.tiles)
    windows = [k * window for k, window in enumerate(ones)]
    weighted = np.zeros((grid.height * factor, grid.width * factor))
    weights = np.zeros_like(weighted)
    for k, tile in enumerate(grid.tiles):
        taper = grid.taper(tile, factor).double().numpy()
        place(weighted, grid, tile, k * taper, factor)
        place(weights, grid, tile, taper, factor)
    assert (weights >= 1 - 1e-6).all(), "the core has weight one, so there is always a tile"
    np.testing.assert_allclose(grid.blend(windows, factor), weighted / weights, atol=1e-12)
    np.testing.assert_allclose(grid.blend(ones, factor), 1, rtol=1e-14)


@settings(max_examples=60, deadline=None)
@given(grid=tile_grids(), factor=st.integers(1, 3))
def test_taper_is_one_on_the_core_and_falls_without_a_jump(grid, factor):
    spans = [max(halo - grid.margin_cells, 0) for halo in grid.halo]
    steps = [1 / (span * factor) + 1e-6 if span else 1.0 for span in spans]
    for tile in grid.tiles:
        taper = grid.taper(tile, factor)
        core = grid.core_mask(tile, factor) == 1
        assert (taper[core] == 1).all()
        assert (taper[~core] < 1).all()
        assert (taper >= 0).all()
        for axis, step in zip((-2, -1), steps, strict=True):
            assert (taper.diff(dim=axis).abs() <= step).all()


@settings(max_examples=60, deadline=None)
@given(grid=tile_grids(), factor=st.integers(1, 3))
def test_only_cells_that_see_the_margin_around_them_are_blended(grid, factor):
    for tile in grid.tiles:
        weighted, core = grid.taper(tile, factor) > 0, grid.core_mask(tile, factor) > 0
        rows = weighted.any(dim=1) & ~core.any(dim=1)
        columns = weighted.any(dim=0) & ~core.any(dim=0)
        for blended, halo in zip((rows, columns), grid.halo, strict=True):
            assert grid.margin_cells < halo or not blended.any()
        margin = grid.margin_cells * factor
        if tile.rows.start > 0:
            assert not rows[:margin].any()
        if tile.rows.stop < grid.height:
            assert not rows[len(rows) - margin :].any()
        ends = grid.window[1] < grid.width  # else the window is the whole circle
        if ends and (grid.periodic or tile.columns.start > 0):
            assert not columns[:margin].any()
        if ends and (grid.periodic or tile.columns.stop < grid.width):
            assert not columns[len(columns) - margin :].any()


@settings(max_examples=40, deadline=None)
@given(grid=tile_grids(), factor=st.integers(1, 3))
def test_blended_windows_end_without_a_jump(grid, factor):
    # without a margin the weight falls to its last step where the window ends within the field
    grid = replace(grid, margin_cells=0, halo_cells=tuple(max(halo, 1) for halo in grid.halo))
    last = [0.5 / (halo * factor) + 1e-6 for halo in grid.halo]
    ends = grid.window[1] < grid.width
    for tile in grid.tiles:
        taper = grid.taper(tile, factor)
        edges = [
            (tile.rows.start > 0, taper[0], last[0]),
            (tile.rows.stop < grid.height, taper[-1], last[0]),
            (ends and (grid.periodic or tile.columns.start > 0), taper[:, 0], last[1]),
            (ends and (grid.periodic or tile.columns.stop < grid.width), taper[:, -1], last[1]),
        ]
        for is_inside, weights, most in edges:
            assert not is_inside or (weights <= most).all()


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("halo", [3, 5])
def test_what_reaches_no_further_than_the_margin_is_blended_without_a_trace(halo, periodic):
    grid = TileGrid(11, 23, 2, 3, halo, periodic, margin_cells=3)

    def smooth(field, wraps):
        """Mean over 7 x 7 cells: a reach of 3."""
        padded = np.pad(field.numpy(), [(0, 0), (0, 0), (3, 3)], mode="wrap" if wraps else "edge")
        padded = np.pad(padded, [(0, 0), (3, 3), (0, 0)], mode="edge")
        return torch.from_numpy(sliding_window_view(padded, (7, 7), (-2, -1)).mean((-1, -2)))

    field = field_of(grid)
    windows = [smooth(grid.cut(field, tile), grid.wraps) for tile in grid.tiles]
    assert_close(grid.blend(windows), smooth(field, periodic), rtol=1e-12, atol=1e-12)
    # and with a trace where the margin is too small for it
    if halo > 3:
        less = replace(grid, margin_cells=2)
        assert (less.blend(windows) - smooth(field, periodic)).abs().max() > 1e-3


# --- values ---


def test_windows_slide_inward_at_borders_and_wrap_over_the_date_line():
    regional = TileGrid(height=7, width=12, rows=2, columns=3, halo_cells=2)
    assert regional.window == (7, 8)
    assert [tile.core_rows for tile in regional.tiles[::3]] == [range(3), range(3, 7)]
    assert [tile.columns for tile in regional.tiles[:3]] == [range(8), range(2, 10), range(4, 12)]
    assert not regional.wraps
    globe = TileGrid(height=7, width=12, rows=2, columns=3, halo_cells=2, periodic=True)
    assert [tile.columns for tile in globe.tiles[:3]] == [
        range(-2, 6),
        range(2, 10),
        range(6, 14),
    ]
    assert globe.tiles[0] == Tile(range(7), range(-2, 6), range(3), range(4))
    assert globe.index(globe.tiles[2])[1].tolist() == [6, 7, 8, 9, 10, 11, 0, 1]
    assert globe.index(globe.tiles[0], 2)[1].tolist() == [20, 21, 22, 23, *range(12)]
    assert not globe.wraps


@pytest.mark.parametrize(
    ("columns", "halo", "periodic", "wraps"),
    [(1, 0, True, True), (1, 3, True, True), (1, 3, False, False), (2, 3, True, True),
     (2, 2, True, False), (3, 2, True, False)],
)  # fmt: skip
def test_a_window_wraps_where_it_is_the_whole_circle(columns, halo, periodic, wraps):
    assert TileGrid(5, 12, 1, columns, halo, periodic).wraps is wraps


def test_taper_falls_linearly_through_the_middle_of_the_cells():
    grid = TileGrid(height=1, width=12, columns=3, halo_cells=2, periodic=True)
    fall = [0.25, 0.75, 1, 1, 1, 1, 0.75, 0.25]
    assert_close(grid.taper(grid.tiles[0]), torch.tensor([fall]))
    margin = TileGrid(height=1, width=12, columns=3, halo_cells=3, periodic=True, margin_cells=1)
    assert_close(margin.taper(margin.tiles[0]), torch.tensor([[0, *fall, 0]]))
    fine = TileGrid(height=1, width=12, columns=3, halo_cells=1, periodic=True)
    row = [0.25, 0.75, *[1.0] * 8, 0.75, 0.25]
    assert_close(fine.taper(fine.tiles[1], factor=2), torch.tensor([row, row]))


def test_without_a_halo_a_blend_is_a_paste():
    grid = TileGrid(height=5, width=7, rows=2, columns=3)
    windows = [torch.full(grid.window, float(k)) for k in range(6)]
    expected = torch.tensor([[0, 0, 1, 1, 2, 2, 2]] * 2 + [[3, 3, 4, 4, 5, 5, 5]] * 3)
    assert_close(grid.blend(windows), expected.float())


def test_tiles_that_disagree_meet_in_a_ramp_over_the_date_line():
    grid = TileGrid(height=2, width=16, columns=2, halo_cells=2, periodic=True)
    west, east = (torch.full((3, 1, *grid.window), value) for value in (0.0, 1.0))
    blended = grid.blend([west, east])
    assert blended.shape == (3, 1, 2, 16)
    # weights 1 and 0.75 one cell within the core, 1 and 0.25 two cells within
    near, next_ = 0.75 / 1.75, 0.25 / 1.25
    row = [near, next_, 0, 0, 0, 0, next_, near, 1 - near, 1 - next_, 1, 1, 1, 1]
    row += [1 - next_, 1 - near]
    assert_close(blended[1, 0, 0], torch.tensor(row))


def test_blend_keeps_dtype_and_gradients():
    grid = TileGrid(height=4, width=6, columns=2, halo_cells=1)
    windows = [torch.randn(3, *grid.window, requires_grad=True) for _ in grid.tiles]
    blended = grid.blend(windows)
    assert blended.dtype == torch.float32
    gradients = torch.autograd.grad(blended.sum(), windows)
    assert sum(float(gradient.sum()) for gradient in gradients) == pytest.approx(
        3 * 4 * 6, rel=1e-6
    )
    halves = [window.detach().to(torch.bfloat16) for window in windows]
    assert grid.blend(halves).dtype == torch.bfloat16


def test_a_halo_may_be_unlike_along_rows_and_columns():
    grid = TileGrid(height=12, width=24, rows=2, columns=3, halo_cells=(1, 2), periodic=True)
    assert (grid.halo, grid.window) == ((1, 2), (8, 12))
    first, last = grid.tiles[0], grid.tiles[-1]
    assert (first.rows, first.columns) == (range(8), range(-2, 10))
    assert (last.rows, last.columns) == (range(4, 12), range(14, 26))
    assert replace(grid, halo_cells=(2, 2)).tiles == replace(grid, halo_cells=2).tiles


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize(("div", "overlap"), [(1, 0), (2, 2), (4, 2), (4, 4), (8, 2), (2, 6)])
def test_tiles_of_a_published_window(div, overlap, periodic):
    """ORBIT-2 at 0.25 degrees: rows 720/div + o, columns 1440/div + 2 o."""
    window = (720 // div + overlap, 1440 // div + 2 * overlap)
    halo = (overlap // 2, overlap)
    grid = TileGrid.of_window(720, 1440, window, halo, periodic=periodic, margin_cells=2)
    assert (grid.rows, grid.columns, grid.window, grid.halo) == (div, div, window, halo)
    assert (grid.periodic, grid.margin_cells, grid.align_cells) == (periodic, 2, 1)


# --- errors ---


@pytest.mark.parametrize(
    ("height", "width"),
    [(11, 24), (12, 23), (13, 24), (6, 24), (12, 12), (8, 16)],
)
def test_fields_that_a_window_cannot_tile_are_refused(height, width):
    told = rf"windows of 8 x 16 coarse cells around cores of 6 x 12.*got {height} x {width} cells"
    with pytest.raises(ValueError, match=told):
        TileGrid.of_window(height, width, (8, 16), (1, 2), periodic=True)


@pytest.mark.parametrize(("rows", "columns"), [(5, 1), (1, 7), (5, 7)])
def test_more_tiles_than_cells_are_refused(rows, columns):
    message = rf"Wanted at most 4 x 6 tiles.*got {rows} x {columns}\. Ask for fewer"
    with pytest.raises(ValueError, match=message):
        TileGrid(4, 6, rows, columns)


def test_a_blend_wants_one_window_for_each_tile():
    grid = TileGrid(4, 6, 2, 2)
    with pytest.raises(ValueError, match="shorter"):
        grid.blend([torch.zeros(grid.window)] * 3)


def test_longitudes_of_a_window_rise_across_the_seam():
    grid = TileGrid(3, 8, 1, 4, halo_cells=1, periodic=True)
    longitude = torch.arange(8) * 45.0 + 10
    first, *_, last = grid.tiles
    assert grid.longitude(longitude, first).tolist() == [-35, 10, 55, 100]
    assert grid.longitude(longitude, last).tolist() == [235, 280, 325, 370]
