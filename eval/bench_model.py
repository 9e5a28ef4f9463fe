"""Time, memory and kernels of one training step: python eval/bench_model.py --help.

A step is forward, loss and backward of 23 variables to 3, factor 4, in bfloat16 autocast with
float32 weights; no optimiser. Times are medians of device events after warm-up, on random fields.
The floor is what the counted operations and bytes would take at the rates that a plain matrix
product and a plain copy reach on the same machine, whichever is longer.
"""

import argparse
import contextlib
import gc
import itertools
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from orbitds.config import ModelConfig, model_preset
from orbitds.loss import bayesian_tv
from orbitds.model.attention import Backend, prefer
from orbitds.model.build import build
from orbitds.model.compiling import compiled
from orbitds.model.edges import count_edges, edges_of
from orbitds.model.interface import DownscalingModel
from orbitds.model.quadtree import Quadtree, build_quadtree

OUTPUTS = ("total_precipitation_24hr", "2m_temperature_min", "2m_temperature_max")
STATICS = ("orography", "land_sea_mask")
FACTOR = 4
GIB = 2**30
# Kernels of a row that are written down.
TOP = 40


class Case(NamedTuple):
    """A row of the table."""

    name: str
    preset: str
    grid: tuple[int, int]
    batch: int
    changes: Mapping = MappingProxyType({})
    public_ms: float | None = None
    """The public code on one H100, as shipped."""
    must_ms: float | None = None
    samples: int | None = None
    """Samples in a step, where a batch holds the tiles of a sample."""


SMALL, GLOBE, TILE = (32, 64), (180, 360), (50, 94)  # a 16th of the globe with a halo of 2
CASES = [
    Case("9.5M 32x64 b32", "reslim_9m", SMALL, 32, public_ms=34.0, must_ms=7),
    Case("9.5M 180x360 b4, 4 heads", "reslim_9m", GLOBE, 4, public_ms=196.7, must_ms=75),
    Case("9.5M 180x360 b4, 2 heads", "reslim_9m_h128", GLOBE, 4, must_ms=62),
    Case("same, 4x compression", "reslim_9m_h128", GLOBE, 4, {"compression": 4}, must_ms=22),
    Case("same, 32x compression", "reslim_9m_h128", GLOBE, 4, {"compression": 32}, must_ms=10),
    Case("126M 180x360 b4", "reslim_126m_h128", GLOBE, 4, public_ms=937.9, must_ms=330),
    Case("1B 180x360 b1", "reslim_1b", GLOBE, 1, public_ms=690.1, must_ms=370),
    Case(
        "9.5M, 16 tiles, 4x compression", "reslim_9m_h128", TILE, 64, {"compression": 4}, samples=4
    ),
    Case("9.5M 91x183 b4, odd sizes", "reslim_9m_h128", (91, 183), 4),
    Case("ViT 9.5M 32x64 b32", "reslim_9m", SMALL, 32, {"kind": "vit"}, public_ms=341.9),
    Case("ViT 9.5M 180x360 b1", "reslim_9m_h128", GLOBE, 1, {"kind": "vit"}, public_ms=7218),
]
TINY = Case("tiny", "tiny", (9, 14), 2, {"compression": 4})


class Step:
    """Forward, loss and backward of a model on one batch."""

    def __init__(self, case: Case, device: torch.device, variables: int = 23) -> None:
        torch.manual_seed(0)
        config = ModelConfig.model_validate(
            model_preset(case.preset).model_dump() | dict(case.changes)
        )
        names = [f"variable_{index}" for index in range(variables - len(STATICS) - len(OUTPUTS))]
        with device:
            self.model = build(
                config, inputs=[*OUTPUTS, *names], outputs=OUTPUTS, statics=STATICS, factor=FACTOR
            )
            self.arguments = _arguments(self.model, case)
            fine = [size * FACTOR for size in case.grid]
            self.target = torch.randn(case.batch, len(OUTPUTS), *fine)
            self.weight = torch.rand(case.batch, len(OUTPUTS), *fine)
        self.loss = self._loss

    def _loss(self, model: DownscalingModel) -> Tensor:
        with torch.autocast(self.target.device.type, dtype=torch.bfloat16):
            prediction = model.predict(**self.arguments)
        total, weight = bayesian_tv(
            prediction.fine.float(),
            self.target,
            weight=self.weight,
            tv_weight=0.02,
            base=prediction.base,
        )
        return total / weight

    def __call__(self) -> None:
        """Leave the gradients of one step in the parameters."""
        for parameter in self.model.parameters():
            parameter.grad = None
        self.loss(self.model).backward()

    def compiled(self) -> "Step":
        """Return the step with forward and loss compiled as one graph."""
        self.loss = compiled(self._loss)
        return self

    def gradients(self) -> list[Tensor]:
        """Return what the last step left."""
        return [p.grad.clone() for p in self.model.parameters() if p.grad is not None]

    @property
    def input_bytes(self) -> int:
        """Bytes of what is given to the model."""
        tensors = [value for value in self.arguments.values() if isinstance(value, Tensor)]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _arguments(model: DownscalingModel, case: Case) -> dict:
    rows, columns = case.grid
    size = (case.batch, len(model.inputs), rows, columns)
    rough = torch.randn(size)
    smooth = F.avg_pool2d(rough, 5, stride=1, padding=2, count_include_pad=False)
    latitude = 90 - (torch.arange(rows) + 0.5) * 180 / rows
    longitude = torch.arange(columns) * 360 / columns
    return {
        "coarse": (rough + 8 * smooth) / 2,
        "latitude_deg": latitude.expand(case.batch, -1),
        "longitude_deg": longitude.expand(case.batch, -1),
        "spacing_km": torch.tensor([112.0, 28.0]).expand(case.batch, -1),
        "statics": torch.randn(case.batch, len(STATICS), rows * FACTOR, columns * FACTOR),
        "periodic": case.samples is None,
    }


