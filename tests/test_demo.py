"""The demo from end to end: what it promises is there, and the model is worth its cost."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import xarray as xr
import yaml

from orbitds import demo
from orbitds.catalog import open_dataset
from orbitds.checkpoint import load_checkpoint
from orbitds.data.door import enter
from orbitds.grid import Grid
from orbitds.infer.downscaler import Downscaler
from orbitds.infer.part import Frame, Part
from orbitds.infer.ruler import Ruler
from orbitds.resources import share

WINDS = ("eastward_wind", "northward_wind")
STEPS = 60
# RMSE in m s-1 over 1991 and 1992 of what needs no training; only a change of the data, of the
# split or of a method itself moves them.
KNOWN = {
    "nearest": (1.593, 1.095),
    "bilinear": (1.236, 0.949),
    "bicubic": (0.971, 0.807),
    "delta change": (0.830, 0.753),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the command leaves, in a folder in which somebody has a file of their own."""
    pytest.importorskip("cartopy")
    place = tmp_path_factory.mktemp("demo")
    (place / "orbitds-demo").mkdir()
    (place / "orbitds-demo" / "notes.txt").write_text("mine", encoding="utf-8")
    done = _orbitds(place, "demo", "--steps", str(STEPS))
    assert done.returncode == 0, done.stderr
    for word in ("Error", "Warning", "Traceback"):
        assert word not in done.stderr
    assert "Reslim" in done.stdout
    assert "delta change" in done.stdout
    return place / "orbitds-demo"


@pytest.fixture(scope="module")
def rmse(folder):
    """RMSE by variable and method, as scores.json has it."""
    content = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    assert content["times"] == 24
    return {(row["variable"], row["method"]): row["rmse"] for row in content["rows"]}


# --- fast: what is refused before anything is done ---


