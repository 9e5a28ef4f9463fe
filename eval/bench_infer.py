"""Fields a second of inference: python eval/bench_infer.py --help.

A model with weights at random runs on fields of noise, kept in memory: its forward pass alone, in
the batches that inference takes, and whole blocks through the downscaler, from numpy to numpy. The
second over the first is what cutting, checking, blending, bounds and copies cost.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from orbitds.checkpoint import save_checkpoint
from orbitds.config import model_preset
from orbitds.grid import Grid
from orbitds.infer.courier import on_device
from orbitds.infer.downscaler import Downscaler
from orbitds.infer.memory import bytes_per_cell, usual_batch
from orbitds.infer.precision import computing_in
from orbitds.model.build import build
from orbitds.normalize import Statistics
from orbitds.variables import table

OUTPUTS = ("total_precipitation_24hr", "2m_temperature_min", "2m_temperature_max")


def main() -> None:
    """Measure and print lines of JSON."""
    options = _options()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        downscaler, block, grid = _job(options, Path(folder) / "checkpoint")
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
        _say({"device": name, "torch": torch.__version__, "dtype": downscaler.dtype})
        _say({"grid": str(grid), "model": options.model, "times": options.times})
        model, tiles = downscaler.checkpoint.model, downscaler.tiles_for(grid)
        size = options.batch_size or usual_batch(model, tiles, device, downscaler.dtype)
        cells = tiles.window[0] * tiles.window[1]
        predicted = bytes_per_cell(model, downscaler.dtype) * cells * size
        _say({"tiles": (tiles.rows, tiles.columns), "window": tiles.window, "batch": size})
        seconds = _timed(lambda: _forward(downscaler, tiles.window, size, device), options.turns)
        fields = size / len(tiles.tiles)
        peak = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else 0.0
        _say({"forward alone, fields a second": fields / seconds, "peak_mib": peak})
        _say({"predicted_mib": predicted / 2**20})
        seconds = _timed(lambda: downscaler.compute_with_seams(block, grid), options.turns)
        peak = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else 0.0
        _say({"whole blocks, fields a second": options.times / seconds, "peak_mib": peak})


def _job(options: argparse.Namespace, folder: Path) -> tuple[Downscaler, xr.Dataset, Grid]:
    config = model_preset(options.model).model_copy(update={"base": "bicubic"})
    names = [name for name, row in table().items() if row.plausible[0] <= 1 <= row.plausible[1]]
    inputs = (OUTPUTS[0], *(n for n in names if n != OUTPUTS[0]))[: options.inputs]
    rows, columns = options.grid
    step = 180 / rows
    grid = Grid(90 - step * (np.arange(rows) + 0.5), 360 / columns * np.arange(columns))
    torch.manual_seed(0)
    model = build(config, inputs=inputs, outputs=OUTPUTS, statics=(), factor=options.factor)
    statistics = dict.fromkeys((*inputs, *OUTPUTS), Statistics(mean=0.5, std=1.0))
    spacing = grid.spacing_km, grid.spacing_km / options.factor
    save_checkpoint(folder, model, statistics=statistics, spacing_km=spacing, provenance={})
    downscaler = Downscaler(
        folder,
        tiles=options.tiles,
        batch_size=options.batch_size,
        dtype=options.dtype,
        compile=options.compile,
        constraints=("order",),
    )
    generator = np.random.default_rng(0)
    shape = options.times, rows, columns
    dims = ("time", "latitude", "longitude")
    block = xr.Dataset(
        {name: (dims, generator.random(shape, dtype=np.float32)) for name in inputs},
        coords={
            "time": np.datetime64("2000-01-01", "s") + np.arange(options.times) * 86400,
            "latitude": grid.latitude_deg,
            "longitude": grid.longitude_deg,
        },
    )
    return downscaler, block, grid


def _forward(
    downscaler: Downscaler, window: tuple[int, int], size: int, device: torch.device
) -> None:
    model = on_device(downscaler.checkpoint.model, device)
    rows, columns = window
    told = {
        "latitude_deg": torch.linspace(80, -80, rows, device=device).expand(size, -1),
        "longitude_deg": torch.linspace(0, 350, columns, device=device).expand(size, -1),
        "spacing_km": torch.tensor([[111.0, 28.0]], device=device).expand(size, -1),
    }
    coarse = torch.randn(size, len(model.inputs), rows, columns, device=device)
    with torch.inference_mode(), computing_in(downscaler.dtype, device):
        model(coarse, **told)
    if device.type == "cuda":
        torch.cuda.synchronize()


def _timed(run: Callable[[], object], turns: int) -> float:
    """Return the seconds of the fastest turn, after one that does not count."""
    run()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(turns):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="reslim_9m")
    parser.add_argument("--grid", type=int, nargs=2, default=(180, 360), metavar=("R", "C"))
    parser.add_argument("--factor", type=int, default=4)
    parser.add_argument("--inputs", type=int, default=23)
    parser.add_argument("--times", type=int, default=64)
    parser.add_argument("--tiles", type=_tiles, default=None, help="such as 2x4")
    parser.add_argument("--batch-size", type=int, default=None)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default=None)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--turns", type=int, default=5)
    return parser.parse_args()


def _tiles(text: str) -> tuple[int, int]:
    rows, columns = text.split("x")
    return int(rows), int(columns)


def _say(row: dict[str, object]) -> None:
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
