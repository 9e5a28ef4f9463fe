"""Inference from one map to a kilometre-scale globe: python eval/bench_infer.py --help.

    python eval/bench_infer.py forward zarr quarter giant                          # on a GPU
    python eval/bench_infer.py demo flat --checkpoint orbitds-demo/checkpoint      # on a CPU

``forward``: the model alone, 23 variables on 180x360 to 3 on 720x1440, and the same through
``Downscaler``, from an array to an array. ``zarr``: from Zarr to Zarr, by what `orbitds infer`
runs. ``quarter``: 720x1440 to 2880x5760 in tiles, from Zarr to Zarr. ``giant``: 5400x10800 to
21600x43200 of 18 variables, from fields that are made when they are read to a writer that keeps
nothing. ``demo``: the test years of a demo. ``flat``: memory over times. Weights and fields are
random; ``demo`` and ``flat`` take the checkpoint that is given.
"""

import argparse
import json
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import torch
import xarray as xr

from orbitds.catalog import open_dataset
from orbitds.checkpoint import save_checkpoint
from orbitds.config import InferConfig, ModelConfig, model_preset
from orbitds.data.history import enter_with_earlier
from orbitds.infer.downscaler import Downscaler
from orbitds.infer.engine import Computed, Engine
from orbitds.infer.pipeline import Spent, work
from orbitds.infer.run import run
from orbitds.infer.units import UNIT_BYTES, Unit, plan_units
from orbitds.model.build import build
from orbitds.normalize import Statistics
from orbitds.variables import variable

GIB = 2**30
FACTOR = 4
OUTPUTS = ("total_precipitation_24hr", "2m_temperature_min", "2m_temperature_max")
INPUTS = (
    *OUTPUTS,
    "2m_temperature",
    *(
        f"{name}_{level}"
        for name in (
            "temperature",
            "specific_humidity",
            "u_component_of_wind",
            "v_component_of_wind",
        )
        for level in (200, 500, 850)
    ),
    "10m_u_component_of_wind",
    "10m_v_component_of_wind",
    "volumetric_soil_water_layer_1",
    "surface_pressure",
    "mean_sea_level_pressure",
    "total_column_water_vapour",
    "total_cloud_cover",
)
MORE = (*INPUTS[3:18],)
"""With ``OUTPUTS`` the 18 outputs of the largest field."""


def made_checkpoint(
    folder: Path,
    grid: tuple[int, int],
    outputs: tuple[str, ...],
    options: argparse.Namespace,
    **changes: Any,  # noqa: ANN401  of the architecture
) -> Path:
    """Write a checkpoint with weights at random for a global grid."""
    preset = "tiny" if options.tiny else options.preset
    config = ModelConfig.model_validate(model_preset(preset).model_dump() | changes)
    torch.manual_seed(0)
    model = build(config, inputs=INPUTS, outputs=outputs, factor=FACTOR)
    with torch.no_grad():
        for weight in model.parameters():  # those that start at zero would be the base alone
            weight.add_(0.01 * torch.randn_like(weight))
    spacing = 111.2 * 180 / grid[0]
    save_checkpoint(
        folder,
        model,
        statistics={name: Statistics(mean=_middle(name), std=_deviation(name)) for name in INPUTS},
        spacing_km=(spacing, spacing / FACTOR),
        provenance={"made": "at random"},
    )
    return folder


