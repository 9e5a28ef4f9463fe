"""Stream prediction and truth, variable by variable, into the table of scores."""

from collections.abc import Sequence

import xarray as xr

from orbitds.checkpoint import MADE_WITH, Checkpoint
from orbitds.data.values import Missing
from orbitds.eval.assemble import Found, found_of, table_of
from orbitds.eval.baselines import METHODS
from orbitds.eval.evaluation import Evaluation, Simple
from orbitds.eval.regions import regions
from orbitds.eval.sides import Sides
from orbitds.eval.simple import SimpleMethods
from orbitds.eval.stream import DETAILED_TIMES
from orbitds.grid import Grid

# What a prediction is called that says nothing of itself.
PREDICTION = "prediction"


def evaluate(
    prediction: xr.Dataset,
    truth: xr.Dataset,
    *,
    coarse: xr.Dataset | None = None,
    checkpoint: Checkpoint | None = None,
    missing: Missing = "error",
    label: str | None = None,
    region_names: Sequence[str] | None = None,
    tile_borders: tuple[list[int], list[int]] | None = None,
    simple: Simple | None = None,
    detailed_times: int = DETAILED_TIMES,
) -> xr.Dataset:
    """Return the table of scores of a prediction, and of the simple methods beside it.

    Data are read once, variable by variable, in blocks of time; memory holds sums.

    Parameters
    ----------
    prediction
        In the conventions of users; with a dimension ``member`` it is an ensemble, whose mean and
        whose first member are scored as two methods.
    coarse
        What the prediction was made from; with it the simple methods are scored.
    checkpoint
        Its climatology gives delta change.
    missing
        Whether NaN in prediction and coarse data is an error or a mask: then cells without a
        prediction count for no method. The truth may always be masked.
    label
        What the prediction is called; by default the checkpoint that its attributes name.
    region_names
        Regions to score apart, or GeoJSON files of polygons; by default land, sea and belts of
        latitude.
    tile_borders
        Fine rows and columns before which tiles of the prediction begin, for the seam index.
    simple
        Other simple methods than the usual ones: given a block of coarse data and the name of a
        variable, it returns fine fields by method.
    detailed_times
        About so many times, evenly spread, are taken for similarity, fractions, spectra and
        visible borders; all else is taken from all times.

    Returns
    -------
    xarray.Dataset
        As ``orbitds.eval.table.blank`` says.

    Raises
    ------
    ValueError
        If there is no common variable or time, the grids differ, or values are missing.
    """
    evaluation = prepare(
        prediction, truth, coarse=coarse, checkpoint=checkpoint, missing=missing, label=label,
        region_names=region_names, tile_borders=tile_borders, simple=simple,
        detailed_times=detailed_times,
    )  # fmt: skip
    found = [one for name in evaluation.sides.names for one in _found(evaluation, name)]
    return table_of(found, evaluation.sides)


def _found(evaluation: Evaluation, name: str) -> list[Found]:
    # what the table takes of a variable is small: its sums go before those of the next one come
    return [found_of(label, scores) for label, scores in evaluation.scores(name).items()]


def prepare(
    prediction: xr.Dataset,
    truth: xr.Dataset,
    *,
    coarse: xr.Dataset | None = None,
    checkpoint: Checkpoint | None = None,
    missing: Missing = "error",
    label: str | None = None,
    region_names: Sequence[str] | None = None,
    tile_borders: tuple[list[int], list[int]] | None = None,
    simple: Simple | None = None,
    detailed_times: int = DETAILED_TIMES,
) -> Evaluation:
    """Return an evaluation that is ready to be scored, by several processes too.

    Each process takes ``evaluation.scores(name, share)`` and saves them; one of them loads and
    merges the parts and makes the table. Parameters and errors are those of ``evaluate``.
    """
    sides = Sides.of(prediction, truth, coarse, missing=missing)
    if simple is None and sides.coarse is not None:
        cells = Grid.of(sides.coarse)
        simple = SimpleMethods.on(cells, sides.grid, sides.names, checkpoint=checkpoint).fields
    return Evaluation(
        sides,
        method_label(label or str(prediction.attrs.get(MADE_WITH) or PREDICTION)),
        missing,
        simple,
        regions(sides.grid, region_names),
        tile_borders,
        detailed_times,
    )


def method_label(name: str) -> str:
    """Return what the prediction is called, which no simple method is."""
    return f"{name} ({PREDICTION})" if name in METHODS else name
