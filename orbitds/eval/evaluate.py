"""Stream prediction and truth, variable by variable, into the table of scores."""

import xarray as xr

from orbitds.checkpoint import MADE_WITH
from orbitds.eval.assemble import Found, found_of, table_of
from orbitds.eval.baselines import METHODS
from orbitds.eval.evaluation import Evaluation
from orbitds.eval.options import DEFAULTS, Options
from orbitds.eval.regions import regions
from orbitds.eval.sides import Sides
from orbitds.eval.simple import SimpleMethods
from orbitds.grid import Grid
from orbitds.tiles import TileGrid

# What a prediction is called that says nothing of itself.
PREDICTION = "prediction"


def evaluate(prediction: xr.Dataset, truth: xr.Dataset, options: Options = DEFAULTS) -> xr.Dataset:
    """Return the table of scores of a prediction, and of the simple methods beside it.

    Data are read once, variable by variable, in blocks of time; memory holds sums.

    Parameters
    ----------
    prediction
        In the conventions of users; with a dimension ``member`` it is an ensemble, whose mean and
        whose first member are scored as two methods.

    Returns
    -------
    xarray.Dataset
        As ``orbitds.eval.table.blank`` says.

    Raises
    ------
    ValueError
        If there is no common variable or time, the grids differ, or values are missing.
    """
    evaluation = prepare(prediction, truth, options)
    found = [one for name in evaluation.sides.names for one in _found(evaluation, name)]
    return table_of(found, evaluation)


def _found(evaluation: Evaluation, name: str) -> list[Found]:
    # what the table takes of a variable is small: its sums go before those of the next one come
    return [found_of(label, scores) for label, scores in evaluation.scores(name).items()]


def prepare(prediction: xr.Dataset, truth: xr.Dataset, options: Options = DEFAULTS) -> Evaluation:
    """Return an evaluation that is ready to be scored, by several processes too.

    Each process takes ``evaluation.scores(name, share)`` and saves them; one of them loads and
    merges the parts and makes the table. Parameters and errors are those of ``evaluate``.
    """
    sides = Sides.of(prediction, truth, options.coarse, missing=options.missing)
    simple = options.simple
    if simple is None and sides.coarse is not None:
        cells = Grid.of(sides.coarse)
        methods = SimpleMethods.on(cells, sides.grid, sides.names, checkpoint=options.checkpoint)
        simple = methods.fields
    return Evaluation(
        sides,
        method_label(options.label or str(prediction.attrs.get(MADE_WITH) or PREDICTION)),
        options.missing,
        simple,
        regions(sides.grid, options.region_names),
        None if options.tiles is None else _tile_borders(options.tiles, sides),
        options.detailed_times,
        options.ssim,
    )


def _tile_borders(tiles: tuple[int, int], sides: Sides) -> tuple[list[int], list[int]]:
    """Return the fine rows and columns before which tiles of the coarse field begin."""
    factor = sides.coarse_factor() or 1
    rows, columns = (size // factor for size in sides.grid.shape)
    cut = TileGrid(rows, columns, *tiles, halo_cells=0).tiles
    starts = {(tile.core_rows.start, tile.core_columns.start) for tile in cut}
    before_rows, before_columns = (
        sorted({place[axis] * factor for place in starts} - {0}) for axis in (0, 1)
    )
    return before_rows, before_columns


def method_label(name: str) -> str:
    """Return what the prediction is called, which no simple method is."""
    return f"{name} ({PREDICTION})" if name in METHODS else name
