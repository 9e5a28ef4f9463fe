"""What a run writes down of how it was made: versions, processes, and the data it has seen."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from orbitds.config import TrainConfig
from orbitds.train.launch import Launch
from orbitds.train.setting import Setting

RECORD = "run.json"
_PACKAGES = ("orbitds", "torch", "numpy", "xarray", "zarr")


def write_record(
    config: TrainConfig,
    settings: Sequence[Setting],
    launch: Launch,
    device: torch.device,
    output: Path,
) -> None:
    """Write ``run.json``: seed, data, and of each start versions, revision, device and processes.

    Raises
    ------
    ValueError
        If the run in the folder has seen other data.
    """
    data = {setting.pair.name: fingerprint(setting) for setting in settings}
    path = output / RECORD
    record = {"seed": config.seed, "data": data, "starts": []}
    if path.exists():
        record = json.loads(path.read_text(encoding="utf-8"))
        if other := [name for name, found in data.items() if record["data"].get(name) != found]:
            raise ValueError(
                f"Wanted the data that the run in {output} has seen, got others of "
                f"{', '.join(other)}: variables, times, grids or values differ. Bring the data "
                "back, or start a new run."
            )
    is_gpu = device.type == "cuda"
    record["starts"].append(
        {
            "versions": {name: metadata.version(name) for name in _PACKAGES},
            "python": platform.python_version(),
            "revision": _revision(),
            "device": torch.cuda.get_device_name(device) if is_gpu else platform.machine(),
            "processes": launch.world,
        }
    )
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def fingerprint(setting: Setting) -> str:
    """Return a hash of what a pair is to a run: names, times, grids, statistics, three samples.

    The other values are not hashed: a century of them would be read for it.
    """
    pair, digest = setting.pair, hashlib.sha256()
    statistics = {name: row.model_dump() for name, row in sorted(setting.statistics.items())}
    times = [str(time) for time in pair.coarse.indexes["time"]]
    told = (
        pair.inputs,
        pair.outputs,
        pair.static_names,
        pair.factor,
        pair.split,
        statistics,
        times,
    )
    digest.update(json.dumps(told, default=list).encode())
    for grid in (pair.coarse_grid, pair.fine_grid):
        for axis in (grid.latitude_deg, grid.longitude_deg):
            digest.update(np.ascontiguousarray(axis, dtype=np.float64).tobytes())
    last = len(setting.train) - 1
    for part in setting.train.reader.read([0, last // 2, last])[:3]:
        digest.update(part.numpy().tobytes())
    return digest.hexdigest()


def _revision() -> str | None:
    """Return the revision of a checkout, with a mark where it was changed; None without one."""
    package = Path(__file__).parents[1]
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        told = subprocess.run(command, cwd=package, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return told.stdout.strip()
