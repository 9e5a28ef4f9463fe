"""Outlines and batches for tests of plans."""

import torch

from orbitds.config import ModelConfig, TrainConfig
from orbitds.data.batch import Sample
from orbitds.tiles import TileGrid
from orbitds.train.outline import Outline

OUTPUTS = ("2m_temperature", "total_precipitation_24hr")
STATICS = ("orography",)


def outline(rows=9, columns=14, inputs=3, factor=3, samples=120):
    """An outline of odd sizes."""
    names = (*OUTPUTS, *(f"other_{place}" for place in range(inputs - len(OUTPUTS))))
    tiles = TileGrid(rows, columns, periodic=True, align_cells=2)
    return Outline("made up", names, OUTPUTS, STATICS, factor, tiles, samples, samples, 10_000)


def config(model=None, **changes):
    """A run of a small model."""
    small = {"width": 32, "depth": 2, "decoder_depth": 1, "correction_width": 8}
    return TrainConfig(pair="x", model=ModelConfig(**(small | (model or {}))), **changes)


def values_like(batch):
    """Return a batch with values."""
    return Sample(*(torch.rand(tensor.shape) for tensor in batch))
