"""Score a checkpoint on the test periods of pairs, beside the simple methods, as one table.

    ORBITDS_DATA=... python eval/score_checkpoint.py CHECKPOINT --pairs NAME ... --output DIR

The checkpoint downscales the coarse side of each pair's test period as it does for users; delta
change, quantile mapping and the like learn from the pair's training period. Writes `scores.md` and
`scores.json`. Intervals are those of 95 %: a bootstrap over months, or, with `--space-blocks N` and
where times are too few for it, over squares of N x N coarse cells.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from orbitds.checkpoint import Checkpoint, load_checkpoint
from orbitds.data.pair import Pair, open_pair
from orbitds.data.values import Missing
from orbitds.eval.baselines import DELTA
from orbitds.eval.evaluate import evaluate, method_label
from orbitds.eval.options import Options, Simple
from orbitds.eval.past import learn
from orbitds.eval.simple import SimpleMethods
from orbitds.eval.table import EVERYWHERE, SCALARS
from orbitds.infer.choice import part_for
from orbitds.infer.downscaler import Downscaler
from orbitds.infer.job import parse_tiles
from orbitds.infer.tiling import Tiles
from orbitds.metrics.bootstrap import LEAST_BLOCKS, interval, redraw
from orbitds.periods import told

METRICS = (
    "rmse", "skill", "skill_delta", "r2", "r2_anomaly", "ssim", "psnr", "rmse_above_95",
    "rmse_above_99_7", "spectral_distance",
)  # fmt: skip
HEAD = (
    "| variable | method | RMSE | 95 % | skill | skill on delta | R2 | anomaly R2 | SSIM "
    "| PSNR (dB) | RMSE > p95 | RMSE > p99.7 | spectral distance (dB) |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)
DIGITS = {"rmse": 4, "rmse_above_95": 4, "rmse_above_99_7": 4, "psnr": 2, "spectral_distance": 2}


@dataclass(frozen=True)
class Row:
    """Scores of one method for one variable; NaN where there is none."""

    variable: str
    units: str
    method: str
    values: dict[str, float]
    low: dict[str, float]
    """Lower ends of the intervals, of the scores that have one."""
    high: dict[str, float]


@dataclass(frozen=True)
class Result:
    """Scores of a checkpoint on a pair."""

    pair: str
    period: str
    times: int
    grid: str
    blocks: str
    """What the intervals are over."""
    rows: tuple[Row, ...]


def main() -> None:
    """Score a checkpoint on each pair, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", help="name, folder or hf:// address")
    parser.add_argument("--pairs", nargs="+", required=True, help="names of the catalog, or paths")
    parser.add_argument("--output", type=Path, required=True, help="folder of the table")
    parser.add_argument("--space-blocks", type=int, help="coarse cells along the edge of a block")
    parser.add_argument("--tiles", help="ROWSxCOLUMNS; by default as users have it")
    parser.add_argument("--device", help="cpu, cuda or cuda:1")
    given = parser.parse_args()
    checkpoint, tiles = load_checkpoint(given.checkpoint), parse_tiles(given.tiles)
    results = [
        score(checkpoint, open_pair(name), given.space_blocks, tiles=tiles, device=given.device)
        for name in given.pairs
    ]
    write(results, checkpoint, given.output)
    sys.stdout.write((given.output / "scores.md").read_text(encoding="utf-8"))


def score(
    checkpoint: Checkpoint,
    pair: Pair,
    space_blocks: int | None = None,
    *,
    tiles: Tiles = None,
    device: str | None = None,
) -> Result:
    """Return the scores of a checkpoint and of the simple methods on a pair's test period.

    Parameters
    ----------
    space_blocks
        Coarse cells along the edge of a block of the bootstrap, where times are too few.
    tiles
        Rows and columns of tiles; by default as users have it.
    """
    pair = pair.held()
    test, grid = pair.part("test"), pair.fine_grid
    missing: Missing = test.coarse.attrs.get("missing", "error")
    part = part_for(checkpoint, test.coarse, pair.factor)
    downscaler = Downscaler(part, factor=pair.factor, tiles=tiles, missing=missing, device=device)
    prediction = downscaler(test.coarse)
    names = [str(name) for name in prediction.data_vars if name in pair.outputs]
    past = learn(pair.part("train"), names, grid, pair.factor)
    simple = SimpleMethods.on(test.coarse_grid, grid, names, past=past).fields
    label = method_label(checkpoint.name)
    options = Options(
        coarse=test.coarse, missing=missing, label=label, region_names=(), simple=simple
    )
    scores = evaluate(prediction[names], test.fine[names], options)
    rows, blocks = list(_rows(scores, names)), f"{scores.attrs['block']}s"
    if space_blocks and test.fine.sizes["time"] < LEAST_BLOCKS:
        edge = space_blocks * pair.factor
        fields = {name: _squares(test, prediction, name, label, simple, edge) for name in names}
        rows = [_with_space_intervals(row, fields[row.variable]) for row in rows]
        blocks = f"squares of {space_blocks} x {space_blocks} coarse cells"
    period = told(pair.split["test"])
    return Result(pair.name, period, test.fine.sizes["time"], str(grid), blocks, tuple(rows))