@pytest.mark.parametrize("steps", [0, -1])
def test_steps_must_be_positive_before_anything_is_replaced(tmp_path, steps):
    (tmp_path / "fine.nc").write_text("precious", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"steps: .*greater than 0 \(got {steps}\)"):
        demo.run(tmp_path, steps=steps, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["fine.nc"]


def test_maps_are_asked_for_before_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr("orbitds.demo.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"Wanted cartopy.*, got .*pip install orbitds\[maps\]"):
        demo.run(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_earlier_demo_is_left_alone(tmp_path):
    pytest.importorskip("cartopy")
    (tmp_path / "maps").mkdir()
    with pytest.raises(
        FileExistsError, match=r"Wanted .*, got .* with maps\. Choose .*--overwrite"
    ):
        demo.run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["maps"]


# --- slow: the command itself ---


@pytest.mark.slow
def test_promised_files_are_there(folder):
    for name in ("fine.nc", "scores.md", "scores.json"):
        assert (folder / name).stat().st_size > 0
    assert (folder / "fine.zarr" / "zarr.json").is_file()
    checkpoint = {path.name for path in (folder / "checkpoint").iterdir()}
    assert checkpoint == {"weights.safetensors", "orbitds.json", "climatology.safetensors"}
    assert {path.name for path in folder.iterdir()} <= {*demo.OUTPUTS, "notes.txt"}
    assert [path for path in folder.rglob(".*") if "partial" in path.name] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [*WINDS, *(f"{wind}_bias" for wind in WINDS)])
def test_maps_show_something(folder, name):
    image = pytest.importorskip("matplotlib.image").imread(folder / "maps" / f"{name}.png")
    height, width = image.shape[:2]
    assert height > 400
    assert width > 700
    assert np.isfinite(image).all()
    levels = (image[..., :3] * 255).astype(int)
    assert len(np.unique(levels @ [1, 256, 65536])) > 500
    # neither a white page nor one filled with a single colour
    white = (image[..., :3] > 0.99).all(axis=-1).mean()
    assert 0.05 < white < 0.8
    assert image[..., :3].std() > 0.1


@pytest.mark.slow
def test_scores_are_of_all_methods(folder, rmse):
    methods = {"Reslim", *KNOWN}
    assert set(rmse) == {(wind, method) for wind in WINDS for method in methods}
    markdown = (folder / "scores.md").read_text(encoding="utf-8")
    for word in (*methods, "eastward_wind (m s-1)", "northward_wind (m s-1)", "1991-01-01"):
        assert word in markdown
    for value in rmse.values():
        assert f"{value:.3f}" in markdown


@pytest.mark.slow
@pytest.mark.parametrize("method", KNOWN)
def test_simple_methods_score_as_known(rmse, method):
    scored = [rmse[wind, method] for wind in WINDS]
    np.testing.assert_allclose(scored, KNOWN[method], atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("wind", WINDS)
def test_model_is_worth_its_cost(rmse, wind):
    assert rmse[wind, "Reslim"] < rmse[wind, "delta change"] < rmse[wind, "bicubic"]


@pytest.mark.slow
@pytest.mark.parametrize("wind", WINDS)
def test_scores_are_those_of_the_files(folder, rmse, wind):
    """The weighted error once more, from the files and in other words."""
    with xr.open_zarr(folder / "fine.zarr") as fine, _test_years() as truth:
        error = fine[wind] - truth[wind].assign_coords(fine[wind].coords)
        edges = fine["latitude_bnds"].clip(-90, 90)
        area = np.abs(np.sin(np.deg2rad(edges)).diff("bnds").squeeze("bnds"))
        value = float(np.sqrt((error.astype("float64") ** 2).weighted(area).mean()))
    assert rmse[wind, "Reslim"] == pytest.approx(value, rel=1e-5)


@pytest.mark.slow
def test_cells_lie_where_they_belong(folder):
    with (
        xr.open_dataset(folder / "coarse.nc") as coarse,
        xr.open_dataset(folder / "fine.nc") as fine,
        xr.open_zarr(folder / "fine.zarr") as zarr,
    ):
        np.testing.assert_array_equal(fine["latitude"], 88.75 - 2.5 * np.arange(72))
        np.testing.assert_array_equal(fine["longitude"], 2.5 * np.arange(144))
        for axis in ("latitude", "longitude"):
            children = fine[axis].values.reshape(-1, 4)
            np.testing.assert_allclose(children.mean(axis=1), coarse[axis], rtol=0, atol=1e-9)
        np.testing.assert_array_equal(fine["time"], coarse["time"])
        assert fine.sizes == zarr.sizes
        xr.testing.assert_equal(fine, zarr)


@pytest.mark.slow
def test_coarse_file_holds_the_block_means_of_the_truth(folder):
    with xr.open_dataset(folder / "coarse.nc") as coarse, _test_years() as truth:
        rows = np.deg2rad(np.linspace(90, -90, 73))
        area = -np.diff(np.sin(rows))[:, None]
        weight = (area * np.ones(144)).reshape(18, 4, 36, 4)
        for wind in WINDS:
            fields = truth[wind].values.astype(np.float64).reshape(-1, 18, 4, 36, 4)
            mean = (fields * weight).sum(axis=(2, 4)) / weight.sum(axis=(1, 3))
            np.testing.assert_allclose(coarse[wind], mean, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_output_follows_the_conventions(folder):
    with xr.open_dataset(folder / "fine.nc") as fine:
        assert fine.attrs["Conventions"].startswith("CF-1")
        assert "downscaled 4x by orbitds" in fine.attrs["history"]
        fingerprint = load_checkpoint(folder / "checkpoint").fingerprint
        assert fine.attrs["orbitds_checkpoint_sha256"] == fingerprint
        for axis, units in (("latitude", "degrees_north"), ("longitude", "degrees_east")):
            assert fine[axis].attrs["standard_name"] == axis
            assert fine[axis].attrs["units"] == units
            bounds = fine[fine[axis].attrs["bounds"]]
            assert bounds.shape == (fine.sizes[axis], 2)
            np.testing.assert_allclose(bounds.mean("bnds"), fine[axis])
            np.testing.assert_allclose(np.abs(bounds[:, 1] - bounds[:, 0]), 2.5)
            np.testing.assert_array_equal(bounds[1:, 0], bounds[:-1, 1])  # without gaps
        for wind in WINDS:
            assert fine[wind].dims == ("time", "latitude", "longitude")
            assert fine[wind].dtype == np.float32
            assert fine[wind].attrs["standard_name"] == wind
            assert fine[wind].attrs["units"] == "m s-1"
            assert bool(np.isfinite(fine[wind]).all())
            assert 5 < float(np.abs(fine[wind]).max()) < 40


@pytest.mark.slow
def test_notebook_gives_what_the_command_wrote(folder):
    with (
        xr.open_dataset(folder / "coarse.nc") as coarse,
        xr.open_dataset(folder / "fine.nc") as fine,
    ):
        by_hand = coarse.orbit.downscale(folder / "checkpoint")
        for wind in WINDS:
            np.testing.assert_allclose(by_hand[wind], fine[wind], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_checkpoint_says_how_it_came_about(folder):
    provenance = load_checkpoint(folder / "checkpoint").description.provenance
    assert provenance["pair"] == "navy_winds_10deg_to_2p5deg"
    assert provenance["period"] == ["1982-01", "1989-12"]
    assert 0 < provenance["step"] <= STEPS
    assert provenance["config"]["steps"] == STEPS


@pytest.mark.slow
def test_second_demo_is_refused_or_replaces_the_first(folder, tmp_path):
    folder = shutil.copytree(folder, tmp_path / "orbitds-demo")
    before = _state(folder)
    refused = _orbitds(folder.parent, "demo", "--steps", "1")
    assert refused.returncode != 0
    assert refused.stderr.count("─ Error ─") == 1
    assert "Traceback" not in refused.stderr
    assert "--overwrite" in refused.stderr
    assert _state(folder) == before
    replaced = _orbitds(folder.parent, "demo", "--steps", "1", "--overwrite")
    assert replaced.returncode == 0, replaced.stderr
    after = _state(folder)
    # named by their steps, and by the time
    named = ("run/states/step-", "run/tensorboard/")
    kept, found = ({n for n in names if not n.startswith(named)} for names in (before, after))
    assert found == kept
    assert after["notes.txt"] == before["notes.txt"]
    changed = {name for name in after if after[name] != before.get(name)}
    assert {"fine.nc", "scores.json", "checkpoint/weights.safetensors"} <= changed
    assert load_checkpoint(folder / "checkpoint").description.provenance["config"]["steps"] == 1


@pytest.fixture(scope="module")
def untiled(folder):
    """The canonical input and the answer without tiles."""
    downscaler = Downscaler(folder / "checkpoint")
    with xr.open_dataset(folder / "coarse.nc") as coarse:
        block = enter(coarse.load(), downscaler.checkpoint.inputs).ds
    return block, downscaler(block)


@pytest.mark.slow
@pytest.mark.parametrize("tiles", [(2, 2), (2, 4), (4, 4), (4, 8), (8, 8)])
def test_tiles_leave_no_seams(folder, untiled, tiles):
    """The field jumps no more where tiles meet than it is expected to, and than it does untiled."""
    block, whole = untiled
    grid = Grid.of(block)
    downscaler = Downscaler(folder / "checkpoint", tiles=tiles)
    _, seams = downscaler.compute_with_seams(block, grid)
    frame = Frame(downscaler.tiles_for(grid), Part.whole(grid.shape), after=1)
    natural = Ruler(frame, downscaler.checkpoint.factor, torch.device("cpu")).blank(WINDS)
    natural.add(*({w: torch.tensor(ds[w].values) for w in WINDS} for ds in (whole, block)))
    for wind in WINDS:
        index = seams.index(wind)
        assert index is not None
        assert index <= 1.05
        assert index == pytest.approx(natural.read().index(wind), rel=0.01)


@pytest.mark.slow
def test_two_years_take_seconds(folder, untiled):
    downscaler = Downscaler(folder / "checkpoint")
    started = time.monotonic()
    downscaler(untiled[0])
    assert time.monotonic() - started < 20


# --- helpers ---


def _orbitds(place, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "orbitds", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=place,
        env=os.environ | {"COLUMNS": "200"},
    )


def _test_years():
    """The embedded winds of the test years, past the demo's own files."""
    pair = yaml.safe_load(
        share("data_catalog/pairs/navy_winds_10deg_to_2p5deg.yaml").read_text(encoding="utf-8")
    )
    return open_dataset(pair["fine"]).sel(time=slice(*pair["split"]["test"]))


def _state(folder):
    """Time of change and content of everything in a folder."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in folder.rglob("*")
        if path.is_file()
    }
