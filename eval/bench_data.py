"""Samples a second of the training loader: python eval/bench_data.py --help.

Writes a synthetic prepared store (23 variables on 180 x 360 cells, 3 on 720 x 1440, smooth fields
with noise), then reads its samples in random order: the same chunks with zarr alone, and by the
loader, each with the same number of processes; with a GPU also up to the samples that the model
takes. Files are in the page cache, as after the first epoch of a store that fits into memory.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import xarray as xr
import zarr
from zarr.codecs import BloscCodec, ZstdCodec

from orbitds.data.fields import Fields
from orbitds.data.loader import stored_batches, training_loader
from orbitds.data.order import Order
from orbitds.data.packing import Packing
from orbitds.data.pair import Pair
from orbitds.data.sample import Samples
from orbitds.grid import Grid
from orbitds.normalize import Statistics
from orbitds.tiles import TileGrid
from orbitds.variables import table

OUTPUTS = ("total_precipitation_24hr", "2m_temperature_min", "2m_temperature_max")
COARSE, FACTOR = (180, 360), 4
CODECS = {
    "none": None,
    "zstd": ZstdCodec(level=1),
    "lz4": BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle"),
}
STEP_MS = (2.4, 12.5)
"""Training steps of the 9.5M model a sample, the fastest and the slowest measured on one H100."""


def main() -> None:
    """Measure and print a table."""
    options = _options()
    _say(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, torch {torch.__version__}, zarr {zarr.__version__}"
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        _say(torch.cuda.get_device_name(device))
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for dtype in options.dtype:
            for codec in options.codec:
                store = Path(folder) / f"{dtype}-{codec}"
                started = time.perf_counter()
                pair = write(store, dtype, codec, options.times, options.tiles)
                size = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
                _say(
                    f"{dtype} {codec}: {size / 1e9:.2f} GB written in "
                    f"{time.perf_counter() - started:.0f} s"
                )
                rows += measure(pair, store, options, device, {"dtype": dtype, "codec": codec})
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def write(folder: Path, dtype: str, codec: str, times: int, tiles: tuple[int, int]) -> Pair:
    """Write a store of stacked arrays, one chunk a time and tile, and return it as a pair."""
    inputs = [row.name for row in table().values() if row.kind != "static"][:20]
    inputs = tuple(dict.fromkeys([*OUTPUTS, *inputs]))
    inputs = (*inputs, *(f"2m_temperature@-{back}" for back in range(1, 24 - len(inputs))))
    fine_shape = (COARSE[0] * FACTOR, COARSE[1] * FACTOR)
    random = np.random.default_rng(0)
    grids = [Grid(*(_centres(180, n, -1), _centres(360, m, 1))) for n, m in (COARSE, fine_shape)]
    fields, ds = [], []
    for part, names, shape, grid in zip(
        ("coarse", "fine"), (inputs, OUTPUTS), (COARSE, fine_shape), grids, strict=True
    ):
        array = zarr.create_array(
            folder / part / "values",
            shape=(times, len(names), *shape),
            chunks=(1, len(names), *(n // t for n, t in zip(shape, tiles, strict=True))),
            dtype=dtype,
            compressors=CODECS[codec],
        )
        packing = Packing.of(names)
        wave = np.sin(np.linspace(0, 20, shape[0]))[:, None] * np.cos(np.linspace(0, 30, shape[1]))
        noise = random.normal(size=shape)
        for step in range(times):
            # as rough as packed weather: a few of the 16 bits are noise
            unit = 0.4 * np.roll(wave, 3 * step, axis=1) + 0.01 * np.roll(noise, step, axis=0)
            codes = (unit * 2**14).astype(np.int16)
            block = np.broadcast_to(codes, (len(names), *shape))
            if dtype != "int16":
                block = packing.unpack(torch.from_numpy(block.copy())).numpy()
            array[step] = block
        fields.append(Fields(array, names, packing if dtype == "int16" else None))
        coords = {
            "time": np.datetime64("2000-01-01", "ns") + np.arange(times) * np.timedelta64(1, "D"),
            "latitude": grid.latitude_deg,
            "longitude": grid.longitude_deg,
        }
        empty = np.broadcast_to(np.float32(0), (times, *shape))  # no memory
        ds.append(
            xr.Dataset(dict.fromkeys(names, (("time", "latitude", "longitude"), empty)), coords)
        )
    statics = xr.Dataset(
        {
            name: (("latitude", "longitude"), np.ones(fine_shape, np.float32))
            for name in ("orography", "land_sea_mask")
        },
        {name: ds[1][name] for name in ("latitude", "longitude")},
    )
    return Pair("bench", ds[0], ds[1], statics, coarse_fields=fields[0], fine_fields=fields[1])


def measure(
    pair: Pair, store: Path, options: argparse.Namespace, device: torch.device, told: dict
) -> list[dict]:
    """Measure one store with each number of workers."""
    names = (*pair.inputs, *pair.outputs, *pair.static_names)
    statistics = dict.fromkeys(names, Statistics(mean=0.0, std=1.0))
    rows, columns = options.tiles
    tiles = TileGrid(*COARSE, rows=rows, columns=columns, periodic=True)
    samples = Samples(pair, statistics, tiles, device=device)
    sample_bytes = sum(
        int(np.prod(shape)) * dtype.itemsize for shape, dtype in samples.reader.parts(1)
    )
    results = []
    for workers in options.workers:
        raw = raw_rate(store, len(samples), tiles, workers, options.seconds)
        row = told | {"workers": workers, "raw": raw}
        loader = {
            "order": Order(seed=0, batch_size=options.batch_size, first=0, last=10**6),
            "workers": workers,
            "prefetch": options.prefetch,
        }
        row["loader"] = rate(_read_only(samples, loader), options.batch_size, options.seconds)
        if device.type == "cuda":  # the device stage is far slower than the loader on a CPU
            batches = training_loader([samples], **loader)
            row["samples"] = rate(batches, options.batch_size, options.seconds, device)
        results.append(row)
        whole = f", made whole on the GPU {row['samples']:.0f}" if "samples" in row else ""
        _say(
            f"  {workers} workers: zarr alone {raw:.0f} samples/s, loader {row['loader']:.0f} "
            f"({100 * row['loader'] / raw:.0f} %, {row['loader'] * sample_bytes / 1e6:.0f} MB/s)"
            f"{whole}; the model eats "
            f"{1000 / STEP_MS[1]:.0f} to {1000 / STEP_MS[0]:.0f}"
        )
    if device.type == "cuda":
        _say(
            f"  device stage alone: {device_stage_ms(samples, options.batch_size):.2f} ms a sample"
        )
    return results


def rate(batches: Iterator, size: int, seconds: float, device: torch.device | None = None) -> float:
    """Return samples a second, after the workers have started."""
    for _ in islice(batches, 4):
        pass
    started, count = time.perf_counter(), 0
    for _ in batches:
        count += size
        if time.perf_counter() - started > seconds:
            break
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
    elapsed = time.perf_counter() - started
    batches.close()  # pyright: ignore[reportAttributeAccessIssue]  a generator
    return count / elapsed


def raw_rate(store: Path, length: int, tiles: TileGrid, workers: int, seconds: float) -> float:
    """Return samples a second of zarr alone, in as many processes."""
    jobs = [(store, length, tiles, seed, seconds) for seed in range(max(workers, 1))]
    if not workers:
        return _raw(*jobs[0])
    with ProcessPoolExecutor(workers, get_context("forkserver")) as pool:
        list(pool.map(_raw, *zip(*[(*job[:4], 0.1) for job in jobs], strict=True)))  # start up
        return sum(pool.map(_raw, *zip(*jobs, strict=True)))


def device_stage_ms(samples: Samples, size: int) -> float:
    """Return the milliseconds a sample that unpacking, normalising and windows take on the GPU."""
    batch = samples.reader.read(list(range(size))).to(samples.assemble.device)
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    for repeat in range(13):
        if repeat == 3:
            start.record()
        samples.assemble(batch)
    stop.record()
    torch.cuda.synchronize()
    return start.elapsed_time(stop) / 10 / size


def _raw(store: Path, length: int, tiles: TileGrid, seed: int, seconds: float) -> float:
    arrays = [
        (zarr.open_array(store / part / "values"), factor)
        for part, factor in (("coarse", 1), ("fine", FACTOR))
    ]
    places = [[tiles.index(tile, factor) for tile in tiles.tiles] for _, factor in arrays]
    random, started, count = np.random.default_rng(seed), time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        step, tile = divmod(int(random.integers(length)), len(tiles.tiles))
        for (array, _), place in zip(arrays, places, strict=True):
            rows, columns = place[tile]
            array[step, :, rows, int(columns[0]) : int(columns[-1]) + 1]
        count += 1
    return count / (time.perf_counter() - started)


def _read_only(samples: Samples, loader: dict) -> Iterator:
    """Yield the stored batches as the workers leave them: what the loader itself is capable of."""
    return stored_batches([samples.reader], torch.device("cpu"), **loader)


def _centres(span: int, count: int, sign: int) -> np.ndarray:
    step = span / count
    centres = (np.arange(count) + 0.5) * step
    return centres if sign > 0 else 90 - centres


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100, help="times in the store")
    parser.add_argument("--dtype", nargs="+", default=["int16", "float32"])
    parser.add_argument("--codec", nargs="+", default=["none"], choices=list(CODECS))
    parser.add_argument("--tiles", nargs=2, type=int, default=(1, 1), help="rows and columns")
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--prefetch", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--folder", type=Path, help="where to write the store; a temporary one")
    parser.add_argument("--json", type=Path, help="write the rows there too")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
