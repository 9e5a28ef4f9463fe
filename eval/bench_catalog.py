"""Seconds to open a catalog entry and to index its times.

Run it with `python eval/bench_catalog.py [--steps N]`. The entry lies beside a local
Zarr store of hourly fields, none of whose values are written: what is timed is metadata, the time
axis and the graph of dask.
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import dask.array as da
import numpy as np
import xarray as xr
import yaml

import orbitds

STEPS = 367_920  # 42 years of hours
VARIABLES = (
    "2m_temperature",
    "10m_u_component_of_wind",
    "10m_v_component_of_wind",
    "total_precipitation_24hr",
)
GRID = (721, 1440)


def write_store(folder: Path, *, steps: int, block: int) -> Path:
    """Write a store of hourly fields without values, and return the path of its entry.

    Parameters
    ----------
    folder
        Where the store and its entry go.
    steps
        Hours.
    block
        Hours in a block as the entry asks for it; the store has one hour in a chunk, as ARCO-ERA5.
    """
    field = da.zeros((steps, *GRID), chunks=(steps, *GRID), dtype=np.float32)
    dims = ("time", "latitude", "longitude")
    ds = xr.Dataset(
        {name: (dims, field, {"units": "K"}) for name in VARIABLES},
        coords={
            "time": np.datetime64("1979-01-01", "ns") + np.arange(steps) * np.timedelta64(1, "h"),
            "latitude": np.linspace(90, -90, GRID[0]),
            "longitude": np.arange(GRID[1]) * 0.25,
        },
    )
    encoding = {name: {"chunks": (1, *GRID)} for name in VARIABLES}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of consolidated metadata, which Zarr 3 does not specify
        ds.to_zarr(folder / "hourly.zarr", compute=False, encoding=encoding)
    entry = {
        "title": "hourly fields without values",
        "path": "hourly.zarr",
        "licence": "none",
        "citation": "none",
        "resolution_deg": 0.25,
        "step": "1h",
        "variables": list(VARIABLES),
        "chunks": {"time": block},
    }
    path = folder / "hourly.yaml"
    path.write_text(yaml.safe_dump(entry), encoding="utf-8")
    return path


def seconds_to_index(entry: Path, *, period: tuple[str, str]) -> tuple[float, int]:
    """Return the seconds to open an entry and find the times of a period, and their number."""
    start = time.perf_counter()
    ds = orbitds.open_dataset(entry)
    chosen = ds.indexes["time"].slice_indexer(*period)
    count = len(range(*chosen.indices(ds.sizes["time"])))
    return time.perf_counter() - start, count


def main() -> None:
    """Print the seconds of the first and the second time, for blocks of an hour and of a day."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args().steps
    for block in (24, 1):
        with tempfile.TemporaryDirectory() as folder:
            entry = write_store(Path(folder), steps=steps, block=block)
            for run in ("first", "second"):
                seconds, count = seconds_to_index(entry, period=("1979", "2020"))
                print(f"blocks of {block} h, {run} time: {count} times in {seconds:.2f} s")


if __name__ == "__main__":
    main()
