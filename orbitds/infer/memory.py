"""How much memory windows take, predicted from shapes, and how a field is cut to fit into it."""

import os
from functools import lru_cache
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from orbitds.grid import Grid
from orbitds.infer.batch import BATCH_FINE_CELLS, LARGEST_BATCH
from orbitds.infer.precision import Dtype, computing_in
from orbitds.infer.tiling import halo_of, plan
from orbitds.ledger import Ledger
from orbitds.model.build import build
from orbitds.model.embed import NOISE
from orbitds.model.interface import DownscalingModel
from orbitds.model.orbit2 import STATICS
from orbitds.tiles import TileGrid

# Of the free memory, what windows at work may take; the rest is for fields, copies and fragments.
SHARE = 0.5
# Of the available memory of a host, which others use too.
HOST_SHARE = 0.25
# The window whose memory is counted, in coarse cells.
REHEARSED = (32, 64)
# Fields so small are never cut: nothing needs to be rehearsed for them.
SMALL_CELLS = 2**12
# Of a fine value from the blend to the answer: itself, in float64, masked, bounded.
FIELD_BYTES = 28


@lru_cache(maxsize=16)
def bytes_per_cell(model: DownscalingModel, dtype: Dtype = "float32") -> float:
    """Return the memory that a window takes at its highest, by coarse cell, weights aside.

    The model runs once with tensors that have shapes and no values. What it takes is in proportion
    to the window: attention is computed in pieces by all kernels that are chosen for it.

    Notes
    -----
    Left out: what kernels allocate within themselves, and the fragments of an allocator. Types of
    intermediates are those of autocast on a CPU.
    """
    rows, columns = model.window or REHEARSED
    fine, outputs = (rows * model.factor, columns * model.factor), len(model.outputs)
    config, inputs = model.config, model.inputs
    # what depends on values cannot be rehearsed: a density leaves at most what the budget allows,
    # and fields that are looked up take as much as those that are given
    if getattr(config, "edge_density", None) is not None:
        config = config.model_copy(update={"edge_density": None})
    if getattr(config, "statics_grid", None) is not None:
        config = config.model_copy(update={"statics_grid": None})
        inputs = (*inputs, *STATICS)
    cpu = torch.device("cpu")
    with FakeTensorMode(), torch.no_grad():
        twin = build(
            config,
            inputs=inputs,
            outputs=model.outputs,
            statics=model.statics,
            factor=model.factor,
        ).eval()
        told = {
            "coarse": torch.empty(1, len(inputs), rows, columns),
            "latitude_deg": torch.empty(1, rows),
            "longitude_deg": torch.empty(1, columns),
            "spacing_km": torch.empty(1, 2),
            "statics": torch.empty(1, len(model.statics), *fine),
            "climatology": (
                torch.empty(1, outputs, *fine),
                torch.empty(1, outputs, rows, columns),
            ),
            "noise": torch.empty(1, NOISE),
        }
        ledger = Ledger([*twin.parameters(), *twin.buffers()])
        with ledger, computing_in(dtype, cpu):
            twin.predict(**told)
        given = (told["coarse"], told["statics"], *told["climatology"])
        return (ledger.highest_bytes + sum(part.nbytes for part in given)) / (rows * columns)


def weight_bytes(model: DownscalingModel) -> int:
    """Return the memory of the weights."""
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))


def free_bytes(device: torch.device) -> int:
    """Return the memory that a job may count on, rounded down to a power of two.

    That of a GPU which is free, or which PyTorch holds and does not use; of a host a quarter of
    what is available. Rounded, so that a job that is started again finds the same.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    else:
        free = int(_host_bytes() * HOST_SHARE)
    return 2 ** max(free.bit_length() - 1, 0)


def choose_tiles(
    model: DownscalingModel,
    grid: Grid,
    free_bytes: int,
    dtype: Dtype = "float32",
    halo: int | None = None,
) -> tuple[int, int]:
    """Return rows and columns of tiles whose windows fit into memory: one if the field does.

    The same for the same number of bytes, so that a job can fix it beforehand.

    Raises
    ------
    ValueError
        If the window of a single cell, with its halo, does not fit.
    """
    height, width = grid.shape
    if height * width <= SMALL_CELLS:
        return 1, 1
    largest = int(free_bytes * SHARE / bytes_per_cell(model, dtype))
    if height * width <= largest:
        return 1, 1
    try:
        return plan(height, width, largest, halo_of(model, halo))
    except ValueError as error:
        raise ValueError(
            f"Wanted memory for a window of the model, got {free_bytes / 2**20:.0f} MiB, which "
            f"hold {largest} coarse cells. Free memory, or choose another device."
        ) from error


def predict_memory(
    model: DownscalingModel, tiles: TileGrid, cells: int, batch: int, channels: int, dtype: Dtype
) -> int:
    """Return the memory that a job takes on the device at its highest, in bytes.

    Weights, a batch of windows, and the fields of a time: blended, and some more while they are
    brought to physical units.

    Parameters
    ----------
    cells
        Coarse cells of the part that is computed at once.
    batch
        Windows that run at once.
    channels
        Fields of a time that are blended.
    """
    window = tiles.window[0] * tiles.window[1]
    fields = cells * model.factor**2 * channels * FIELD_BYTES
    return int(weight_bytes(model) + batch * window * bytes_per_cell(model, dtype) + fields)


def usual_batch(
    model: DownscalingModel, tiles: TileGrid, device: torch.device, dtype: Dtype
) -> int:
    """Return how many windows run at once unless somebody says so.

    On a CPU larger batches are not faster, and the number is the same on every machine, as are the
    results then. On a GPU it is as many as fit into its memory.
    """
    if device.type == "cuda":
        return min(choose_batch(model, tiles, free_bytes(device), dtype), LARGEST_BATCH)
    cells = tiles.window[0] * tiles.window[1] * model.factor**2
    return max(1, BATCH_FINE_CELLS // cells)


def choose_batch(
    model: DownscalingModel, tiles: TileGrid, free_bytes: int, dtype: Dtype = "float32"
) -> int:
    """Return how many windows of a field fit into memory at once: a power of two, at least one."""
    window = tiles.window[0] * tiles.window[1] * bytes_per_cell(model, dtype)
    return 2 ** max(int(free_bytes * SHARE / window).bit_length() - 1, 0)


def _host_bytes() -> int:
    """Return the memory that is available on this host, or to this container."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        rows = (line.split() for line in meminfo.read_text(encoding="ascii").splitlines())
        available = {row[0]: int(row[1]) * 1024 for row in rows}.get("MemAvailable:", 0)
    else:
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    limit = Path("/sys/fs/cgroup/memory.max")
    used = Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file() and (text := limit.read_text().strip()).isdigit():
        available = min(available, int(text) - int(used.read_text()))
    return max(available, 0)
