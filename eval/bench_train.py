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
import gc
import itertools
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist

from orbitds.config import (
    ModelConfig,
    OptimConfig,
    ParallelConfig,
    SaveConfig,
    TrainConfig,
    model_preset,
)
from orbitds.data.batch import Sample
from orbitds.data.loader import Loaded
from orbitds.model.build import build
from orbitds.train.engine import TorchEngine
from orbitds.train.launch import ALONE, Launch, launched
from orbitds.train.mesh import Mesh, make_mesh
from orbitds.train.states import States
from orbitds.train.step import Numbers, take_step

GIB = 2**30
INPUTS = tuple(f"variable_{number}" for number in range(23))
OUTPUTS = ("total_precipitation_24hr", "2m_temperature_min", "2m_temperature_max")
FACTOR = 4
GLOBE, GIANT, GIANT_TILES, HALO = (180, 360), (2880, 5760), (16, 16), 2
WEAK = {"reslim_9m_h128": 4, "reslim_126m_h128": 4, "reslim_1b": 1}
"""Presets, and samples of each process."""
ONE_MS: dict[str, float] = {}
"""What a preset takes in the main process alone, once measured."""
TINY = ModelConfig(width=16, depth=2, heads=2, decoder_depth=1, correction_width=4)


class Run:
    """A model in training on random fields."""

    def __init__(
        self,
        model: ModelConfig,
        mesh: Mesh,
        device: torch.device,
        *,
        grid: tuple[int, int],
        batch: int,
        outputs: Sequence[str] = OUTPUTS,
        parts: int = 1,
        **changes: Any,  # noqa: ANN401  of TrainConfig
    ) -> None:
        settings = {
            "pair": "random",
            "model": model,
            "dtype": "bfloat16" if device.type == "cuda" else "float32",
            "compile": device.type == "cuda",
            "accumulate": parts,
            "batch_size": parts,
            "optim": OptimConfig(lr=1e-4, warmup_steps=0),
        }
        self.config = TrainConfig(**(settings | changes))
        self.mesh, self.device, self.grid, self.batch = mesh, device, grid, batch
        self.outputs, self.number = tuple(outputs), 0
        torch.manual_seed(0)
        built = build(model, inputs=INPUTS, outputs=self.outputs, factor=FACTOR)
        self.parameters = sum(weight.numel() for weight in built.parameters())
        if not mesh.is_shared or mesh.sizes["tensor"] > 1:
            built = built.to(device)
        self.engine = TorchEngine(built, self.config, mesh)
        pair = SimpleNamespace(outputs=self.outputs)
        told = {"pair": pair, "tiles": SimpleNamespace(wraps=False), "forward": self._forward}
        self.settings: Any = [SimpleNamespace(**told)]
        self.sample = self._sample()

    def step(self) -> float:
        """Take a step and return its loss."""
        return self._take().read()[0]

    def median_ms(self, repeats: int = 10) -> float:
        """Return the median time from step to step after three to warm up.

        As in a run the numbers of a step are read while the next one is at work.
        """
        pending, ends = self._take(), []
        for _ in range(3 + repeats):
            taken = self._take()
            pending.read()
            ends.append(1e3 * time.perf_counter())
            pending = taken
        return statistics.median(later - end for end, later in itertools.pairwise(ends[2:]))

    def _take(self) -> Numbers:
        self.number += 1
        return take_step(
            self.engine, self._parts(), self.settings, self.config, self.mesh, step=self.number
        )

    def _parts(self) -> Iterator[Loaded]:
        for part in range(self.config.accumulate):
            # another field for each part, at the price of one pass over it
            yield Loaded(
                0, self.sample._replace(coarse=self.sample.coarse + 1e-3 * part), [part], part
            )

    def _sample(self) -> Sample:
        rows, columns = self.grid
        batch, device = self.batch, self.device
        generator = torch.Generator(device).manual_seed(self.mesh.data_rank)

        def random(*shape: int) -> torch.Tensor:
            return torch.randn(batch, *shape, device=device, generator=generator)

        fine = (FACTOR * rows, FACTOR * columns)
        none = torch.zeros(batch, 0, *fine, device=device)
        coarse = random(len(INPUTS), rows, columns)
        # something that can be learned
        target = coarse[:, : len(self.outputs)] + 0.5
        latitude = torch.linspace(89.5, -89.5, rows, device=device).expand(batch, -1)
        longitude = torch.linspace(0.5, 359.5, columns, device=device).expand(batch, -1)
        return Sample(
            coarse=coarse,
            fine=torch.nn.functional.interpolate(target, scale_factor=FACTOR),
            weight=torch.ones(batch, 1, *fine, device=device),
            statics=none,
            fine_climatology=none,
            coarse_climatology=none,
            latitude_deg=latitude,
            longitude_deg=longitude,
            spacing_km=torch.tensor([112.0, 28.0], device=device).expand(batch, 2),
        )

    @staticmethod
    def _forward(model: Any, batch: Sample, noise: None = None) -> Any:  # noqa: ANN401  as Setting
        return model.predict(
            batch.coarse,
            latitude_deg=batch.latitude_deg,
            longitude_deg=batch.longitude_deg,
            spacing_km=batch.spacing_km,
            noise=noise,
        )


