"""Windows: rows and columns of a field, coordinates, and the part of each that counts."""

import pytest
import torch

from orbitds.crops import Crops
from orbitds.tiles import TileGrid
from orbitds.windows import Tile, Windows, offset

KINDS = [
    TileGrid(9, 14, 3, 2, 2, periodic=True),
    TileGrid(9, 14, 2, 3, 1),
    Crops(9, 14, (6, 8), 1, periodic=True, step_cells=2),
    Crops(9, 14, (4, 6), 1),
]


@pytest.mark.parametrize("windows", KINDS)
def test_windows_lie_at_crossings_of_places(windows: Windows):
    down, across = windows.places
    assert len(windows.tiles) == down * across
    for place, tile in enumerate(windows.tiles):
        row, column = divmod(place, across)
        assert tile.rows == windows.tiles[row * across].rows
        assert tile.columns == windows.tiles[column].columns
        assert (len(tile.rows), len(tile.columns)) == windows.window


@pytest.mark.parametrize("windows", KINDS)
@pytest.mark.parametrize("factor", [1, 3])
def test_a_window_is_cut_by_hand(windows: Windows, factor):
    field = torch.rand(2, 9 * factor, 14 * factor, dtype=torch.float64)
    for tile in (windows.tiles[0], windows.tiles[len(windows.tiles) - 1]):
        rows = [row * factor + part for row in tile.rows for part in range(factor)]
        columns = [
            (column * factor + part) % (14 * factor)
            for column in tile.columns
            for part in range(factor)
        ]
        assert torch.equal(windows.cut(field, tile, factor), field[:, rows][:, :, columns])
        inside = torch.tensor(
            [
                [float(row in tile.core_rows and column in tile.core_columns) for column in columns]
                for row, columns in ((row, tile.columns) for row in tile.rows)
            ]
        )
        blocks = inside.repeat_interleave(factor, 0).repeat_interleave(factor, 1)
        assert torch.equal(windows.core_mask(tile, factor), blocks)


def test_longitudes_rise_where_a_window_wraps():
    windows = Crops(4, 6, (4, 4), periodic=True)
    longitude = torch.arange(6) * 60.0
    tile = Tile(range(4), range(-2, 2), range(4), range(-1, 1))
    assert windows.longitude(longitude, tile).tolist() == [-120, -60, 0, 60]
    tile = Tile(range(4), range(4, 8), range(4), range(5, 7))
    assert windows.longitude(longitude, tile).tolist() == [240, 300, 360, 420]
    assert offset(tile.columns, tile.core_columns) == 1


def test_a_window_of_the_whole_circle_wraps():
    assert Crops(4, 6, (4, 6), periodic=True).wraps
    assert not Crops(4, 6, (4, 5), periodic=True).wraps
    assert not Crops(4, 6, (4, 6)).wraps
