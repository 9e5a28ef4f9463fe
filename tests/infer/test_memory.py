"""Memory: what is predicted of a window is what one takes, and what is cut fits."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from orbitds.checkpoint import load_checkpoint
from orbitds.config import model_preset
from orbitds.grid import Grid
from orbitds.infer import memory
from orbitds.infer.downscaler import Downscaler
from orbitds.infer.memory import (
    bytes_per_cell,
    choose_batch,
    choose_tiles,
    free_bytes,
    usual_batch,
    weight_bytes,
)
from orbitds.infer.part import Part
from orbitds.infer.tiling import cut_for
from orbitds.ledger import Ledger
from orbitds.model.build import build

MIB = 2**20


def globe(rows, columns):
    step = 180 / rows
    return Grid(90 - step * (np.arange(rows) + 0.5), 360 / columns * np.arange(columns))


@pytest.fixture(scope="module")
def model():
    """A model large enough that its activations stand out."""
    config = model_preset("tiny").model_copy(
        update={"width": 128, "heads": 2, "depth": 2, "correction_width": 32, "base": "delta"}
    )
    names = ("eastward_wind", "northward_wind", "2m_temperature")
    return build(config, inputs=names, outputs=names, statics=("orography",), factor=4).eval()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(20, 30), (64, 128)])
def test_the_prediction_is_in_proportion_to_a_window(model, dtype, shape):
    rows, columns = shape
    fine = rows * 4, columns * 4
    told = {
        "coarse": torch.randn(1, 3, rows, columns),
        "latitude_deg": torch.linspace(80, -80, rows)[None],
        "longitude_deg": torch.linspace(0, 350, columns)[None],
        "spacing_km": torch.tensor([[100.0, 25.0]]),
        "statics": torch.randn(1, 1, *fine),
        "climatology": (torch.randn(1, 3, *fine), torch.randn(1, 3, rows, columns)),
    }
    ledger = Ledger([*model.parameters(), *model.buffers()])
    with torch.no_grad(), ledger, memory.computing_in(dtype, torch.device("cpu")):
        model.predict(**told)
    given = (told["coarse"], told["statics"], *told["climatology"])
    taken = ledger.highest_bytes + sum(part.nbytes for part in given)
    assert taken / (rows * columns) == pytest.approx(bytes_per_cell(model, dtype), rel=0.3)


MEASURED = """
import resource
import numpy as np, torch
from tests.infer.test_memory import model, globe
model = model.__wrapped__() if hasattr(model, "__wrapped__") else model.__pytest_wrapped__.obj()
def run(rows, columns):
    fine = rows * 4, columns * 4
    with torch.inference_mode():
        model.predict(
            torch.randn(1, 3, rows, columns),
            latitude_deg=torch.linspace(80, -80, rows)[None],
            longitude_deg=torch.linspace(0, 350, columns)[None],
            spacing_km=torch.tensor([[100.0, 25.0]]),
            statics=torch.randn(1, 1, *fine),
            climatology=(torch.randn(1, 3, *fine), torch.randn(1, 3, rows, columns)),
        )
run(8, 16)
with open("/proc/self/statm") as file:
    before = int(file.read().split()[1]) * resource.getpagesize() // 1024