def alone(call: Any, launch: Launch) -> float:  # noqa: ANN401
    """Call something in the main process while the others wait; all learn the result."""
    told = [call() if launch.is_main else 0.0]
    if launch.master is not None:
        dist.barrier()
        dist.broadcast_object_list(told)
    return told[0]


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
            lambda s=settings, m=model: _time(m, _mesh({}, ALONE, device), device, s), launch
        )
        for sizes in ways:
            mesh = _mesh(sizes, launch, device)
            more = _time(model, mesh, device, settings)
            # the same work for each process, or the same work for all of them
            gain = one / more if name == "weak" else one / (launch.world * more)
            told = " ".join(f"{axis} {size}" for axis, size in sizes.items())
            row = {"case": f"{preset} {told}", "one_ms": one, "ms": more, "efficiency": gain}
            row |= {"gib": _peak(device), "batch": batch}
            rows.append(row)
            _say(launch, row)
    return rows


def ten(launch: Launch, device: torch.device, options: Any) -> list[dict]:  # noqa: ANN401
    """Train the 10B size for five steps on one batch."""
    model = _model("reslim_10b_h128", options)
    start = time.perf_counter()
    mesh = _mesh({"shard": launch.world}, launch, device)
    run = Run(
        model, mesh, device, grid=_grid(options), batch=1, checkpointing="full", compile=False
    )
    built = time.perf_counter() - start
    _reset(device)
    losses, times = [], []
    for _ in range(6):
        begin = time.perf_counter()
        losses.append(run.step())
        times.append(1e3 * (time.perf_counter() - begin))
    row = {"case": "10B, batch 1 a process, full recompute", "parameters": run.parameters}
    row |= {"built_s": built, "ms": statistics.median(times[1:]), "gib": _peak(device)}
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
    mesh = _mesh({}, launch, device)
    count = tiles[0] * tiles[1]
    run = Run(model, mesh, device, grid=grid, batch=1, outputs=outputs, parts=count)
    run.config = run.config.model_copy(update={"accumulate": 2})
    run.step()  # warms up
    run.config = run.config.model_copy(update={"accumulate": count})
    _reset(device)
    times = []
    for _ in range(2):
        begin = time.perf_counter()
        run.step()
        times.append(time.perf_counter() - begin)
    row = {"case": f"{FACTOR * size[0]}x{FACTOR * size[1]}x18, {count} tiles, 4x compression"}
    row |= {"s": min(times), "gib": _peak(device), "tile": grid}
    _say(launch, row)
    return [row]


def save(launch: Launch, device: torch.device, options: Any) -> list[dict]:  # noqa: ANN401
    """Measure what asynchronous states cost the steps beside them."""
    mesh = _mesh({}, launch, device)
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
    row = {"case": "1B, one state", "step_ms": 1e3 * step, "gib": _peak(device)}
    row |= {"first_extra_s": first - plain, "extra_s": later - plain}
    row |= {"call_s": rows[2]["call_s"], "share_of_100_steps": (later - plain) / (100 * step)}
    _say(launch, row)
    return [row]


def _time(model: ModelConfig, mesh: Mesh, device: torch.device, settings: dict) -> float:
    _reset(device)
    run = Run(model, mesh, device, **settings)
    return run.median_ms()


def _mesh(sizes: dict, launch: Launch, device: torch.device) -> Mesh:
    return make_mesh(ParallelConfig(**sizes), launch, device)


def _model(preset: str, options: Any) -> ModelConfig:  # noqa: ANN401
    return TINY if options.tiny else model_preset(preset)


def _grid(options: Any) -> tuple[int, int]:  # noqa: ANN401
    return (8, 16) if options.tiny else GLOBE


def _reset(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> float | None:
    return torch.cuda.max_memory_allocated(device) / GIB if device.type == "cuda" else None


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