def fields(
    grid: tuple[int, int], times: int, *, lazy: bool, chunk_rows: int | None = None
) -> xr.Dataset:
    """Return random global fields of all inputs, within what is plausible."""
    rows, columns = grid
    step = 180 / rows
    coords = {
        "time": np.datetime64("2020-01-01", "ns") + np.arange(times) * np.timedelta64(1, "D"),
        "latitude": ("latitude", 90 - step * (np.arange(rows) + 0.5), {"units": "degrees_north"}),
        "longitude": ("longitude", step * (np.arange(columns) + 0.5), {"units": "degrees_east"}),
    }
    chunks = (1, chunk_rows or rows, columns)

    def values(name: str) -> np.ndarray | dask.array.Array:
        def block(block_info: Any = None) -> np.ndarray:  # noqa: ANN401  dask's
            place = block_info[None]
            generator = np.random.default_rng([*place["chunk-location"], len(name)])
            noise = generator.random(place["chunk-shape"], dtype=np.float32)
            return _middle(name) + _deviation(name) * (noise - np.float32(0.5))

        shape = (times, rows, columns)
        made = dask.array.map_blocks(
            block, chunks=dask.array.core.normalize_chunks(chunks, shape), dtype=np.float32
        )
        return made if lazy else made.compute()

    return xr.Dataset(
        {
            name: (
                ("time", "latitude", "longitude"),
                values(name),
                {"units": variable(name).units},
            )
            for name in INPUTS
        },
        coords=coords,
    )


def forward(options: argparse.Namespace, folder: Path) -> list[dict]:
    """Measure the model alone, and blocks through the downscaler."""
    grid = (18, 36) if options.tiny else (180, 360)
    path = made_checkpoint(folder / "model", grid, OUTPUTS, options)
    batch = 2 if options.tiny else options.batch
    blocks = fields(grid, 4 * batch, lazy=False)
    downscaler = Downscaler(path, device=options.device, batch_size=batch)
    rows = []
    model = downscaler.checkpoint.model.to(options.device)
    told = {
        "latitude_deg": torch.linspace(89, -89, grid[0], device=options.device).expand(batch, -1),
        "longitude_deg": torch.linspace(1, 359, grid[1], device=options.device).expand(batch, -1),
        "spacing_km": torch.tensor([112.0, 28.0], device=options.device).expand(batch, 2),
        "periodic": True,
    }
    coarse = torch.randn(batch, len(INPUTS), *grid, device=options.device)
    kind = torch.device(options.device).type
    half = kind == "cuda"

    def alone() -> None:
        with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=half):
            model(coarse, **told)

    seconds = _median(alone, options.device)
    rows.append(_row("the model alone", batch / seconds, "samples/s", options))
    seconds = _median(lambda: downscaler(blocks), options.device, repeats=5)
    rows.append(_row("Downscaler, array to array", 4 * batch / seconds, "samples/s", options))
    return rows


def zarr(options: argparse.Namespace, folder: Path) -> list[dict]:
    """Run a job at one degree from Zarr to Zarr."""
    grid, times = ((18, 36), 12) if options.tiny else ((180, 360), options.times)
    path = made_checkpoint(folder / "model", grid, OUTPUTS, options)
    source = folder / "coarse.zarr"
    fields(grid, times, lazy=True).chunk(time=16).to_zarr(source, consolidated=False)
    rows = [_job("zarr to zarr", path, source, folder, options)]
    rows += [_shared(count, path, source, folder, options) for count in options.processes]
    return rows


def quarter(options: argparse.Namespace, folder: Path) -> list[dict]:
    """Run a job at a quarter of a degree from Zarr to Zarr, in tiles."""
    grid, times = ((24, 48), 2) if options.tiny else ((720, 1440), 16)
    path = made_checkpoint(folder / "model", grid, OUTPUTS, options)
    source = folder / "coarse.zarr"
    fields(grid, times, lazy=True).to_zarr(source, consolidated=False)
    return [_job("0.25 to 0.0625 degrees", path, source, folder, options, tiles="4x4")]


