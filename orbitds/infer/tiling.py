"""How a field is cut for a model: as the user asks, by size, or as the model alone knows."""

from typing import Literal

from orbitds.grid import Grid
from orbitds.model.interface import DownscalingModel
from orbitds.tiles import TileGrid

Tiles = Literal["auto"] | tuple[int, int] | None

# Coarse cells over which neighbouring tiles are blended, besides the reach of the convolutions.
OVERLAP_CELLS = 4


def check_tiles(tiles: Tiles) -> Tiles:
    """Return the tiles that a user asks for, if they are some.

    Raises
    ------
    ValueError
        If they are none.
    """
    if tiles is None or tiles == "auto":
        return tiles
    if len(tiles) == 2 and all(isinstance(count, int) and count > 0 for count in tiles):
        return tiles
    raise ValueError(
        f"Wanted tiles as 'auto', None or (rows, columns), got {tiles!r}. Try tiles=(2, 4)."
    )


def halo_of(model: DownscalingModel, halo: int | None = None) -> int:
    """Return the coarse cells around a core that a window has, as wanted or as the model needs.

    Raises
    ------
    ValueError
        If the model's convolutions reach over a wanted halo, or it has one of its own.
    """
    if halo is None:
        return model.reach_cells + OVERLAP_CELLS
    if model.window is not None:
        raise ValueError(
            f"Wanted no halo for a model that knows windows of {model.window[0]} x "
            f"{model.window[1]} cells alone, got {halo}. Leave it out."
        )
    if halo < model.reach_cells:
        raise ValueError(
            f"Wanted a halo of at least {model.reach_cells} coarse cells, over which the model's "
            f"convolutions look, got {halo}. Give more, or leave it out for "
            f"{model.reach_cells + OVERLAP_CELLS}."
        )
    return halo


def cut_for(
    model: DownscalingModel, grid: Grid, tiles: tuple[int, int] | None, halo: int | None = None
) -> TileGrid:
    """Return the tiles of a field for a model: so many rows and columns, one by default.

    A model with one window of its own decides itself; ``tiles`` may then only agree.

    Raises
    ------
    ValueError
        If there are more tiles than cells, if the halo is too small, or if grid or tiles do not fit
        the model's window.
    """
    wanted = halo_of(model, halo)
    if model.window is not None:
        return _cut_to_window(model, model.window, grid, tiles)
    rows, columns = tiles or (1, 1)
    return TileGrid(
        *grid.shape,
        rows,
        columns,
        wanted,
        grid.periodic,
        margin_cells=model.reach_cells,
        align_cells=model.patch,
    )


def _cut_to_window(
    model: DownscalingModel,
    window: tuple[int, int],
    grid: Grid,
    tiles: tuple[int, int] | None,
) -> TileGrid:
    cut = TileGrid.of_window(
        *grid.shape,
        window,
        model.halo_cells,
        periodic=grid.periodic,
        margin_cells=model.reach_cells,
    )
    if tiles and tiles != (cut.rows, cut.columns):
        raise ValueError(
            f"Wanted {cut.rows} x {cut.columns} tiles, since the model knows windows of "
            f"{window[0]} x {window[1]} cells alone, got {tiles[0]} x {tiles[1]}. Leave the tiles "
            "out."
        )
    return cut


def plan(height: int, width: int, largest_window: int, halo_cells: int) -> tuple[int, int]:
    """Return rows and columns of tiles, doubled until a window holds at most so many cells.

    Raises
    ------
    ValueError
        If the window of a single cell holds more.
    """
    rows = columns = 1
    while True:
        window = TileGrid(height, width, rows, columns, halo_cells).window
        cells = window[0] * window[1]
        if cells <= largest_window:
            return rows, columns
        if rows == height and columns == width:
            raise ValueError(
                f"Wanted windows of at most {largest_window} coarse cells, got {window[0]} x "
                f"{window[1]} around a single cell, for its halo of {halo_cells} cells. Choose a "
                "smaller halo, or tiles by rows and columns."
            )
        # Halve the longer edge, so that windows stay close to square and halos small.
        if (height / rows >= width / columns and rows < height) or columns == width:
            rows = min(rows * 2, height)
        else:
            columns = min(columns * 2, width)
