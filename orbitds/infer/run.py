"""Batch inference: one file in, one file out."""

from pathlib import Path

from orbitds.catalog import open_dataset
from orbitds.config import InferConfig
from orbitds.infer.downscaler import Tiles, downscale
from orbitds.infer.writers import check_output, write


def run(config: InferConfig) -> Path:
    """Downscale a file, streaming in blocks of time, and return the output's path.

    Raises
    ------
    ValueError, OSError
        If input, checkpoint or output do not fit; nothing is left half-written.
    """
    check_output(config.output, overwrite=config.overwrite)
    with open_dataset(config.input) as coarse:
        fine = downscale(
            coarse.chunk("auto"),  # files are often chunked by single times: too small to batch
            config.checkpoint,
            variables=config.variables,
            tiles=parse_tiles(config.tiles),
            batch_size=config.batch_size,
            constraints=config.constraints,
            device=None if config.device == "auto" else config.device,
        )
        write(fine, config.output, overwrite=config.overwrite)
    return config.output


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
