"""From sums to the table: what it takes of each variable, and all of them together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from orbitds.eval.baselines import DELTA
from orbitds.eval.evaluation import Evaluation
from orbitds.eval.metric import METRICS
from orbitds.eval.table import EVERYWHERE, LONGEST_SERIES, PROBABILITIES, blank
from orbitds.metrics import curves
from orbitds.metrics.results import Scalars, blocks_of, scalars
from orbitds.metrics.scores import Scores
from orbitds.metrics.structure import WINDOWS

# The method that each skill score is measured against.
REFERENCES = {"skill": "bilinear", "skill_delta": DELTA}


@dataclass(frozen=True, eq=False)
class Found:
    """What the table takes of one variable; of curves the first row is the truth."""

    name: str
    methods: tuple[str, ...]
    regions: tuple[str, ...]
    scalars: Scalars
    wavenumber: np.ndarray
    spectra: np.ndarray
    quantiles: np.ndarray
    ranks: np.ndarray | None
    labels: list[str]
    series: np.ndarray
    maps: tuple[np.ndarray, np.ndarray]
    blocks: tuple[int, str]
    times: int


def found_of(name: str, scores: Scores) -> Found:
    """Return scores, curves and maps of a variable, without its sums."""
    labels, series = curves.series(scores, LONGEST_SERIES)
    return Found(
        name,
        scores.methods,
        tuple(scores.frame.regions),
        scalars(scores, REFERENCES),
        scores.frame.rings.wavenumber,
        curves.spectra(scores),
        curves.quantiles(scores, np.array(PROBABILITIES)),
        curves.ranks(scores),
        labels,
        series,
        curves.maps(scores),
        blocks_of(scores),
        len(scores.times),
    )


def table_of(found: Sequence[Found], evaluation: Evaluation) -> xr.Dataset:
    """Return the table of scores of all variables."""
    sides, when = evaluation.sides, evaluation.when
    place = {at.label: index for index, at in enumerate(when)}
    first = found[0]
    time = sides.truth["time"][[place[label] for label in first.labels]]
    axes = {
        "wavenumber": ("wavenumber", first.wavenumber, {"units": "degree-1"}),
        "probability": np.array(PROBABILITIES),
        "time": time.drop_vars(set(time.coords) - {"time"}),
        "latitude": ("latitude", sides.grid.latitude_deg, {"units": "degrees_north"}),
        "longitude": ("longitude", sides.grid.longitude_deg, {"units": "degrees_east"}),
    }
    if first.ranks is not None:
        axes["rank"] = np.arange(len(first.ranks))
    methods = list(dict.fromkeys(method for one in found for method in one.methods))
    names = [one.name for one in found]
    table = blank(names, methods, list(first.regions), curves=axes)
    is_dated = when[0].year > 0
    for row, one in enumerate(found):
        _fill(table, row, one, [methods.index(method) for method in one.methods])
    if not is_dated:
        for name in ("value", "low", "high"):
            table[name].loc[{"season": table["season"] != EVERYWHERE}] = np.nan
    blocks, block = first.blocks
    return table.assign_attrs(
        times=first.times, first=when[0].label[:10], last=when[-1].label[:10],
        grid=str(sides.grid), blocks=blocks, block=block,
        detailed_times=sum(at.is_detailed for at in when), ssim_window=WINDOWS[evaluation.ssim],
    )  # fmt: skip


def _fill(table: xr.Dataset, row: int, found: Found, columns: list[int]) -> None:
    """Write what was found of a variable into its row, its methods into their columns."""
    metrics = list(METRICS)
    for name, values in found.scalars.items():
        for kind, value in zip(("value", "low", "high"), values, strict=True):
            table[kind].values[row, columns, :, :, metrics.index(name)] = value
    both = {"spectrum": found.spectra, "quantile": found.quantiles, "time_series": found.series}
    for name, values in both.items():
        table[f"{name}_truth"].values[row] = values[0]
        table[name].values[row, columns] = values[1:]
    for name, values in zip(("bias_map", "rmse_map"), found.maps, strict=True):
        table[name].values[row, columns] = values
    if found.ranks is not None:
        table["rank_histogram"].values[row, columns[0]] = found.ranks
