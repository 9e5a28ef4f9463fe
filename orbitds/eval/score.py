"""Stream prediction and truth, score both model and simple methods, return a table."""

from collections.abc import Iterator
from contextlib import nullcontext

import torch
import xarray as xr
from torch import Tensor

from orbitds.catalog import open_dataset
from orbitds.checkpoint import MADE_WITH, Checkpoint, load_checkpoint
from orbitds.config import EvalConfig
from orbitds.data.blocks import block_slices, time_blocks
from orbitds.data.gaps import fill_gaps
from orbitds.data.values import Missing, check_values
from orbitds.eval.baselines import (
    DELTA,
    INTERPOLATIONS,
    baselines,
    months_climatology,
    scales_by_ratio,
)
from orbitds.eval.report import Row, Table, write_report
from orbitds.eval.sides import Sides
from orbitds.grid import Grid
from orbitds.metrics.errors import Errors
from orbitds.progress import progress
from orbitds.variables import variable

# What a prediction is called that says nothing of itself.
PREDICTION = "prediction"


def run(config: EvalConfig) -> Table:
    """Score files and write ``scores.md`` and ``scores.json`` into a folder.

    Raises
    ------
    ValueError, OSError
        If the files do not fit each other, or the folder holds earlier scores.
    """
    targets = [config.output / name for name in ("scores.md", "scores.json")]
    existing = [path for path in targets if path.exists()]
    if existing and not config.overwrite:
        raise FileExistsError(
            f"Wanted a folder without scores, got {existing[0]}, which exists. "
            "Choose another folder, or replace them with --overwrite."
        )
    if config.output.exists() and not config.output.is_dir():
        raise NotADirectoryError(
            f"Wanted a folder for the scores, got {config.output}, which is a file. "
            "Choose another name."
        )
    with (
        open_dataset(config.prediction) as prediction,
        open_dataset(config.truth) as truth,
        open_dataset(config.coarse) if config.coarse else nullcontext() as coarse,
    ):
        checkpoint = load_checkpoint(config.checkpoint) if config.checkpoint else None
        scored = score(
            prediction,
            truth,
            coarse=coarse,
            checkpoint=checkpoint,
            missing=config.missing,
            label=config.label,
        )
    write_report(scored, config.output)
    return scored


def score(
    prediction: xr.Dataset,
    truth: xr.Dataset,
    *,
    coarse: xr.Dataset | None = None,
    checkpoint: Checkpoint | None = None,
    missing: Missing = "error",
    label: str | None = None,
) -> Table:
    """Return the scores of a prediction, and of the simple methods where ``coarse`` is given.

    Parameters
    ----------
    coarse
        What the prediction was made from.
    checkpoint
        Its climatology gives delta change.
    missing
        Whether NaN in prediction and coarse data is an error or a mask: then cells without a
        prediction count for no method, and gaps of the coarse data are filled from the nearest
        cell. The truth may always be masked.
    label
        What the prediction is called in the table; by default the checkpoint that its attributes
        name, or else ``prediction``.

    Raises
    ------
    ValueError
        If there is no common variable or time, or the grids differ.
    """
    sides = Sides.of(prediction, truth, coarse, missing=missing)
    sides.coarse_factor()
    names, grid = sides.names, sides.grid
    own = method_label(label or str(prediction.attrs.get(MADE_WITH) or PREDICTION))
    scores: dict[tuple[str, str], Errors] = {}
    area = torch.tensor(grid.area)
    for block in _blocks(sides):
        for name in names:
            target = _tensor(block["truth"], name)
            check_values(name, target.numpy(), missing="mask")
            fields = {own: _tensor(block[PREDICTION], name)}
            if missing == "mask":
                target[fields[own].isnan()] = torch.nan
            if "coarse" in block and name in block["coarse"]:
                fields |= simple_methods(block["coarse"], name, grid, checkpoint)
            for method, field in fields.items():
                row = scores.setdefault((name, method), Errors())
                row.add(field, target, area, variable(name).range)
    times = sides.truth["time"].values
    rows = tuple(
        Row(name, variable(name).units, method, **sums.result(variable(name).range))
        for (name, method), sums in scores.items()
    )
    return Table(rows, len(times), str(times[0])[:10], str(times[-1])[:10], str(grid))


def method_label(name: str) -> str:
    """Return what the prediction is called, which no simple method is."""
    return f"{name} ({PREDICTION})" if name in (*INTERPOLATIONS, DELTA) else name


def simple_methods(
    coarse: xr.Dataset, name: str, grid: Grid, checkpoint: Checkpoint | None
) -> dict[str, Tensor]:
    """Return the fine fields of one variable by each simple method."""
    coarse_grid = Grid.of(coarse)
    factor = coarse_grid.factor_to(grid)
    check_values(name, coarse[name].values, missing=coarse.attrs["missing"])
    climatology = None
    if checkpoint is not None and checkpoint.region is not None and name in checkpoint.outputs:
        region = checkpoint.region.cut(grid, factor)
        if region is not None:
            months = coarse["time"].dt.month.values
            climatology = months_climatology(region, checkpoint.outputs.index(name), months)
    return baselines(
        torch.tensor(fill_gaps(_tensor(coarse, name).numpy(), periodic=coarse_grid.periodic)),
        factor,
        periodic=coarse_grid.periodic,
        climatology=climatology,
        is_ratio=scales_by_ratio(name),
    )


def _blocks(sides: Sides) -> Iterator[dict[str, xr.Dataset]]:
    """Yield blocks of time, read into memory."""
    parts = {PREDICTION: sides.prediction, "truth": sides.truth}
    if sides.coarse is not None:
        parts["coarse"] = sides.coarse
    with progress("score", len(block_slices(*parts.values()))) as report:
        for done, block in enumerate(time_blocks(*parts.values()), start=1):
            yield dict(zip(parts, block, strict=True))
            report(done, "")


def _tensor(ds: xr.Dataset, name: str) -> Tensor:
    return torch.tensor(ds[name].transpose("time", "latitude", "longitude").values)