def write(results: Sequence[Result], checkpoint: Checkpoint, output: Path) -> None:
    """Write the table as Markdown and JSON."""
    output.mkdir(parents=True, exist_ok=True)
    about = {"checkpoint": checkpoint.name, "pairs": [asdict(result) for result in results]}
    text = json.dumps(_finite(about), indent=1, allow_nan=False)
    (output / "scores.json").write_text(text + "\n", encoding="utf-8")
    parts = [f"Scores of `{checkpoint.name}`. Skill is against bilinear interpolation."]
    for result in results:
        parts.append(
            f"**{result.pair}**, {result.period}, {result.times} time"
            f"{'s' * (result.times > 1)}, {result.grid}; intervals over {result.blocks}.\n\n{HEAD}"
        )
        parts[-1] += "".join("\n" + _line(row) for row in result.rows)
    (output / "scores.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _rows(scores: xr.Dataset, names: Sequence[str]) -> Iterator[Row]:
    whole = scores.sel(region=EVERYWHERE, season="all")
    for name in names:
        for method in map(str, scores["method"].values):
            own = whole.sel({"variable": name, "method": method})
            value, low, high = (
                {metric: float(own[end].sel(metric=metric)) for metric in METRICS}
                for end in SCALARS
            )
            if math.isfinite(value["rmse"]):
                yield Row(name, str(own["units"].values), method, value, low, high)


def _squares(
    test: Pair, prediction: xr.Dataset, name: str, label: str, simple: Simple, edge: int
) -> dict[str, np.ndarray]:
    """Return the area-weighted sums of squared errors of each square by method, and of weights."""
    truth = test.fine[name].values.astype(np.float64)
    own = prediction[name].transpose("time", "latitude", "longitude").values
    weight = np.where(np.isnan(truth) | np.isnan(own), 0.0, test.fine_grid.area)
    coarse = (
        test.coarse[[name]].load().assign_attrs(missing=test.coarse.attrs.get("missing", "error"))
    )
    fields = {label: own} | {
        method: field.numpy() for method, field in simple(coarse, name).items()
    }
    squares = {
        method: _summed(weight * np.nan_to_num(field - truth) ** 2, edge)
        for method, field in fields.items()
    }
    return squares | {"weight": _summed(weight, edge)}


def _summed(fields: np.ndarray, edge: int) -> np.ndarray:
    """Return sums over time and squares of so many cells, [B]; those at borders may be smaller."""
    total = fields.sum(axis=0)
    for axis in (0, 1):
        total = np.add.reduceat(total, np.arange(0, total.shape[axis], edge), axis=axis)
    return total.ravel()


def _with_space_intervals(row: Row, sums: dict[str, np.ndarray]) -> Row:
    """Return a row with intervals of RMSE and skill over squares that hold values."""
    held = sums["weight"] > 0
    names = [row.method, *(other for other in ("bilinear", DELTA) if other in sums), "weight"]
    drawn = redraw(np.stack([sums[name][held] for name in names], axis=1))
    if drawn is None:
        return row
    of = dict(zip(names, drawn.T, strict=True))
    found = {"rmse": np.sqrt(of[row.method] / of["weight"])}
    for metric, other in (("skill", "bilinear"), ("skill_delta", DELTA)):
        if other in of and other != row.method:
            found[metric] = 1 - of[row.method] / of[other]
    ends = {metric: interval(values) for metric, values in found.items()}
    low = {metric: float(end[0]) for metric, end in ends.items()}
    high = {metric: float(end[1]) for metric, end in ends.items()}
    return Row(row.variable, row.units, row.method, row.values, low, high)


def _line(row: Row) -> str:
    cells = [f"{row.variable} ({row.units})", row.method, _number("rmse", row.values["rmse"])]
    cells.append(_range("rmse", row))
    for metric in METRICS[1:]:
        text = _number(metric, row.values[metric])
        if metric.startswith("skill") and _range(metric, row):
            text += f" ({_range(metric, row)})"
        cells.append(text)
    return "| " + " | ".join(cells) + " |"


def _range(metric: str, row: Row) -> str:
    low, high = (ends.get(metric, math.nan) for ends in (row.low, row.high))
    return f"{_number(metric, low)} to {_number(metric, high)}" if math.isfinite(low) else ""


def _number(metric: str, value: float) -> str:
    return f"{value:.{DIGITS.get(metric, 3)}f}" if math.isfinite(value) else ""


def _finite(plain: object) -> object:
    """Return plain values with null in place of what is not finite."""
    if isinstance(plain, dict):
        return {key: _finite(value) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [_finite(value) for value in plain]
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


if __name__ == "__main__":
    main()
