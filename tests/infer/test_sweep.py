"""Sweeps: made once for a job, used by many blocks and threads; models stay where they are."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from orbitds.checkpoint import load_checkpoint
from orbitds.data.door import enter
from orbitds.grid import Grid
from orbitds.infer import windows
from orbitds.infer.backdrop import Backdrop
from orbitds.infer.batch import Batch
from orbitds.infer.downscaler import Downscaler
from orbitds.infer.part import Part
from orbitds.infer.sweep import sweep_for


@pytest.fixture
def entered(coarse, checkpoint_folder):
    return enter(coarse, load_checkpoint(checkpoint_folder).inputs).ds


def sweep_of(downscaler, ds):
    grid = Grid.of(ds)
    part = Part.whole(grid.shape)
    tiles = downscaler.tiles_for(grid)
    return sweep_for(downscaler.checkpoint, None, grid, tiles, part, downscaler._wish)


def test_what_does_not_change_is_made_once(entered, checkpoint_folder, monkeypatch):
    made, init = [], Backdrop.__init__
    monkeypatch.setattr(Backdrop, "__init__", lambda self, *a: made.append(1) or init(self, *a))
    downscaler = Downscaler(checkpoint_folder, tiles=(2, 2), variables=["eastward_wind"])
    for start in (0, 3, 6):
        downscaler(entered.isel(time=slice(start, start + 3)))
    Downscaler(checkpoint_folder, tiles=(2, 2), variables=["eastward_wind"])(entered)
    assert len(made) == 1
    Downscaler(checkpoint_folder, tiles=(2, 3), variables=["eastward_wind"])(entered)
    assert len(made) == 2


@pytest.mark.parametrize(
    ("tiles", "batch", "wanted"),
    [
        (None, Batch(5, is_constant=False), [5, 5, 2]),
        (None, Batch(5, is_constant=True), [5, 5, 2]),
        ((2, 3), Batch(8, is_constant=False), [2] * 6),
        ((2, 3), Batch(8, is_constant=True), [4] * 3),
        ((2, 3), Batch(1, is_constant=True), [1] * 12),
    ],
)
def test_times_are_grouped_to_fill_batches(entered, checkpoint_folder, tiles, batch, wanted):
    sweep = sweep_of(Downscaler(checkpoint_folder, tiles=tiles), entered)
    groups = list(sweep._groups(12, batch))
    assert [group.stop - group.start for group in groups] == wanted
    assert np.concatenate([np.arange(12)[group] for group in groups]).tolist() == list(range(12))


def test_large_fields_go_one_time_after_another(entered, checkpoint_folder, monkeypatch):
    monkeypatch.setattr("orbitds.infer.sweep.GROUP_VALUES", 1)
    sweep = sweep_of(Downscaler(checkpoint_folder), entered)
    assert len(list(sweep._groups(12, Batch(5, is_constant=True)))) == 12


def test_groups_change_nothing(entered, checkpoint_folder, monkeypatch):
    downscaler = Downscaler(checkpoint_folder, batch_size=1, tiles=(2, 3))
    whole = downscaler(entered)
    monkeypatch.setattr("orbitds.infer.sweep.GROUP_VALUES", 10**4)
    monkeypatch.setattr(downscaler._batches[downscaler.tiles_for(Grid.of(entered))], "size", 1)
    xr.testing.assert_identical(downscaler(entered), whole)


def test_threads_share_a_sweep(entered, checkpoint_folder):
    downscaler = Downscaler(checkpoint_folder, batch_size=1, tiles=(2, 3))
    blocks = [entered.isel(time=slice(k, k + 3)) for k in range(0, 12, 3)]
    wanted = [downscaler(block) for block in blocks]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(downscaler, blocks * 3))
    for one, other in zip(got, wanted * 3, strict=True):
        xr.testing.assert_identical(one, other)


@pytest.mark.parametrize("tiles", [None, (2, 3)])
def test_compiled_models_meet_one_size_of_batches(entered, checkpoint_folder, monkeypatch, tiles):
    shapes = []

    def seen(predict):
        def run(coarse, **told):
            shapes.append(tuple(coarse.shape))
            return predict(coarse, **told)

        return run

    wanted = Downscaler(checkpoint_folder, tiles=tiles, batch_size=5)(entered)
    monkeypatch.setattr(windows, "compiled", seen)
    windows._compiled.cache_clear()
    downscaler = Downscaler(checkpoint_folder, tiles=tiles, batch_size=5, compile=True)
    fine = downscaler(entered)
    downscaler(entered.isel(time=slice(0, 2)))
    windows._compiled.cache_clear()
    assert len(set(shapes)) == 1
    assert shapes[0][0] == 5
    xr.testing.assert_identical(fine, wanted)


FLAT = """
import resource, sys
import numpy as np, xarray as xr
from orbitds.infer.downscaler import Downscaler
from orbitds.data.door import enter
coarse = xr.open_dataset(sys.argv[2]).load()
downscaler = Downscaler(sys.argv[1], tiles=(2, 3), missing="mask", constraints=("conserve",))
coarse["eastward_wind"][:, 3, 4] = np.nan
block = enter(coarse, downscaler.checkpoint.inputs, missing="mask").ds
for turn in range(90):
    downscaler(block)
    if turn == 4:
        first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - first) / 1024)
"""


@pytest.mark.slow
def test_a_thousand_times_take_no_more_memory_than_some(coarse, checkpoint_folder, tmp_path):
    coarse.to_netcdf(tmp_path / "coarse.nc")
    done = subprocess.run(
        [sys.executable, "-c", FLAT, str(checkpoint_folder), str(tmp_path / "coarse.nc")],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert float(done.stdout) < 20  # MiB, of 1,080 times beside the first 60
