"""Throughput and memory of an evaluation: python eval/bench_score.py --help.

Writes daily fields of truth and prediction to Zarr (smooth, with noise: compressed as real data
are), reads them once, then scores them, each in a process of its own. With --days 3650
--rows 720 --columns 1440 it is ten years of three variables at 0.25 degrees: --synthetic then makes
the fields while they are read, where there is no room for 90 GB of files.
"""

import argparse
import os
import platform
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import dask.array
import numpy as np
import torch
import xarray as xr
from dask.array.core import normalize_chunks

from orbitds.eval.evaluate import evaluate
from orbitds.eval.heap import share_heap
from orbitds.eval.options import Options
from orbitds.eval.sides import Sides
from orbitds.eval.stream import DETAILED_TIMES, stream
from orbitds.variables import variable

VARIABLES = ("total_precipitation_24hr", "2m_temperature_min", "2m_temperature_max")
CENTRES = {"mm": 2.0, "K": 285.0}
SPREADS = {"mm": 6.0, "K": 12.0}
# Fields that are made once; days go through them, with an offset of their own.
PATTERNS = 8
TEN_YEARS = 3650
SAY_EVERY_S = 60
GIGA = 1e9


def main() -> None:
    """Measure and print a table."""
    options = _options()
    _say(
        f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__} with "
        f"{torch.get_num_threads()} threads, {options.days} days of {len(VARIABLES)} variables on "
        f"{options.rows} x {options.columns}, {'made' if options.synthetic else 'Zarr'}"
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        if not options.synthetic:
            for side in ("prediction", "truth"):
                _made(options, side).to_zarr(Path(folder) / side, consolidated=False)
        size = 2 * len(VARIABLES) * options.days * options.rows * options.columns * 4 / GIGA
        spent = {}
        for work in (_read, _score):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                took, cpu, peak = pool.submit(_measured, work, options, folder).result()
            spent[work] = took, cpu
            _say(
                f"{work.__name__[1:]:>6}: {took:8.1f} s, {cpu:8.1f} s of processors, "
                f"{size / took:6.3f} GB/s, peak memory {peak / GIGA:.2f} GB"
            )
        took, cpu = (mine / read for mine, read in zip(spent[_score], spent[_read], strict=True))
        _say(f"scoring takes {took:.2f} times as long as reading alone, {cpu:.2f} of processors")


def _measured(
    work: Callable[[argparse.Namespace, str], None], options: argparse.Namespace, folder: str
) -> tuple[float, float, float]:
    """Return seconds, those of processors, and the peak of memory in bytes."""
    share_heap()  # as `orbitds eval` does
    start, cpu = time.perf_counter(), time.process_time()
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(work.__name__[1:], start, done))
    watch.start()
    work(options, folder)
    done.set()
    watch.join()
    return time.perf_counter() - start, time.process_time() - cpu, _peak()


def _watch(name: str, start: float, done: threading.Event) -> None:
    """Say now and then how much memory a long work has taken at most."""
    while not done.wait(SAY_EVERY_S):
        took = (time.perf_counter() - start) / 60
        _say(f"{name:>6}: {took:4.0f} minutes, peak memory so far {_peak() / GIGA:.2f} GB")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _read(options: argparse.Namespace, folder: str) -> None:
    """Read all fields as an evaluation does."""
    sides = Sides.of(*_opened(options, folder))
    for name in sides.names:
        fields = {"prediction": sides.prediction[name], "truth": sides.truth[name]}
        for _ in stream(fields, name):
            pass


def _score(options: argparse.Namespace, folder: str) -> None:
    """Score all fields, up to the table."""
    # as large a share of detailed times as ten years have
    detailed = max(1, min(options.days, DETAILED_TIMES * options.days // TEN_YEARS))
    evaluate(*_opened(options, folder), Options(detailed_times=detailed))


def _opened(options: argparse.Namespace, folder: str) -> tuple[xr.Dataset, xr.Dataset]:
    if options.synthetic:
        return _made(options, "prediction"), _made(options, "truth")
    prediction, truth = (
        xr.open_zarr(Path(folder) / side, consolidated=False) for side in ("prediction", "truth")
    )
    return prediction, truth


def _made(options: argparse.Namespace, side: str) -> xr.Dataset:
    """Return lazy fields: patterns of noise upon smooth ones, another offset each day."""
    rng = np.random.default_rng(len(side))
    shape = (options.rows, options.columns)
    latitude = 90 - (np.arange(shape[0]) + 0.5) * 180 / shape[0]
    fields = {}
    for name in VARIABLES:
        units = variable(name).units
        noise = rng.normal(0, 0.15, (PATTERNS, *shape)).astype(np.float32)
        smooth = np.sin(np.arange(shape[1]) / 40) * np.cos(np.deg2rad(latitude))[:, None] * 1.5
        patterns = CENTRES[units] + SPREADS[units] * (noise + smooth.astype(np.float32))
        # a block of time is one task: the graph of ten years stays small
        chunks = normalize_chunks((options.chunk, *shape), (options.days, *shape))
        field = dask.array.map_blocks(
            partial(_block, patterns, units), chunks=chunks, dtype=np.float32, meta=patterns[:0]
        )
        fields[name] = (("time", "latitude", "longitude"), field, {"units": units})
    times = np.datetime64("2001-01-01", "ns") + np.arange(options.days) * np.timedelta64(1, "D")
    longitude = (np.arange(shape[1]) + 0.5) * 360 / shape[1]
    return xr.Dataset(fields, {"time": times, "latitude": latitude, "longitude": longitude})


def _block(patterns: np.ndarray, units: str, block_info: dict) -> np.ndarray:
    days = np.arange(*block_info[None]["array-location"][0])
    fields = patterns[days % PATTERNS] + np.sin(days / 58).astype(np.float32)[:, None, None]
    return fields.clip(min=0, out=fields) if units == "mm" else fields


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--days", type=int, default=120)
    parser.add_argument("--rows", type=int, default=180)
    parser.add_argument("--columns", type=int, default=360)
    parser.add_argument("--chunk", type=int, default=8, help="days of a chunk")
    parser.add_argument("--synthetic", action="store_true", help="make fields, do not store them")
    parser.add_argument("--folder", help="where files are written for a while")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