def median_ms(run: Callable[[], object], repeat: int = 10, warmup: int = 3) -> float:
    """Return the median time of a call."""
    for _ in range(warmup):
        run()
    if not torch.cuda.is_available():
        times = []
        for _ in range(repeat):
            start = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - start))
        return statistics.median(times)
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(repeat + 1)]
    marks[0].record()
    for mark in marks[1:]:
        run()
        mark.record()
    torch.cuda.synchronize()
    return statistics.median(a.elapsed_time(b) for a, b in itertools.pairwise(marks))


def deviation(one: list[Tensor], other: list[Tensor]) -> float:
    """Return how far gradients lie apart, as a share of their length, at worst over the weights.

    A compiled step that differs from the eager one by more than bfloat16's rounding is wrong,
    however fast.
    """
    apart = [
        ((a - b).norm() / b.norm().clamp(min=1e-12)).item() for a, b in zip(one, other, strict=True)
    ]
    return max(apart)


def captured(step: Step) -> Callable[[], None]:
    """Return the replay of a CUDA graph of a whole step."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def peak_gib(run: Callable[[], object], device: torch.device) -> float:
    """Return the peak of allocated device memory during a call; NaN without a GPU."""
    if device.type != "cuda":
        return float("nan")
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / GIB


def rates(device: torch.device) -> dict[str, float]:
    """Return what a plain bfloat16 product and a plain copy reach on this machine."""
    size, cells = (8192, 2**28) if device.type == "cuda" else (1024, 2**22)
    one, other = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
    source = torch.randn(cells, device=device)
    target = torch.empty_like(source)
    product, copy = median_ms(lambda: one @ other), median_ms(lambda: target.copy_(source))
    return {"tflops": 2e-9 * size**3 / product, "gbps": 8e-6 * cells / copy}


def counted(step: Step) -> tuple[float, float]:
    """Return the operations and the least bytes of a step.

    Bytes: what is kept for the backward pass is written and read once, weights are read and their
    gradients written, inputs are read.
    """
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = step._loss(step.model)
        loss.backward()
    parameters = sum(p.numel() for p in step.model.parameters())
    saved = 2 * sum(kept.values())
    return counter.get_total_flops(), saved + 2 * 4 * parameters + step.input_bytes


def measure(case: Case, device: torch.device, rate: dict[str, float], *, compile_: bool) -> dict:
    """Return a row of the table."""
    step = Step(case, device)
    row: dict = {"case": case.name, "public_ms": case.public_ms, "must_ms": case.must_ms}
    heavy = case.changes.get("kind") == "vit"
    if not heavy:
        operations, volume = counted(step)
        row["floor_ms"] = 1e3 * max(
            operations / (1e12 * rate["tflops"]), volume / (1e9 * rate["gbps"])
        )
        row["tflop"] = operations / 1e12
    repeat = {"repeat": 3, "warmup": 1} if heavy else {}
    row["eager_ms"] = median_ms(step, **repeat)
    row["eager_gib"] = peak_gib(step, device)
    row["ms"], row["gib"] = row["eager_ms"], row["eager_gib"]
    if compile_:
        eager = step.gradients()
        start = time.perf_counter()
        step.compiled()()
        row["compile_s"] = time.perf_counter() - start
        row["deviation"] = deviation(step.gradients(), eager)
        del eager
        row["compiled_ms"] = median_ms(step, **repeat)
        row["gib"] = peak_gib(step, device)
        row["ms"] = row["compiled_ms"]
        if device.type == "cuda" and not heavy:
            row["graph_ms"] = median_ms(captured(step))
            row["ms"] = min(row["compiled_ms"], row["graph_ms"])
            row["kernels"] = kernels(step)[:TOP]
    samples = case.samples or case.batch
    row["ms_per_sample"] = row["ms"] / samples
    row["parameters"] = sum(p.numel() for p in step.model.parameters())
    return row


def memory(device: torch.device) -> list[dict]:
    """Return the peak memory of a step for more and more variables."""
    rows = []
    for variables in (23, 200):
        step = Step(Case("memory", "reslim_9m_h128", GLOBE, 4), device, variables)
        for _ in range(3):
            step()
        gc.collect()
        row = {"variables": variables, "inputs_gib": step.input_bytes / GIB}
        row["eager_gib"] = peak_gib(step, device)
        step.compiled()()
        row["compiled_gib"] = peak_gib(step, device)
        rows.append(row)
        del step
        torch.compiler.reset()
    for kind in ("eager_gib", "compiled_gib"):
        first = rows[0][kind] - rows[0]["inputs_gib"]
        for row in rows:
            row[f"{kind[:-4]}_growth"] = (row[kind] - row["inputs_gib"]) / first - 1
    return rows


def quadtree(device: torch.device, step_ms: float | None) -> dict:
    """Return what edge map and tree cost, and their share of the uncompressed step."""
    case = Case("quadtree", "reslim_9m_h128", GLOBE, 4, {"compression": 4})
    step = Step(case, device)
    image = step.arguments["coarse"][:, 0]

    def plan(field: Tensor) -> Quadtree:
        counts = count_edges(edges_of(field, periodic=True), 2)
        return build_quadtree(counts, patch=2, ratio=4, periodic=True)

    row: dict = {"eager_ms": median_ms(lambda: plan(image))}
    call = compiled(plan)
    row["compiled_ms"] = median_ms(lambda: call(image))
    row["step_ms"] = step_ms
    return row


def kernels(step: Step) -> list[tuple[str, float, int]]:
    """Return the device kernels of a step with their time in ms and number, longest first."""
    for _ in range(3):
        step()
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CPU, activity.CUDA]) as profile:
        step()
        torch.cuda.synchronize()
    events = [e for e in profile.key_averages() if e.device_type == torch.autograd.DeviceType.CUDA]
    rows = [(e.key, e.self_device_time_total / 1e3, e.count) for e in events]
    return sorted(rows, key=lambda row: -row[1])


def attention(device: torch.device) -> list[dict]:
    """Return the kernels that a compiled and an eager model call under each backend."""
    case = Case("attention", "reslim_9m_h128", SMALL, 8)
    rows = []
    for backend in ("auto", "cudnn", "flash", "efficient", "math"):
        with prefer(backend):
            torch.compiler.reset()
            names = [name for name, _, _ in kernels(Step(case, device).compiled())]
        told = [n for n in names if any(w in n.lower() for w in ("sdpa", "flash", "fmha", "attn"))]
        rows.append({"backend": backend, "kernels": sorted(told)})
    torch.compiler.reset()
    return rows


def show(rows: list[dict]) -> None:
    """Print the table as Markdown."""
    print("\n| case | eager | compiled | + graph | must | public | floor | reached | GiB | apart |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        names = ("eager_ms", "compiled_ms", "graph_ms", "must_ms", "public_ms", "floor_ms")
        cells = [f"{row[name]:.1f}" if row.get(name) else "-" for name in names]
        cells.append(f"{row['floor_ms'] / row['ms']:.2f}" if row.get("floor_ms") else "-")
        cells.append(f"{row['gib']:.2f}")
        cells.append(f"{row['deviation']:.1e}" if "deviation" in row else "-")
        print(f"| {row['case']} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the table for this machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", default="all", help="comma-separated numbers of rows, or `tiny`")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--memory", action="store_true", help="peak memory over variables")
    parser.add_argument("--quadtree", action="store_true", help="cost of edge map and tree")
    parser.add_argument("--attention", action="store_true", help="kernels that really ran")
    parser.add_argument("--backend", default="auto", help="attention backend")
    parser.add_argument("--output", type=Path, help="write everything as JSON")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    machine = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor()
    rate = rates(device)
    told = {"machine": machine, "torch": torch.__version__, "python": platform.python_version()}
    told |= rate
    print(told, flush=True)
    chosen = [TINY] if options.cases == "tiny" else CASES
    if options.cases not in ("all", "tiny"):
        chosen = [CASES[int(number)] for number in options.cases.split(",") if number]
    backend: Backend = options.backend
    results: dict = {"machine": told, "rows": []}
    with prefer(backend):
        for case in chosen:
            with contextlib.suppress(torch.cuda.OutOfMemoryError):
                results["rows"].append(measure(case, device, rate, compile_=not options.no_compile))
                show(results["rows"][-1:])
            _write(results, options.output)
            torch.compiler.reset()
            if device.type == "cuda":
                torch.cuda.empty_cache()
    if options.memory:
        results["memory"] = memory(device)
    if options.quadtree:
        results["quadtree"] = quadtree(device, next(iter(results["rows"]), {}).get("ms"))
    if options.attention:
        results["attention"] = attention(device)
    for name in ("memory", "quadtree", "attention"):
        if name in results:
            print(
                name,
                *(results[name] if isinstance(results[name], list) else [results[name]]),
                sep="\n",
            )
    show(results["rows"])
    _write(results, options.output)


def _write(results: dict, output: Path | None) -> None:
    if output:
        output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