run(180, 360)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="asks Linux")
def test_a_process_takes_what_is_predicted(model):
    done = subprocess.run(
        [sys.executable, "-c", MEASURED],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    predicted = bytes_per_cell(model) * 180 * 360
    assert predicted > 100 * MIB
    assert 0.5 < predicted / float(done.stdout) < 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_gpu_takes_what_is_predicted(model, dtype):
    device, (rows, columns) = torch.device("cuda"), (180, 360)
    twin = build(
        model.config, inputs=model.inputs, outputs=model.outputs, statics=model.statics, factor=4
    ).to(device)
    told = {
        "latitude_deg": torch.linspace(80, -80, rows, device=device)[None],
        "longitude_deg": torch.linspace(0, 350, columns, device=device)[None],
        "spacing_km": torch.tensor([[100.0, 25.0]], device=device),
    }
    taken = 0
    for _ in range(2):  # the first one takes workspaces too
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        with torch.inference_mode(), memory.computing_in(dtype, device):
            coarse = torch.randn(1, 3, rows, columns, device=device)
            statics = torch.randn(1, 1, 4 * rows, 4 * columns, device=device)
            climatology = torch.randn(1, 3, 4 * rows, 4 * columns, device=device), coarse
            twin.predict(coarse, statics=statics, climatology=climatology, **told)
        taken = torch.cuda.max_memory_allocated() - before
    assert 0.5 < bytes_per_cell(model, dtype) * rows * columns / taken < 2


def test_a_field_is_whole_where_it_fits_and_cut_where_not(model):
    grid = globe(180, 360)
    cell = bytes_per_cell(model)
    whole = int(2 * cell * 180 * 360)
    assert choose_tiles(model, grid, whole + 1000) == (1, 1)
    before = 1
    for share in (0.99, 0.5, 0.2, 0.1):
        rows, columns = choose_tiles(model, grid, int(whole * share))
        window = cut_for(model, grid, (rows, columns)).window
        assert rows * columns >= before > 0
        assert rows * columns > 1
        # the alignment to patches adds a row or a column
        assert (window[0] - 2) * (window[1] - 2) * cell <= whole * share / 2
        assert choose_tiles(model, grid, int(whole * share)) == (rows, columns)
        before = rows * columns
    with pytest.raises(ValueError, match=r"Wanted memory for a window.*got 0 MiB.*Free memory"):
        choose_tiles(model, grid, 10**5)


def test_small_fields_are_whole_without_a_rehearsal(model, monkeypatch):
    monkeypatch.setattr(memory, "bytes_per_cell", lambda *_: pytest.fail("rehearsed"))
    assert choose_tiles(model, globe(18, 36), 1) == (1, 1)


def test_as_many_windows_run_at_once_as_fit(model):
    tiles = cut_for(model, globe(90, 180), (2, 2))
    window = tiles.window[0] * tiles.window[1] * bytes_per_cell(model)
    for free, wanted in ((1, 1), (2 * window, 1), (8.5 * window, 4), (17 * window, 8)):
        assert choose_batch(model, tiles, int(free)) == wanted


def test_a_cpu_takes_the_same_batches_everywhere(model, monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda _: pytest.fail("asked for memory"))
    tiles = cut_for(model, globe(90, 180), None)
    assert usual_batch(model, tiles, torch.device("cpu"), "float32") == 1
    tiles = cut_for(model, globe(18, 36), None)
    assert usual_batch(model, tiles, torch.device("cpu"), "float32") == 2**18 // (18 * 36 * 16)


def test_free_memory_is_rounded(monkeypatch):
    free = free_bytes(torch.device("cpu"))
    assert free & (free - 1) == 0
    assert 2**20 < free < 2**45
    monkeypatch.setattr(memory, "_host_bytes", lambda: 5 * 2**30)
    assert free_bytes(torch.device("cpu")) == 2**30


def test_weights_are_counted(model):
    tensors = (*model.parameters(), *model.buffers())
    assert weight_bytes(model) == sum(4 * tensor.numel() for tensor in tensors)


def test_tiles_chosen_once_hold_for_the_job(checkpoint_folder, monkeypatch):
    """Also in another process, which has other memory."""

    monkeypatch.setattr(memory, "SMALL_CELLS", 0)
    cell = bytes_per_cell(load_checkpoint(checkpoint_folder).model)
    monkeypatch.setattr("orbitds.infer.downscaler.free_bytes", lambda _: int(2 * cell * 60 * 60))
    downscaler = Downscaler(checkpoint_folder, tiles="auto")
    grid = globe(90, 180)
    tiles = downscaler.tiles_for(grid)
    assert tiles.rows * tiles.columns > 1
    monkeypatch.setattr("orbitds.infer.downscaler.free_bytes", lambda _: 2**40)
    assert downscaler.tiles_for(grid) == tiles
    assert pickle.loads(pickle.dumps(downscaler)).tiles_for(grid) == tiles
    assert Downscaler(checkpoint_folder, tiles="auto").tiles_for(grid).rows == 1


@pytest.mark.parametrize("changes", [{"edge_density": 0.05}, {"compression": 4.0}, {"kind": "vit"}])
def test_any_architecture_can_be_rehearsed(changes):
    config = model_preset("tiny").model_copy(update=changes)
    names = ("eastward_wind",)
    assert bytes_per_cell(build(config, inputs=names, outputs=names, factor=2)) > 100


def test_a_job_is_predicted_from_its_options(checkpoint_folder):
    grid, model = globe(90, 180), load_checkpoint(checkpoint_folder).model
    cell = bytes_per_cell(model)
    one = Downscaler(checkpoint_folder, batch_size=1)
    fields = 90 * 180 * model.factor**2 * len(model.outputs) * memory.FIELD_BYTES
    assert one.memory_of(grid) == int(weight_bytes(model) + 90 * 180 * cell + fields)
    three = Downscaler(checkpoint_folder, batch_size=3)
    more = three.memory_of(grid) - one.memory_of(grid)
    assert more == pytest.approx(2 * 90 * 180 * cell, rel=1e-6)
    band = one.memory_of(grid, Part(range(9), range(180)))
    assert one.memory_of(grid) - band == pytest.approx(0.9 * fields, rel=1e-6)
    tiled = Downscaler(checkpoint_folder, batch_size=1, tiles=(3, 6))
    assert tiled.memory_of(grid) < one.memory_of(grid)