def giant(options: argparse.Namespace, folder: Path) -> list[dict]:
    """Compute a field of a kilometre band by band, and keep nothing of it."""
    grid, tiles = ((48, 96), (4, 4)) if options.tiny else ((5400, 10800), (60, 60))
    outputs = (*OUTPUTS, *MORE)
    path = made_checkpoint(folder / "model", grid, outputs, options)
    told = {"checkpoint": path, "tiles": tiles, "device": options.device}
    # chunks of whole rows of tiles, as a store of such fields would have
    coarse = fields(grid, 1, lazy=True, chunk_rows=grid[0] // tiles[0])
    entered = enter_with_earlier(coarse, INPUTS, missing="error")
    engine = Engine(entered.ds, entered.layout, told)
    row_bytes = 4 * len(outputs) * FACTOR**2 * grid[1]
    units = plan_units(1, row_bytes, engine.row_edges, 1 if options.tiny else UNIT_BYTES)
    spent, seen = Spent(), []

    def nowhere(_: Unit, computed: Computed) -> None:
        seen.append(sum(values.size for values in computed.fields.values()))

    def never(_: Unit, __: Exception) -> bool:
        return False

    _reset(options.device)
    started = time.perf_counter()
    work(
        iter(units),
        engine.read,
        engine.compute,
        nowhere,
        spent=spent,
        stops=lambda: False,
        failed=never,
        report=lambda _: None,
    )
    seconds = time.perf_counter() - started
    case = f"{FACTOR * grid[0]}x{FACTOR * grid[1]}x{len(outputs)} in {len(units)} bands"
    row = _row(case, seconds, "s", options) | {"values": sum(seen)}
    return [row | {"reading_s": spent.reading_s, "computing_s": spent.computing_s}]


def _job(
    case: str,
    path: Path,
    source: Path,
    folder: Path,
    options: argparse.Namespace,
    tiles: str | None = None,
) -> dict:
    told = {
        "input": (str(source),),
        "checkpoint": str(path),
        "device": options.device,
        "tiles": tiles or "auto",
    }
    with open_dataset(str(source)) as coarse:
        first = str(coarse["time"].values[1])[:10]
    # a short one before: kernels are chosen and buffers made
    run(InferConfig(**told, output=folder / "first.zarr", time=f":{first}"))
    shutil.rmtree(folder / "first.zarr")
    _reset(options.device)
    summary = run(InferConfig(**told, output=folder / "fine.zarr"))
    row = _row(case, summary.times / summary.seconds, "samples/s", options)
    for name in ("seconds", "reading_s", "computing_s", "writing_s", "times"):
        row[name] = round(getattr(summary, name), 2)
    size = sum(file.stat().st_size for file in (folder / "fine.zarr").rglob("*") if file.is_file())
    shutil.rmtree(folder / "fine.zarr")
    return row | {"stored_gib": round(size / GIB, 3)}


def _shared(
    count: int, path: Path, source: Path, folder: Path, options: argparse.Namespace
) -> dict:
    """Run a job in several processes that share the device, as torchrun or --share starts them."""
    output = folder / "shared.zarr"
    command = [sys.executable, "-m", "orbitds", "infer", str(source), "--checkpoint", str(path)]
    command += ["--output", str(output), "--device", options.device, "--json"]
    started = time.perf_counter()
    running = [
        subprocess.Popen([*command, "--share", f"{number}/{count}"], stdout=subprocess.PIPE)
        for number in range(1, count + 1)
    ]
    told = [json.loads(process.communicate()[0]) for process in running]
    wall = time.perf_counter() - started
    times = sum(one["times"] for one in told)
    # over the longest of their own times; wall_s has the start of Python too
    row = _row(
        f"zarr to zarr, {count} processes",
        times / max(one["seconds"] for one in told),
        "samples/s",
        options,
    )
    shutil.rmtree(output)
    return row | {"times": times, "wall_s": round(wall, 2), "gpu_gib": None, "host_gib": None}


def demo(options: argparse.Namespace, _: Path) -> list[dict]:
    """Downscale the test years of the demo, from array to array."""
    _, coarse = _of_demo(options)
    started = time.perf_counter()
    coarse.orbit.downscale(options.checkpoint, device=options.device)
    seconds = time.perf_counter() - started
    return [_row(f"demo, {coarse.sizes['time']} months", seconds, "s", options)]


def flat(options: argparse.Namespace, folder: Path) -> list[dict]:
    """Run a long job; its memory after a tenth and at its end."""
    _, coarse = _of_demo(options)
    count = 100 if options.tiny else 1000
    longer = coarse.isel(time=np.arange(count) % coarse.sizes["time"])
    longer = longer.assign_coords(
        time=np.datetime64("1900-01-01", "ns") + np.arange(count) * np.timedelta64(30, "D")
    )
    longer.to_netcdf(folder / "coarse.nc")
    rows = []
    for times in (count // 10, count):
        label = str(longer["time"].values[times - 1])[:10]
        told = {"checkpoint": options.checkpoint, "device": options.device, "time": f":{label}"}
        run(
            InferConfig(input=(str(folder / "coarse.nc"),), output=folder / f"{times}.zarr", **told)
        )
        rows.append(_row(f"{times} times, memory", _host_gib(), "GiB", options))
    return rows


def _of_demo(options: argparse.Namespace) -> tuple[Path, xr.Dataset]:
    if options.checkpoint is None:
        raise SystemExit("wanted --checkpoint, that of `orbitds demo`, got none")
    folder = Path(options.checkpoint)
    with open_dataset(str(folder.parent / "coarse.nc")) as coarse:
        return folder, coarse.load()


def _median(call: Callable[[], object], device: str, repeats: int = 20) -> float:
    """Return the median seconds of a call after three to warm up."""
    for _ in range(3):
        call()
    times = []
    for _ in range(repeats):
        _wait(device)
        start = time.perf_counter()
        call()
        _wait(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _row(case: str, value: float, unit: str, options: argparse.Namespace) -> dict:
    is_gpu = torch.device(options.device).type == "cuda"
    peak = torch.cuda.max_memory_allocated() / GIB if is_gpu else None
    row = {"case": case, unit: float(f"{value:.4g}"), "gpu_gib": peak and round(peak, 2)}
    return row | {"host_gib": round(_host_gib(), 2)}


def _host_gib() -> float:
    """Return the most that this process has held in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def _reset(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _middle(name: str) -> np.float32:
    low, high = variable(name).plausible
    return np.float32((low + high) / 2)


def _deviation(name: str) -> np.float32:
    low, high = variable(name).plausible
    return np.float32((high - low) / 10)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    cases = {
        "forward": forward,
        "zarr": zarr,
        "quarter": quarter,
        "giant": giant,
        "demo": demo,
        "flat": flat,
    }
    parser.add_argument("cases", nargs="+", choices=cases)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--preset", default="reslim_9m", help="of configs/model")
    parser.add_argument("--batch", type=int, default=4, help="samples at once, of `forward`")
    parser.add_argument("--times", type=int, default=512, help="of `zarr`")
    parser.add_argument(
        "--processes",
        type=int,
        nargs="*",
        default=[],
        help="of `zarr`: also by so many that share the device",
    )
    parser.add_argument("--checkpoint", help="that of `orbitds demo`, for `demo` and `flat`")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder")
    parser.add_argument("--tiny", action="store_true", help="a small model and field: a rehearsal")
    parser.add_argument("--json", type=Path, help="write the rows there too")
    options = parser.parse_args()
    is_gpu = torch.device(options.device).type == "cuda"
    machine = torch.cuda.get_device_name() if is_gpu else platform.processor()
    told = {"machine": machine, "torch": torch.__version__, "python": platform.python_version()}
    rows: list[dict] = [told | {"preset": options.preset}]
    print(json.dumps(rows[0]), flush=True)
    for case in options.cases:
        _reset(options.device)
        with tempfile.TemporaryDirectory(dir=options.folder) as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of stores without consolidated metadata
            found = cases[case](options, Path(folder))
        rows += found
        for row in found:
            print(json.dumps(row), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
