"""A model in training on random fields, as benchmarks of training take it."""

import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, Literal

import torch
import torch.distributed as dist

from orbitds.config import ModelConfig, OptimConfig, ParallelConfig, TrainConfig
from orbitds.data.batch import Sample
from orbitds.data.loader import Loaded
from orbitds.model.build import build
from orbitds.tiles import TileGrid
from orbitds.train.engine import TorchEngine
from orbitds.train.gradients import GradientSum
from orbitds.train.launch import Launch
from orbitds.train.mesh import ONE, Mesh, make_mesh
from orbitds.train.outline import Outline
from orbitds.train.shard import blocks_of, groups_of
from orbitds.train.start import freeze
from orbitds.train.step import Numbers, take_step

GIB = 2**30
INPUTS = tuple(f"variable_{number}" for number in range(23))
OUTPUTS = ("total_precipitation_24hr", "2m_temperature_min", "2m_temperature_max")
FACTOR = 4
GLOBE = (180, 360)
TINY = ModelConfig(width=16, depth=2, heads=2, decoder_depth=1, correction_width=4)


class Run:
    """A model in training on random fields.

    Parameters
    ----------
    batch
        Samples of a process in each part of a step.
    parts
        Of a step.
    starts_here
        Whether weights begin on the device: sooner, where all of them fit there.
    """

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
        starts_here: bool = False,
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
        self.mesh = self._mesh = mesh
        self.device, self.grid, self.batch = device, grid, batch
        self.outputs, self.number = tuple(outputs), 0
        torch.manual_seed(0)
        with device if starts_here else torch.device("cpu"):
            built = build(model, inputs=INPUTS, outputs=self.outputs, factor=FACTOR)
        freeze(built, self.config.freeze)
        self.parameters = sum(weight.numel() for weight in built.parameters())
        if not mesh.is_shared or mesh.sizes["tensor"] > 1:
            built = built.to(device)
        self.engine = TorchEngine(built, self.config, mesh)
        self._sum = self.engine.sum
        self._rounded: GradientSum | None = None
        pair = SimpleNamespace(outputs=self.outputs)
        told = {"pair": pair, "divisors": None, "forward": self._forward}
        self.settings: Any = [SimpleNamespace(wraps=lambda _sample: False, **told)]
        self.sample = self._sample()

    def step(self) -> float:
        """Take a step and return its loss."""
        return self._take().read()[0]

    def tell(self, what: Literal["all", "rounded", "losses", "nothing"]) -> None:
        """Let further steps tell other processes no more than this; weights must be whole.

        ``rounded``: as all, gradients of blocks added up in bfloat16. Where losses alone are told,
        processes wait for each other, and each learns by itself.
        """
        if self._sum is None:
            raise ValueError("Wanted a run whose processes each have all weights. Share none.")
        if what == "rounded" and self._rounded is None:
            self._rounded = self.sum_by_blocks(self._sum.group, torch.bfloat16)
        ways = {"all": self._sum, "rounded": self._rounded}
        self.choose(ways.get(what), quiet=what == "nothing")

    def sum_by_blocks(
        self, group: dist.ProcessGroup, dtype: torch.dtype | None = None
    ) -> GradientSum:
        """Return a way to add gradients up like that of a run, to be chosen."""
        blocks = groups_of(blocks_of(self.engine.model))
        return GradientSum(self.engine.weights.values(), blocks, group, dtype=dtype)

    def choose(self, way: GradientSum | None, *, quiet: bool) -> None:
        """Let further steps add gradients up in a way, or not; if quiet, tell no losses either."""
        self.engine.sum = way
        self.mesh = self.engine.mesh = ONE if quiet else self._mesh

    def in_parts(self, parts: int) -> None:
        """Let further steps have so many parts."""
        self.config = self.config.model_copy(update={"accumulate": parts, "batch_size": parts})

    def step_ms(self, repeats: int) -> list[float]:
        """Return times of steps that are each read to their loss."""
        times = []
        for _ in range(repeats):
            begin = time.perf_counter()
            self.step()
            times.append(1e3 * (time.perf_counter() - begin))
        return times

    def times_ms(self, repeats: int = 10, warm: int = 3) -> list[float]:
        """Return times from step to step after some to warm up, one at least.

        As in a run the numbers of a step are read while the next one is at work.
        """
        ends = list(self._ends_ms(warm + repeats))
        return [later - end for end, later in itertools.pairwise(ends[warm - 1 :])]

    def several(self, count: int) -> None:
        """Take so many steps as ``times_ms`` does."""
        for _ in self._ends_ms(count - 1):
            pass

    def updating(self) -> Callable[[int], None]:
        """Return what updates the weights so many times, by gradients that are random."""
        parts = self.engine.parts.values()
        gradients = [torch.randn_like(part) for part in parts]

        def update(count: int) -> None:
            for _ in range(count):
                self.number += 1
                for part, gradient in zip(parts, gradients, strict=True):
                    if part.requires_grad:
                        part.grad = gradient
                self.engine.step(self.number, scale=torch.ones((), device=self.device))

        return update

    def median_ms(self, repeats: int = 10) -> float:
        """Return the median of ``times_ms``."""
        return statistics.median(self.times_ms(repeats))

    def _ends_ms(self, count: int) -> Iterator[float]:
        """Take so many steps and one more; yield when each of the first was read."""
        pending = self._take()
        for _ in range(count):
            taken = self._take()
            pending.read()
            yield 1e3 * time.perf_counter()
            pending = taken
        pending.read()

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


def outline_of(grid: tuple[int, int], outputs: Sequence[str] = OUTPUTS) -> Outline:
    """Return what a prediction wants to know of the data of a ``Run``."""
    return Outline("random", INPUTS, tuple(outputs), (), FACTOR, TileGrid(*grid), 1, 1, 0)


def alone(call: Callable[[], Any], launch: Launch) -> Any:  # noqa: ANN401
    """Call something in the main process while the others wait; all learn the result."""
    told = [call() if launch.is_main else None]
    if launch.master is not None:
        dist.barrier()
        dist.broadcast_object_list(told)
    return told[0]


def mesh_of(sizes: dict[str, int], launch: Launch, device: torch.device) -> Mesh:
    """Lay processes out by the sizes of ``ParallelConfig``."""
    return make_mesh(ParallelConfig(**sizes), launch, device)


def reset(device: torch.device) -> None:
    """Let go of memory, and of the highest of it."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def held_bytes(device: torch.device) -> int:
    """Return the memory that tensors hold now, and begin the highest anew."""
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def peak_gib(device: torch.device, *, beside: int = 0) -> float | None:
    """Return the highest memory since the last reset, beside so many bytes of something else.

    None where it is not a GPU's.
    """
    if device.type != "cuda":
        return None
    return (torch.cuda.max_memory_allocated(device) - beside) / GIB
