"""What tests of metrics share: a small grid with regions, times, fields."""

import numpy as np
import torch

from orbitds.metrics.consistency import Borders
from orbitds.metrics.frame import Frame, When

ROWS, COLUMNS, FACTOR = 18, 27, 3


def area_of(rows=ROWS, columns=COLUMNS):
    """Areas that shrink to the poles, where they do not vanish."""
    area = torch.cos(torch.linspace(-1.4, 1.4, rows, dtype=torch.float64))
    return area[:, None].repeat(1, columns)


def frame_of(rows=ROWS, columns=COLUMNS, *, factor=FACTOR, seed=0):
    """A frame with two regions that overlap, one beside them, and borders of blocks."""
    generator = torch.Generator().manual_seed(seed)
    everywhere = torch.ones(rows, columns, dtype=torch.bool)
    land = torch.rand(rows, columns, generator=generator) < 0.4
    north = everywhere.clone()
    north[rows // 2 :] = False
    regions = {"all": everywhere, "land": land, "north": north, "sea": ~land}
    borders = {"block": Borders.every((rows, columns), factor, factor)} if factor else {}
    return Frame(
        area_of(rows, columns),
        regions,
        (10.0, 12.0),
        periodic=False,
        factor=factor,
        borders=borders,
    )


def days(count, first="2003-11-20", *, detailed=None):
    """Return consecutive days, all of them detailed unless their places are given."""
    dates = np.datetime64(first) + np.arange(count)
    return [
        When(str(day), *map(int, str(day).split("-")), detailed is None or place in detailed)
        for place, day in enumerate(dates)
    ]


def weather(times, rows=ROWS, columns=COLUMNS, *, missing=0.0, seed=0, kind="warm"):
    """Return truth and two predictions of temperature or precipitation, float64."""
    rng = np.random.default_rng(seed)
    shape = (times, rows, columns)
    if kind == "rain":
        truth = np.maximum(rng.gamma(0.5, 8, shape) - 3, 0)
        noise = rng.gamma(0.5, 4, (2, *shape)) - 1.5
        one, other = np.maximum(truth + noise[0], 0), np.maximum(0.8 * truth + 2 * noise[1], 0)
    else:
        # cells differ in their mean: an anomaly is another thing than a value
        truth = 280 + 12 * rng.normal(size=(rows, columns)) + 6 * rng.normal(size=shape)
        one = truth + rng.normal(0.4, 2, shape)
        other = truth + rng.normal(-1, 3, shape)
    truth[rng.random(shape) < missing] = np.nan
    fields = {"model": torch.from_numpy(one), "bilinear": torch.from_numpy(other)}
    return fields, torch.from_numpy(truth)
