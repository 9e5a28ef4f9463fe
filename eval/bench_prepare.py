"""Time and memory of `orbitds prepare` on hourly fields like ERA5's: python eval/bench_prepare.py.

The source is generated as it is read and never written: 2 m temperature and precipitation on
721 x 1440 points, one hour a chunk, as the public stores have them. The store has daily
precipitation, minimum and maximum temperature on 720 x 1440 cells, and these with the mean on
180 x 360. With --codecs, instead: what reading one time costs by codec and by sharding.
"""

import argparse
import resource
import shutil
import tempfile
import time
from pathlib import Path

import dask.array
import numpy as np
import xarray as xr
import zarr
from scipy.ndimage import gaussian_filter
from zarr.codecs import BloscCodec, ZstdCodec

from orbitds.data import source
from orbitds.data.plan import plan
from orbitds.data.prepare import prepare
from orbitds.data.recipe import Recipe

ROWS, COLUMNS = 721, 1440
ENTRY = (
    "title: x\npath: x.nc\nlicence: x\ncitation: x\nresolution_deg: 0.25\nvariables: [orography]\n"
)
PAIR = """title: hourly to daily
fine: {folder}/hourly.yaml
coarse: {{coarsen: 4}}
aggregate: day
inputs: [2m_temperature, 2m_temperature_min, 2m_temperature_max, total_precipitation_24hr]
outputs: [2m_temperature_min, 2m_temperature_max, total_precipitation_24hr]
split: {{train: ["2001", "2001"], validate: ["2002", "2002"], test: ["2003", "2003"]}}
"""


def hourly(gigabytes: float) -> xr.Dataset:
    """Return lazy fields of that logical size."""
    hours = round(gigabytes * 1e9 / (2 * 4 * ROWS * COLUMNS))
    rng = np.random.default_rng(0)
    pattern = gaussian_filter(rng.normal(size=(ROWS, COLUMNS)), 4, mode=("nearest", "wrap"))
    pattern = (pattern / pattern.std()).astype(np.float32)
    longitude = np.arange(COLUMNS, dtype=np.float32) * 360 / COLUMNS

    def temperature(block_info: dict) -> np.ndarray:
        hour = block_info[None]["array-location"][0][0]
        wave = 8 * np.sin(np.deg2rad(longitude + 15 * hour)) - hour / 1000
        return (280 + 5 * np.roll(pattern, hour, axis=1) + wave)[None].astype(np.float32)

    def precipitation(block_info: dict) -> np.ndarray:
        hour = block_info[None]["array-location"][0][0]
        return (1e-3 * np.clip(np.roll(pattern, -hour, axis=1) - 1, 0, None))[None]

    shape, chunks = (hours, ROWS, COLUMNS), ((1,) * hours, (ROWS,), (COLUMNS,))
    dims = ("time", "latitude", "longitude")
    fields = {}
    for name, units, make in (("t2m", "K", temperature), ("tp", "m", precipitation)):
        meta = np.empty((0, 0, 0), np.float32)
        data = dask.array.map_blocks(make, chunks=chunks, dtype=np.float32, meta=meta, name=name)
        assert data.shape == shape
        fields[name] = (dims, data, {"units": units})
    return xr.Dataset(
        fields,
        coords={
            "time": xr.date_range("2001-01-01", periods=hours, freq="h"),
            "latitude": np.linspace(90, -90, ROWS),
            "longitude": longitude.astype(np.float64),
        },
    )


def run(gigabytes: float, dtype: str, workers: int) -> None:
    """Prepare a store and print time, size and the largest resident memory."""
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "hourly.yaml").write_text(ENTRY, encoding="utf-8")
        (folder / "pair.yaml").write_text(PAIR.format(folder=folder), encoding="utf-8")
        ds = hourly(gigabytes)
        # the only source that is no file; all behind it is what the command runs
        source.open_dataset = lambda _: ds
        recipe = Recipe(pair=str(folder / "pair.yaml"), dtype=dtype, resolution_deg=0.25)
        print(plan(recipe).describe())
        began = time.perf_counter()
        store = prepare(recipe, folder / "store.zarr", workers=workers)
        seconds = time.perf_counter() - began
        size = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    finally:
        shutil.rmtree(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{ds.nbytes / 1e9:.1f} GB of {ds.sizes['time']} hours in {seconds:.0f} s "
        f"({ds.nbytes / 1e6 / seconds:.0f} MB/s), store {size / 1e9:.2f} GB, "
        f"largest resident memory {peak:.2f} GiB"
    )


def codecs() -> None:
    """Print what reading one time of 23 smooth variables costs, by codec and sharding."""
    rng = np.random.default_rng(0)
    times, shape = 32, (23, 180, 360)
    waves = np.stack(
        [
            gaussian_filter(rng.normal(size=shape[1:]), width, mode=("nearest", "wrap")) * width
            for width in np.linspace(2, 12, shape[0])
        ]
    )
    data = np.stack([280 + 20 * np.roll(waves, time, axis=2) for time in range(times)])
    packed = np.rint((data - 255) / 85 * 32767).clip(-32767, 32767).astype(np.int16)
    choices = {
        "none": None,
        "zstd 1": ZstdCodec(level=1),
        "blosc zstd 1, shuffle": BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
        "blosc lz4, bitshuffle": BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),
        "blosc lz4, shuffle": BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"),
    }
    print("| dtype | codec | shards of 32: ms | MB/s | single files: ms | MB/s | smaller by |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for values in (data.astype(np.float32), packed):
        for name, codec in choices.items():
            cells = []
            for shards in ((times, *shape), None):
                with tempfile.TemporaryDirectory() as folder:
                    array = zarr.create_array(
                        folder,
                        shape=values.shape,
                        dtype=values.dtype,
                        chunks=(1, *shape),
                        shards=shards,
                        compressors=codec,
                    )
                    array[:] = values
                    size = sum(path.stat().st_size for path in Path(folder).rglob("*"))
                    best = min(_reading(array, rng.permutation(times)) for _ in range(5))
                cells.append(f"{1e3 * best:.1f} | {values[0].nbytes / best / 1e6:.0f}")
            ratio = values.nbytes / size
            print(f"| {values.dtype} | {name} | {' | '.join(cells)} | {ratio:.2f} |")


def _reading(array: zarr.Array, order: np.ndarray) -> float:
    began = time.perf_counter()
    for step in order:
        array[int(step)]
    return (time.perf_counter() - began) / len(order)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=20)
    parser.add_argument("--dtype", default="float32", choices=["float32", "int16"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--codecs", action="store_true")
    arguments = parser.parse_args()
    if arguments.codecs:
        codecs()
    else:
        run(arguments.gigabytes, arguments.dtype, arguments.workers)
