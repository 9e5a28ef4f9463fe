"""Print how well plain interpolation does on the pairs of the catalog, as Markdown.

    ORBITDS_DATA=... python eval/baseline_table.py [--pairs NAME ...]

What a model must beat: bilinear, bicubic and nearest on the test period, and bilinear over all
times of the pair. Missing coarse cells are filled from the nearest one for the interpolation, and
the fine cells below them do not count, as in training and inference.
"""

import argparse
import sys
from collections.abc import Iterator

import numpy as np
import torch

from orbitds.catalog import pair_names
from orbitds.data.blocks import time_blocks
from orbitds.data.gaps import fill_gaps
from orbitds.data.pair import Pair, open_pair
from orbitds.eval.baselines import baselines, scales_by_ratio
from orbitds.metrics.errors import Errors
from orbitds.variables import variable

METHODS = ("bilinear", "bicubic", "nearest")
HEAD = (
    "| pair | variable | times | cells scored | bilinear RMSE | bias | R2 | bicubic RMSE "
    "| nearest RMSE | all times: bilinear RMSE | bias |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)


def main() -> None:
    """Write a line for each output of each pair whose data are here."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", nargs="*", default=pair_names(), help="names of the catalog")
    arguments = parser.parse_args()
    _say(HEAD)
    absent = []
    for name in arguments.pairs:
        try:
            pair = open_pair(name)
        except FileNotFoundError:
            absent.append(name)
            continue
        for line in lines(pair):
            _say(line)
    if absent:
        _say(f"\nWithout their data here: {', '.join(absent)}.")


def lines(pair: Pair) -> Iterator[str]:
    """Yield a line of the table for each output that is also an input."""
    pair = pair.held()
    test = pair.part("test")
    for output in (name for name in pair.outputs if name in pair.inputs):
        (scored, cells), (whole, _) = score(test, output), score(pair, output)
        spread = variable(output).range
        rows = {method: sums.result(spread) for method, sums in scored.items()}
        everything = whole["bilinear"].result(spread)
        numbers = [
            rows["bilinear"]["rmse"], rows["bilinear"]["bias"], rows["bilinear"]["r2"],
            rows["bicubic"]["rmse"], rows["nearest"]["rmse"],
            everything["rmse"], everything["bias"],
        ]  # fmt: skip
        yield (
            f"| {pair.name} | {output} ({variable(output).units}) | {test.fine.sizes['time']} "
            f"| {cells} | " + " | ".join(f"{number:.3f}" for number in numbers) + " |"
        )


def score(pair: Pair, output: str) -> tuple[dict[str, Errors], int]:
    """Return the scores of each method over a pair, and the cells of a field that count."""
    scores = {method: Errors() for method in METHODS}
    area = torch.tensor(pair.fine_grid.area)
    periodic, factor, cells = pair.coarse_grid.periodic, pair.factor, 0
    for coarse, fine in time_blocks(pair.coarse[[output]], pair.fine[[output]]):
        values, truth = coarse[output].values, fine[output].values
        below = np.isnan(values).repeat(factor, axis=-2).repeat(factor, axis=-1)
        target = torch.tensor(np.where(below, np.nan, truth))
        cells = int((~target[0].isnan()).sum())
        filled = torch.tensor(fill_gaps(values, periodic=periodic))
        ratio = scales_by_ratio(output)
        for method, field in baselines(filled, factor, periodic=periodic, is_ratio=ratio).items():
            scores[method].add(field, target, area, variable(output).range)
    return scores, cells


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
