"""Steps of training on one GPU and several: python eval/bench_train.py --help.

    torchrun --nproc-per-node 2 eval/bench_train.py weak sequence tensor ten
    python eval/bench_train.py giant save

``weak``: each process has a batch of its own (FSDP, and copies that share the tiles of a field).
``sequence`` and ``tensor``: all processes share one batch. Each is compared with the main process
alone, the others waiting. ``ten``: the 10B size, five steps on one batch. ``giant``: one step on
11520 x 23040 fine cells of 18 variables, tile after tile. ``save``: what an asynchronous state of
the 1B size costs. A step is the run's own: forward, loss, backward, clipping, AdamW; bfloat16 with
float32 weights, blocks compiled; fields are random and on the device.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from training_run import FACTOR, GLOBE, OUTPUTS, TINY, Run, alone, mesh_of, peak_gib, reset

from orbitds.config import ModelConfig, SaveConfig, model_preset
from orbitds.train.launch import ALONE, Launch, launched
from orbitds.train.mesh import Mesh
from orbitds.train.states import States

GIANT, GIANT_TILES, HALO = (2880, 5760), (16, 16), 2
WEAK = {"reslim_9m_h128": 4, "reslim_126m_h128": 4, "reslim_1b": 1}
"""Presets, and samples of each process."""


def shared(name: str, launch: Launch, device: torch.device, options: Any) -> list[dict]:  # noqa: ANN401
    """Measure a way to share work against one process."""
    ways = {
        "weak": [{"shard": launch.world}, {"tiles": launch.world}],
        "sequence": [{"sequence": launch.world}],
        "tensor": [{"tensor": launch.world}],
    }[name]
    rows = []
    for preset in options.sizes:
        batch = WEAK[preset]
        model, grid = _model(preset, options), _grid(options)
        settings = {"grid": grid, "batch": batch}
        one = alone(
            lambda s=settings, m=model: _time(m, mesh_of({}, ALONE, device), device, s), launch
        )
        for sizes in ways:
            mesh = mesh_of(sizes, launch, device)
            more = _time(model, mesh, device, settings)
            # the same work for each process, or the same work for all of them
            gain = one / more if name == "weak" else one / (launch.world * more)
            told = " ".join(f"{axis} {size}" for axis, size in sizes.items())
            row = {"case": f"{preset} {told}", "one_ms": one, "ms": more, "efficiency": gain}
            row |= {"gib": peak_gib(device), "batch": batch}
            rows.append(row)
            _say(launch, row)
    return rows


def ten(launch: Launch, device: torch.device, options: Any) -> list[dict]:  # noqa: ANN401
    """Train the 10B size for five steps on one batch."""
    model = _model("reslim_10b_h128", options)
    start = time.perf_counter()
    mesh = mesh_of({"shard": launch.world}, launch, device)
    run = Run(
        model, mesh, device, grid=_grid(options), batch=1, checkpointing="full", compile=False
    )
    built = time.perf_counter() - start
    reset(device)
    losses, times = [], []
    for _ in range(6):
        begin = time.perf_counter()
        losses.append(run.step())
        times.append(1e3 * (time.perf_counter() - begin))
    row = {"case": "10B, batch 1 a process, full recompute", "parameters": run.parameters}
    row |= {"built_s": built, "ms": statistics.median(times[1:]), "gib": peak_gib(device)}
    row |= {"losses": losses}
    _say(launch, row)
    return [row]


def giant(launch: Launch, device: torch.device, options: Any) -> list[dict]:  # noqa: ANN401
    """Take one step on a kilometre-scale globe, tile after tile."""
    tiles = (2, 2) if options.tiny else GIANT_TILES
    size = (32, 64) if options.tiny else GIANT
    grid = size[0] // tiles[0] + 2 * HALO, size[1] // tiles[1] + 2 * HALO
    outputs = [OUTPUTS[number % 3] for number in range(18)]
    model = _model("reslim_9m_h128", options).model_copy(update={"compression": 4.0})
    mesh = mesh_of({}, launch, device)
    count = tiles[0] * tiles[1]
    run = Run(model, mesh, device, grid=grid, batch=1, outputs=outputs, parts=count)
    run.in_parts(2)
    run.step()  # warms up
    run.in_parts(count)
    reset(device)
    times = run.step_ms(2)
    row = {"case": f"{FACTOR * size[0]}x{FACTOR * size[1]}x18, {count} tiles, 4x compression"}
    row |= {"s": min(times) / 1e3, "gib": peak_gib(device), "tile": grid}
    _say(launch, row)
    return [row]


def save(launch: Launch, device: torch.device, options: Any) -> list[dict]:  # noqa: ANN401
    """Measure what asynchronous states cost the steps beside them."""
    mesh = mesh_of({}, launch, device)
    run = Run(_model("reslim_1b", options), mesh, device, grid=_grid(options), batch=1)
    steps = 6 if options.tiny else 60
    for _ in range(3):
        run.step()
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        states = States(Path(folder), SaveConfig(keep_last=1), launch, None)
        for saves in (False, True, True):  # the first state also makes its buffers
            times, stall = [], 0.0
            for number in range(steps):
                begin = time.perf_counter()
                if saves and number == 2:
                    states.save(run.number, run.engine.state(), {"step": run.number})
                    stall = time.perf_counter() - begin
                run.step()
                states.poll()
                times.append(time.perf_counter() - begin)
            states.wait()
            rows.append({"saves": saves, "s": sum(times), "call_s": stall, "steps": steps})
    plain, first, later = (row["s"] for row in rows)
    step = plain / steps
    row = {"case": "1B, one state", "step_ms": 1e3 * step, "gib": peak_gib(device)}
    row |= {"first_extra_s": first - plain, "extra_s": later - plain}
    row |= {"call_s": rows[2]["call_s"], "share_of_100_steps": (later - plain) / (100 * step)}
    _say(launch, row)
    return [row]


def _time(model: ModelConfig, mesh: Mesh, device: torch.device, settings: dict) -> float:
    reset(device)
    run = Run(model, mesh, device, **settings)
    return run.median_ms()


def _model(preset: str, options: Any) -> ModelConfig:  # noqa: ANN401
    return TINY if options.tiny else model_preset(preset)


def _grid(options: Any) -> tuple[int, int]:  # noqa: ANN401
    return (8, 16) if options.tiny else GLOBE


def _say(launch: Launch, row: dict) -> None:
    if launch.is_main:
        print(json.dumps(row), flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    names = ["weak", "sequence", "tensor", "ten", "giant", "save"]
    parser.add_argument("cases", nargs="+", choices=names)
    parser.add_argument(
        "--sizes", nargs="+", choices=WEAK, default=list(WEAK), help="presets to take"
    )
    parser.add_argument("--tiny", action="store_true", help="a small model and field: a rehearsal")
    parser.add_argument("--folder", type=Path, help="where to write states; a temporary one")
    parser.add_argument("--json", type=Path, help="write the rows there too")
    options = parser.parse_args()
    rows = []
    with launched("auto") as (launch, device):
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
        told = {"machine": name, "processes": launch.world, "torch": torch.__version__}
        _say(launch, told | {"python": platform.python_version()})
        for case in options.cases:
            if case in ("weak", "sequence", "tensor"):
                rows += shared(case, launch, device, options)
            else:
                rows += {"ten": ten, "giant": giant, "save": save}[case](launch, device, options)
        if options.json and launch.is_main:
            options.json.write_text(json.dumps([told, *rows], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
