"""Batch inference: one file in, one file out."""

import sys
from pathlib import Path

import xarray as xr

from orbitds.catalog import open_dataset
from orbitds.checkpoint import load_checkpoint
from orbitds.config import InferConfig
from orbitds.data.door import declared_missing
from orbitds.data.history import enter_with_earlier
from orbitds.infer.lazy import downscale
from orbitds.infer.mask import count_masked, told
from orbitds.infer.tiling import Tiles
from orbitds.infer.writers import check_output, write


def run(config: InferConfig) -> Path:
    """Downscale a file, streaming in blocks of time, and return the output's path.

    Raises
    ------
    ValueError, OSError
        If input, checkpoint or output do not fit; nothing is left half-written.
    """
    check_output(config.output, overwrite=config.overwrite)
    missing = config.missing or declared_missing(config.input)
    with open_dataset(config.input) as coarse:
        fine = downscale(
            coarse.chunk("auto"),  # files are often chunked by single times: too small to batch
            config.checkpoint,
            variables=config.variables,
            tiles=parse_tiles(config.tiles),
            batch_size=config.batch_size,
            constraints=config.constraints,
            missing=missing,
            device=None if config.device == "auto" else config.device,
        )
        if missing == "mask":
            fine = _counted(fine, coarse, config)
        write(fine, config.output, overwrite=config.overwrite)
    return config.output


def _counted(fine: xr.Dataset, coarse: xr.Dataset, config: InferConfig) -> xr.Dataset:
    """Count the masked cells beforehand: attributes are written before the values."""
    checkpoint = load_checkpoint(config.checkpoint)
    entered = enter_with_earlier(coarse, checkpoint.inputs, missing="mask").ds
    counts = count_masked(entered, checkpoint.inputs, checkpoint.outputs, checkpoint.factor)
    for name, field in fine.data_vars.items():
        share = counts[str(name)] / field.size
        sys.stderr.write(f"masked: {counts[str(name)]} cells of {name} ({share:.1%})\n")
    return told(fine, counts)


def parse_tiles(text: str | None) -> Tiles:
    """Return tiles from ``auto`` or ``RxC``.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if text is None or text == "auto":
        return text
    rows, cross, columns = text.partition("x")
    if cross and rows.isdigit() and columns.isdigit() and int(rows) and int(columns):
        return int(rows), int(columns)
    raise ValueError(f"Wanted tiles as `auto` or rows x columns such as `2x4`, got {text!r}.")
