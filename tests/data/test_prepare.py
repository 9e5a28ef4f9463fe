"""Training stores from files: equal to their sources, whole after any interruption, or refused."""

import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from dataclasses import replace

import dask.array
import numpy as np
import pytest
import xarray as xr
import yaml

from orbitds import cli
from orbitds.data import plan as plan_module
from orbitds.data import prepare as prepare_module
from orbitds.data import source as source_module
from orbitds.data.pair import open_pair
from orbitds.data.prepare import prepare
from orbitds.data.recipe import Recipe
from orbitds.data.stats import statistics as statistics_of
from orbitds.data.store import open_store, read_about, store_statistics
from orbitds.normalize import Statistics
from tests.forking import CONTEXT, begin, ended


@pytest.fixture
def files(pair, tmp_path):
    """The synthetic pair as files with entries beside them; returns the folder."""
    for name, ds in (("fine", pair.fine), ("coarse", pair.coarse), ("static", pair.statics)):
        ds.to_netcdf(tmp_path / f"{name}.nc")
        entry = {"title": name, "path": f"{name}.nc", "licence": "none", "citation": "none"}
        entry |= {"resolution_deg": 1, "variables": list(map(str, ds.data_vars))}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(entry), encoding="utf-8")
    names = ["eastward_wind", "total_precipitation_24hr"]
    entry = {
        "title": "test",
        "fine": f"{tmp_path}/fine.yaml",
        "coarse": f"{tmp_path}/coarse.yaml",
        "inputs": names,
        "outputs": names[::-1],
        "statics": {"dataset": f"{tmp_path}/static.yaml", "variables": ["orography"]},
        "split": {part: list(period) for part, period in pair.split.items()},
    }
    (tmp_path / "pair.yaml").write_text(yaml.safe_dump(entry), encoding="utf-8")
    return tmp_path


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of five times, so that there are ten of them, the last with three."""
    monkeypatch.setattr(plan_module, "_block_times", lambda *_: 5)


@pytest.fixture
def fixed_date(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")


def recipe(folder, **options):
    return Recipe(pair=str(folder / "pair.yaml"), **options)


def change(folder, name, **entries):
    path = folder / name
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(content | entries), encoding="utf-8")


def content(store):
    """All bytes of a store by file."""
    paths = [path for path in store.rglob("*") if path.is_file()]
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in paths}


# --- what is in it ---


@pytest.mark.parametrize("tiles", [(1, 1), (2, 3)])
def test_a_store_equals_its_source(files, pair, small_blocks, tiles):
    store = open_pair(prepare(recipe(files, tiles=tiles), files / "store.zarr"))
    source = open_pair(files / "pair.yaml")
    xr.testing.assert_equal(store.coarse.compute(), source.coarse.compute())
    xr.testing.assert_equal(store.fine.compute(), source.fine.compute())
    xr.testing.assert_equal(store.statics, source.statics.compute())
    assert (store.split, store.same_product) == (source.split, source.same_product)
    assert store.outputs == ("total_precipitation_24hr", "eastward_wind")
    assert store.fine["eastward_wind"].attrs["units"] == "m s-1"
    window = store.fine_fields.read(13, slice(2, 9), np.array([31, 32, 0, 1]))
    expected = source.fine.isel(time=13, latitude=slice(2, 9), longitude=[31, 32, 0, 1])
    np.testing.assert_array_equal(window, expected[list(store.outputs)].to_array().values)
    assert len(store.coarse_fields) == 48


def test_integers_are_off_by_no_more_than_half_a_step(files, small_blocks):
    store = open_store(prepare(recipe(files, dtype="int16"), files / "store.zarr"))
    source = open_pair(files / "pair.yaml")
    assert store.fine_fields.array.dtype == np.int16
    step = dict(zip(store.outputs, store.fine_fields.packing.step, strict=True))
    for name in store.outputs:
        got, wanted = store.fine[name].values, source.fine[name].values
        if name == "total_precipitation_24hr":
            got, wanted = np.log1p(got), np.log1p(wanted)
        np.testing.assert_allclose(got, wanted, atol=0.51 * step[name])
        assert np.abs(got - wanted).max() > 0.1 * step[name]


def test_statistics_are_those_of_the_training_years(files, small_blocks):
    store = prepare(recipe(files), files / "store.zarr")
    found, expected = (
        store_statistics(store),
        statistics_of(open_pair(files / "pair.yaml").part("train")),
    )
    assert set(found) == set(expected)
    for name, row in found.items():
        assert isinstance(row, Statistics)
        np.testing.assert_allclose(
            [row.mean, row.std], [expected[name].mean, expected[name].std], rtol=1e-12
        )


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_training_takes_the_statistics_of_a_store_without_reading_a_value(
    files, small_blocks, dtype
):
    folder = prepare(recipe(files, dtype=dtype), files / "store.zarr")
    expected = statistics_of(replace(open_store(folder), summary=None).part("train"))
    for path in folder.rglob("values/c/*"):  # a value that is read from now on is NaN
        shutil.rmtree(path)
    store = open_pair(folder).held()
    found = statistics_of(store.part("train"))
    assert list(found) == list(expected)
    for name, row in found.items():
        wanted = [expected[name].mean, expected[name].std]
        np.testing.assert_allclose(
            [row.mean, row.std], wanted, rtol={"float32": 1e-6, "int16": 1e-4}[dtype]
        )
    with pytest.raises(ValueError, match="NaN alone"):
        statistics_of(store.part("validate"))


@pytest.mark.filterwarnings("error")
def test_xarray_reads_it_alone(files, small_blocks):
    prepare(recipe(files), files / "store.zarr")
    ds = xr.open_zarr(files / "store.zarr", group="fine")
    assert ds["values"].dims == ("time", "variable", "latitude", "longitude")
    assert ds["variable"].values.tolist() == ["total_precipitation_24hr", "eastward_wind"]
    fine = xr.open_dataset(files / "fine.nc")
    np.testing.assert_array_equal(
        ds["values"].sel(variable="eastward_wind").values, fine["eastward_wind"].values
    )
    xr.testing.assert_equal(ds["time"], fine["time"].drop_encoding())


def test_the_store_tells_where_it_is_from(files, small_blocks):
    about = read_about(prepare(recipe(files), files / "store.zarr"))
    assert about["pair"]["outputs"] == ["total_precipitation_24hr", "eastward_wind"]
    assert set(about["sources"]) == {
        f"{files}/{name}.yaml" for name in ("fine", "coarse", "static")
    }
    manifest = json.loads((files / "store.zarr/manifest.json").read_text(encoding="utf-8"))
    assert len(manifest["files"]) == 20


def test_calendars_are_kept(files, pair, small_blocks):
    for name in ("fine", "coarse"):
        ds = getattr(pair, name)
        time = xr.date_range(
            "2001-01-01", periods=48, freq="MS", calendar="noleap", use_cftime=True
        )
        ds.assign_coords(time=time).to_netcdf(files / f"{name}.nc")
    store = open_store(prepare(recipe(files), files / "store.zarr"))
    assert store.fine["time"].dt.calendar == "noleap"
    assert store.part("test").fine.sizes["time"] == 12


def test_hourly_points_become_daily_cells(files, monkeypatch):
    """ERA5 as it is: points with both poles, hours, a temperature and precipitation in m."""
    rng = np.random.default_rng(3)
    latitude, longitude = np.linspace(-90, 90, 19), np.arange(36) * 10 - 180.0
    shape = 24 * 9 + 1, 19, 36
    dims = ("time", "latitude", "longitude")
    hourly = xr.Dataset(
        {
            "t2m": (dims, rng.normal(280, 5, shape).astype(np.float32), {"units": "K"}),
            "tp": (dims, rng.gamma(0.5, 1e-3, shape).astype(np.float32), {"units": "m"}),
        },
        {
            "time": xr.date_range("2001-12-29", periods=shape[0], freq="h"),
            "latitude": latitude,
            "longitude": longitude,
        },
    )
    hourly.to_netcdf(files / "fine.nc", encoding={"t2m": {"chunksizes": (48, 10, 20)}})
    names = ["total_precipitation_24hr", "2m_temperature_min"]
    split = {
        part: [day, day]
        for part, day in zip(
            ("train", "validate", "test"), ("2001-12-29", "2001-12-30", "2001-12-31"), strict=True
        )
    }
    change(
        files,
        "pair.yaml",
        aggregate="day",
        coarse={"coarsen": 3},
        inputs=names,
        outputs=names,
        split=split,
    )
    monkeypatch.setattr(plan_module, "_block_times", lambda *_: 4)
    orography = xr.Dataset(
        {"orography": (dims[1:], np.full((19, 36), 7.0), {"units": "m"})},
        {"latitude": latitude, "longitude": longitude},
    )
    orography.to_netcdf(files / "static.nc")
    with pytest.raises(ValueError, match=r"end at the poles.*--resolution-deg 10\."):
        prepare(recipe(files), files / "store.zarr")
    store = open_store(prepare(recipe(files, resolution_deg=10), files / "store.zarr"))
    assert store.fine_grid.shape == (18, 36)
    assert store.coarse_grid.shape == (6, 12)
    assert store.fine.sizes["time"] == 9
    np.testing.assert_allclose(store.statics["orography"], 7.0, rtol=1e-6)
    rain = 1000 * hourly["tp"].values[1:].astype(np.float64).reshape(9, 24, 19, 36).sum(axis=1)
    edges = np.sin(np.deg2rad(np.clip(np.append(latitude - 5, 95), -90, 90)))
    weights = np.repeat(np.diff(edges)[:, None], 36, axis=1)
    for ds, grid in ((store.fine, store.fine_grid), (store.coarse, store.coarse_grid)):
        for got, wanted in zip(ds["total_precipitation_24hr"].values, rain, strict=True):
            mean = np.average(got.astype(np.float64), weights=grid.area)
            assert abs(mean / np.average(wanted, weights=weights) - 1) < 1e-6
    # west of 170 W: the last columns are those at 170 E and at the date line
    coldest = hourly["t2m"].values[:-1].reshape(9, 24, 19, 36).min(axis=1)
    got = store.fine["2m_temperature_min"].sel(longitude=175).values
    row = slice(9, 11)  # the cell from the equator to 10 N: half of each point's band
    bands = np.sin(np.deg2rad([0, 5, 10]))
    share = np.diff(bands) / (bands[2] - bands[0])
    columns = coldest[:, row][..., [35, 0]].mean(axis=2)
    np.testing.assert_allclose(got[:, 8], columns @ share, rtol=1e-6)


def test_a_source_chunk_is_read_once(files, pair, monkeypatch):
    counts = np.zeros(6, int)
    values = pair.fine["eastward_wind"].values

    def read(block_info):
        at = block_info[None]["chunk-location"][0]
        counts[at] += 1
        return values[8 * at : 8 * at + 8]

    chunks = ((8,) * 6, values.shape[1:2], values.shape[2:])
    meta = np.empty((0, 0, 0), np.float32)
    lazy = dask.array.map_blocks(read, chunks=chunks, dtype=np.float32, meta=meta, name="wind")
    ds = pair.fine.drop_vars("total_precipitation_24hr")
    ds["eastward_wind"] = (ds["eastward_wind"].dims, lazy, ds["eastward_wind"].attrs)
    monkeypatch.setattr(source_module, "open_dataset", lambda _: ds)
    monkeypatch.setattr(plan_module, "BLOCK_BYTES", 21 * 4 * (7 * 11 + 21 * 33))
    change(
        files,
        "pair.yaml",
        coarse={"coarsen": 3},
        inputs=["eastward_wind"],
        outputs=["eastward_wind"],
        statics=None,
    )
    # a width that asks for the cells there are
    store = open_store(prepare(recipe(files, resolution_deg=180 / 21), files / "store.zarr"))
    assert store.fine_fields.array.shards[0] == 16
    assert counts.tolist() == [1] * 6


def test_missing_cells_are_counted_where_declared(files, pair, small_blocks):
    wind = pair.fine["eastward_wind"].copy()
    wind[7, 2, 3:5] = np.nan
    pair.fine.assign(eastward_wind=wind).to_netcdf(files / "fine.nc")
    with pytest.raises(
        ValueError,
        match=r"eastward_wind without missing values.* NaN in 2 of 3465 "
        r"cells.*first is at 2001-08-01T00:00:00, latitude 68.57\d+, longitude 38",
    ):
        prepare(recipe(files), files / "store.zarr")
    change(files, "fine.yaml", missing="mask")
    store = prepare(recipe(files), files / "mask.zarr")
    assert read_about(store)["missing_values"] == {"fine/eastward_wind": 2}
    assert int(np.isnan(open_store(store).fine["eastward_wind"]).sum()) == 2
    assert open_store(store).fine.attrs["missing"] == "mask"


# --- interruptions ---


class Stopped(BaseException):
    """What ends a run in a test."""


def _stop(*_, **__):
    raise Stopped


def slowly(pair, output, wait, ready):
    """Make a store of short blocks, which take their time to be written."""
    plan_module._block_times = lambda *_: 5
    original = prepare_module._write

    def write(*arguments):
        time.sleep(wait)
        return original(*arguments)

    prepare_module._write = write
    ready.set()
    prepare(Recipe(pair=str(pair)), output)


def killed(folder, output, after, wait):
    """Kill a process so many seconds after it began to work; return whether it was killed."""
    ready, log = CONTEXT.Event(), folder / "killed.log"
    process = begin(slowly, folder / "pair.yaml", output, wait, ready, log=log)
    assert ready.wait(60)
    time.sleep(after)
    process.kill()
    code = ended(process)
    assert code in (0, -signal.SIGKILL), log.read_text()
    return code != 0


def check_kills(files, times):
    prepare(recipe(files), files / "whole.zarr")
    store = files / "store.zarr"
    count = sum(killed(files, store, after, 0.03) for after in times)
    if store.exists() and not read_about(store)["complete"]:
        with pytest.raises(ValueError, match=r"complete training store.*Run it again.*--output"):
            open_store(store)
    prepare(recipe(files), store)
    assert content(store) == content(files / "whole.zarr")
    return count


def test_a_killed_run_goes_on(files, small_blocks, fixed_date):
    assert check_kills(files, (0.3, 0.5)) == 2


@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on(files, small_blocks, fixed_date):
    rng = random.Random(1)
    assert check_kills(files, [rng.uniform(0, 0.9) for _ in range(20)]) >= 5


@pytest.mark.parametrize("stop", range(4))
def test_nothing_finished_is_done_again(files, small_blocks, fixed_date, monkeypatch, stop):
    """Stopped before a block is read, between its two shards, before it is noted, at the end."""
    from orbitds.data.journal import Journal

    prepare(recipe(files), files / "whole.zarr")
    store, read, armed = files / "store.zarr", [], [True]
    original = prepare_module.read_block

    def counting(source, steps, *, workers):
        read.append(steps.start // 5)
        if stop == 0 and armed and len(read) == 4:
            raise Stopped
        return original(source, steps, workers=workers)

    monkeypatch.setattr(prepare_module, "read_block", counting)
    with monkeypatch.context() as patch:
        if stop == 1:
            patch.setattr(prepare_module, "GROUPS", ("coarse", "nowhere"))
        if stop == 2:
            patch.setattr(Journal, "finish", _stop)
        if stop == 3:
            patch.setattr(prepare_module, "finish_store", _stop)
        with pytest.raises((Stopped, KeyError)):
            prepare(recipe(files), store)
    armed.clear()
    done = {0: 3, 1: 0, 2: 0, 3: 10}[stop]
    for name in ("coarse/values/c/9/0/0/0", "fine/values/c/9/0/0/0"):  # a shard cut short
        if stop < 3:
            (store / name).parent.mkdir(parents=True, exist_ok=True)
            (store / name).write_bytes(b"half")
            (store / name).with_suffix(".0123.partial").write_bytes(b"half")
    read.clear()
    prepare(recipe(files), store)
    assert read == list(range(done, 10))
    assert content(store) == content(files / "whole.zarr")
    read.clear()
    prepare(recipe(files), store)
    assert read == []


def test_a_finished_block_that_lost_its_file_is_made_again(files, small_blocks, fixed_date):

    prepare(recipe(files), files / "whole.zarr")
    store = files / "store.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare_module, "_finish", _stop)
        with pytest.raises(Stopped):
            prepare(recipe(files), store)
    (store / "fine/values/c/4/0/0/0").write_bytes(b"short")
    prepare(recipe(files), store)
    assert content(store) == content(files / "whole.zarr")


# --- refusals ---


@pytest.mark.parametrize(
    ("alter", "options", "told"),
    [
        (lambda folder: None, {"dtype": "int16"}, "recipe"),
        (lambda folder: None, {"tiles": (2, 1)}, "recipe"),
        (lambda folder: change(folder, "pair.yaml", title="other"), {}, "pair"),
        (lambda folder: change(folder, "fine.yaml", missing="mask"), {}, "dataset .*fine.yaml"),
        (lambda folder: os.utime(folder / "coarse.nc", (1, 1)), {}, "dataset .*coarse.yaml"),
    ],
)
def test_other_contents_are_refused(files, small_blocks, alter, options, told):
    prepare(recipe(files), files / "store.zarr")
    alter(files)
    with pytest.raises(FileExistsError, match=rf"go on with .*other contents of: {told}\. Choose"):
        prepare(recipe(files, **options), files / "store.zarr")


def test_a_second_writer_is_refused(files, small_blocks):
    from orbitds.data.journal import only_writer

    with only_writer(files / "store.zarr"), pytest.raises(BlockingIOError, match="another run"):
        prepare(recipe(files), files / "store.zarr")
    prepare(recipe(files), files / "store.zarr")


def test_what_is_no_store_is_left_alone(files):
    (files / "store.zarr").mkdir()
    (files / "store.zarr/precious").write_text("x", encoding="utf-8")
    with pytest.raises(FileExistsError, match=r"exists and is no training store"):
        prepare(recipe(files), files / "store.zarr")
    assert (files / "store.zarr/precious").read_text(encoding="utf-8") == "x"


def on_full_disk(limit, arguments):
    """Carry out a command that can write files of so many bytes."""
    plan_module._block_times = lambda *_: 5
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.argv = ["orbitds", *map(str, arguments)]
    cli.main()


def test_a_full_disk_names_the_file_and_goes_on_later(files, small_blocks, fixed_date):
    prepare(recipe(files), files / "whole.zarr")
    largest = max((files / "whole.zarr").rglob("c/*/0/0/0"), key=lambda path: path.stat().st_size)
    limit = largest.stat().st_size - 1
    arguments = ["prepare", "--pair", files / "pair.yaml", "--output", files / "store.zarr"]
    log = files / "full.log"
    process = begin(on_full_disk, limit, arguments, log=log, environment={"COLUMNS": "1000"})
    assert ended(process) == 1
    assert "File too large" in log.read_text()
    assert str(largest.relative_to(files / "whole.zarr")) in log.read_text()
    prepare(recipe(files), files / "store.zarr")
    assert content(files / "store.zarr") == content(files / "whole.zarr")


def test_a_folder_that_is_read_only_is_named(files, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, _: path != files)
    with pytest.raises(PermissionError, match=f"can be written to, got {files}. Choose"):
        prepare(recipe(files), files / "store.zarr")


def test_statics_are_checked_too(files, pair):
    orography = (pair.statics["orography"] + 1e5).assign_attrs(units="m")
    pair.statics.assign(orography=orography).to_netcdf(files / "static.nc")
    with pytest.raises(ValueError, match="orography between -500 and 9000 m, got 1"):
        prepare(recipe(files), files / "store.zarr")
    assert not (files / "store.zarr").exists()


def test_an_earlier_time_of_an_input_is_not_stored_again(files):
    names = ["eastward_wind", "eastward_wind@-1"]
    change(files, "pair.yaml", coarse={"coarsen": 3}, inputs=names, outputs=names[:1])
    store = open_store(prepare(recipe(files, resolution_deg=180 / 21), files / "store.zarr"))
    assert store.inputs == ("eastward_wind",)


@pytest.mark.parametrize(
    ("name", "told"),
    [("store", "ends in .zarr, got .*store"), ("absent/store.zarr", "mkdir -p .*absent")],
)
def test_a_wrong_output_is_refused(files, name, told):
    with pytest.raises((ValueError, FileNotFoundError), match=told):
        prepare(recipe(files), files / name)
