"""A canvas: what is blended window by window equals the blend of all windows at once."""

import pytest
import torch
from hypothesis import given, settings

from orbitds.infer.canvas import Canvas, Shares
from orbitds.infer.part import Frame, Part
from orbitds.tiles import TileGrid
from tests.infer.test_part import frames

CPU = torch.device("cpu")


@settings(max_examples=60, deadline=None)
@given(frame=frames())
def test_windows_add_up_to_the_part_of_their_blend(frame):
    factor, tiles = 2, frame.tiles
    generator = torch.Generator().manual_seed(0)
    shape = (3, 2, tiles.window[0] * factor, tiles.window[1] * factor)
    windows = [torch.randn(shape, generator=generator) for _ in tiles.tiles]
    canvas = Canvas(Shares(frame, factor, CPU), 3, 2, CPU)
    for index in frame.reaching:  # times one after another, as batches bring them
        canvas.add(slice(0, 2), index, windows[index][:2])
        canvas.add(slice(2, 3), index, windows[index][2:])
    whole = tiles.blend(windows, factor)
    columns = torch.arange(frame.columns.start * factor, frame.columns.stop * factor)
    rows = slice(frame.rows.start * factor, frame.rows.stop * factor)
    wanted = whole[..., rows, :][..., columns % (tiles.width * factor)]
    torch.testing.assert_close(canvas.fields, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3)])
def test_where_a_window_is_alone_it_is_put_there_to_the_bit(shape):
    tiles = TileGrid(12, 30, *shape, 2, periodic=True, margin_cells=1)
    frame = Frame(tiles, Part.whole((12, 30)))
    canvas = Canvas(Shares(frame, 2, CPU), 1, 1, CPU)
    windows = [torch.randn(1, 1, *(2 * size for size in tiles.window)) for _ in tiles.tiles]
    for index, window in enumerate(windows):
        canvas.add(slice(0, 1), index, window)
    tile = tiles.tiles[0]
    rows, columns = (2 * (k.stop - k.start) for k in (tile.core_rows, tile.core_columns))
    north = 2 * (tile.core_rows.start - tile.rows.start)
    west = 2 * (tile.core_columns.start - tile.columns.start)
    inside = slice(4, -4)  # out of the reach of the tapers of others
    core = windows[0][..., north : north + rows, west : west + columns][..., inside, inside]
    assert torch.equal(canvas.fields[..., :rows, :columns][..., inside, inside], core)
