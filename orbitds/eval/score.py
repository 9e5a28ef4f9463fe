"""Stream prediction and truth, score both model and simple methods, return a table."""

from collections.abc import Iterator
from contextlib import nullcontext

import torch
import xarray as xr
from torch import Tensor

from orbitds.catalog import open_dataset
from orbitds.checkpoint import MADE_WITH, Checkpoint, load_checkpoint
from orbitds.config import EvalConfig
from orbitds.data.align import start_with
from orbitds.data.blocks import block_slices, time_blocks
from orbitds.data.door import enter
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
from orbitds.grid import Grid
from orbitds.metrics import Scores
from orbitds.progress import progress
from orbitds.variables import table, variable

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
    names = _common_variables(prediction, truth)
    own = _label(label or str(prediction.attrs.get(MADE_WITH) or PREDICTION))
    sides = {
        PREDICTION: enter(prediction, names, missing=missing).ds,
        "truth": enter(truth, names, missing="mask").ds,
    }
    grid = Grid.of(sides["truth"])
    if not grid.matches(Grid.of(sides[PREDICTION])):
        raise ValueError(
            f"Wanted prediction and truth on one grid, got prediction "
            f"{Grid.of(sides[PREDICTION])} and truth {grid}. Regrid one of the two."
        )
    if coarse is not None:
        sides["coarse"] = enter(coarse, _shared_with(coarse, names), missing=missing).ds
        cells = Grid.of(sides["coarse"])
        sides |= {side: start_with(sides[side], cells) for side in (PREDICTION, "truth")}
        grid = Grid.of(sides["truth"])
    sides = _at_common_times(sides)
    scores: dict[tuple[str, str], Scores] = {}
    area = torch.tensor(grid.area)
    for block in _blocks(sides):
        for name in names:
            target = _tensor(block["truth"], name)
            check_values(name, target.numpy(), missing="mask")
            fields = {own: _tensor(block[PREDICTION], name)}
            if missing == "mask":
                target[fields[own].isnan()] = torch.nan
            if "coarse" in block and name in block["coarse"]:
                fields |= _simple(block["coarse"], name, grid, checkpoint)
            for method, field in fields.items():
                row = scores.setdefault((name, method), Scores())
                row.add(field, target, area, variable(name).range)
    times = sides["truth"]["time"].values
    rows = tuple(
        Row(name, variable(name).units, method, **sums.result(variable(name).range))
        for (name, method), sums in scores.items()
    )
    return Table(rows, len(times), str(times[0])[:10], str(times[-1])[:10], str(grid))


def _label(name: str) -> str:
    """Return what the prediction is called, which no simple method is."""
    return f"{name} ({PREDICTION})" if name in (*INTERPOLATIONS, DELTA) else name


def _simple(
    coarse: xr.Dataset, name: str, grid: Grid, checkpoint: Checkpoint | None
) -> dict[str, Tensor]:
    coarse_grid = Grid.of(coarse)
    factor = coarse_grid.factor_to(grid)
    if factor == 1:
        raise ValueError(
            f"Wanted coarse data coarser than the truth, got both on {grid}. "
            "Give the data that the prediction was made from, or leave `coarse` out."
        )
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


def _common_variables(prediction: xr.Dataset, truth: xr.Dataset) -> list[str]:
    names = [name for name in table() if _has(prediction, name) and _has(truth, name)]
    names = [name for name in names if variable(name).kind != "static"]
    if not names:
        raise ValueError(
            f"Wanted a common variable of prediction and truth, got {list(prediction.data_vars)} "
            f"and {list(truth.data_vars)}. Rename them to names of data_catalog/variables.yaml."
        )
    return names


def _shared_with(coarse: xr.Dataset, names: list[str]) -> list[str]:
    shared = [name for name in names if _has(coarse, name)]
    if not shared:
        raise ValueError(
            f"Wanted one of {names} in the coarse data, got {list(coarse.data_vars)}: there is "
            "nothing to interpolate. Leave `coarse` out, or give the data that hold it."
        )
    return shared


def _has(ds: xr.Dataset, name: str) -> bool:
    return any(key in ds.data_vars for key in (name, *variable(name).aliases))


def _at_common_times(sides: dict[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    common = sides[PREDICTION].indexes["time"]
    for ds in sides.values():
        common = common.intersection(ds.indexes["time"])
    if len(common) == 0:
        spans = ", ".join(
            f"{side} {ds['time'].values[0]} to {ds['time'].values[-1]}"
            for side, ds in sides.items()
        )
        raise ValueError(f"Wanted common times, got none: {spans}. Select the same period.")
    return {side: ds.sel(time=common) for side, ds in sides.items()}


def _blocks(sides: dict[str, xr.Dataset]) -> Iterator[dict[str, xr.Dataset]]:
    """Yield blocks of time, read into memory."""
    with progress("score", len(block_slices(*sides.values()))) as report:
        for done, block in enumerate(time_blocks(*sides.values()), start=1):
            yield dict(zip(sides, block, strict=True))
            report(done, "")


def _tensor(ds: xr.Dataset, name: str) -> Tensor:
    return torch.tensor(ds[name].transpose("time", "latitude", "longitude").values)
