"""A graph before its values: nothing is read, no model runs, and the answer is that of numpy."""

import json
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cloudpickle
import dask.array
import dask.base
import dask.config
import numpy as np
import pytest
import xarray as xr

from orbitds.checkpoint import load_checkpoint, save_checkpoint
from orbitds.infer import lazy
from orbitds.infer.downscaler import Downscaler
from orbitds.infer.lazy import downscale
from orbitds.infer.windows import Windows
from tests.conftest import untrained_for

WIND, RAIN = "eastward_wind", "total_precipitation_24hr"


def unreadable(coarse):
    """The dataset with fields that cannot be read."""

    def read(*_):
        raise OSError("read")

    return coarse.map(
        lambda field: field.copy(
            data=dask.array.map_blocks(
                read, chunks=((5, 7), *((size,) for size in field.shape[1:])), dtype=np.float32
            )
        ),
        keep_attrs=True,
    )


@pytest.mark.parametrize("missing", ["error", "mask"])
def test_a_graph_is_made_without_reading(coarse, checkpoint_folder, missing):
    fine = downscale(unreadable(coarse), checkpoint_folder, missing=missing)
    assert fine[WIND].chunks == ((5, 7), (21,), (33,))
    with pytest.raises(OSError, match="read"):
        fine.compute(scheduler="synchronous")


def test_all_variables_of_a_block_are_one_run_of_the_model(coarse, checkpoint_folder, monkeypatch):
    runs, compute = [], Downscaler.compute
    monkeypatch.setattr(
        Downscaler,
        "compute",
        lambda self, coarse, *a, **k: (
            runs.append(coarse.sizes["time"]) or compute(self, coarse, *a, **k)
        ),
    )
    fine = downscale(coarse.chunk(time=5, latitude=3, longitude=4), checkpoint_folder)
    assert runs == []
    fine.compute(scheduler="synchronous")
    assert sorted(runs) == [2, 5, 5]
    runs.clear()
    fine[RAIN].isel(time=11).compute(scheduler="synchronous")
    assert runs == [2], "only the block that is asked for"


def test_variables_may_be_chunked_unlike_each_other_or_not_at_all(coarse, checkpoint_folder):
    wanted = downscale(coarse, checkpoint_folder)
    rain = coarse[RAIN]
    for other in (rain, rain.chunk(time=4, longitude=2), rain.transpose("latitude", ...).chunk()):
        mixed = coarse.assign({WIND: coarse[WIND].chunk(time=5), RAIN: other})
        fine = downscale(mixed, checkpoint_folder)
        assert set(fine.chunks) == {"time", "latitude", "longitude"}
        computed = fine.compute(scheduler="synchronous")
        xr.testing.assert_allclose(computed, wanted, rtol=1e-4, atol=1e-4)


def test_large_fields_are_cut_in_time(coarse, checkpoint_folder, monkeypatch):
    monkeypatch.setattr(lazy, "BLOCK_FINE_CELLS", 3 * 21 * 33 + 5)
    assert downscale(coarse.chunk(), checkpoint_folder)[WIND].chunks[0] == (3, 3, 3, 3)
    monkeypatch.setattr(lazy, "BLOCK_FINE_CELLS", 1)
    assert downscale(coarse.chunk(), checkpoint_folder)[WIND].chunks[0] == (1,) * 12


def test_a_graph_carries_no_weights_and_a_block_costs_little(coarse, checkpoint_folder):
    model = load_checkpoint(checkpoint_folder).model
    weights = sum(weight.nbytes for weight in model.parameters())

    def bytes_of(blocks):
        times = 12 * blocks
        many = coarse.isel(time=np.arange(times) % 12).map(
            lambda field: field.copy(data=dask.array.zeros(field.shape, "f4", chunks=(12, -1, -1))),
            keep_attrs=True,
        )
        dates = np.arange(times).astype("m8[D]") + np.datetime64("2001-01-01", "ns")
        fine = downscale(many.assign_coords(time=dates), checkpoint_folder)
        (graph,) = dask.base.optimize(fine[WIND].data)
        return len(cloudpickle.dumps(graph.__dask_graph__()))

    one, many = bytes_of(1), bytes_of(101)
    assert one < 12_000 < weights
    assert (many - one) / 100 < 2_500


def test_the_same_call_has_the_same_keys(coarse, checkpoint_folder):
    ds = coarse.chunk(time=5)

    def keys(**options):
        return downscale(ds, checkpoint_folder, **options)[WIND].data.name

    assert keys() == keys()
    others = [
        {"tiles": (1, 2)},
        {"constraints": ("conserve",)},
        {"missing": "mask"},
        {"batch_size": 1},
        {"variables": (WIND,)},
    ]
    assert len({keys(**options) for options in [{}, *others]}) == 6
    one, other = (downscale(ds, in_memory(checkpoint_folder))[WIND].data.name for _ in range(2))
    assert one != other, "a model in memory may change"


# --- schedulers ---


@pytest.fixture
def eager(coarse, checkpoint_folder):
    """What the blocks of 5 times give when each is asked for by itself."""
    parts = [coarse.isel(time=slice(start, start + 5)) for start in (0, 5, 10)]
    return xr.concat([downscale(part, checkpoint_folder) for part in parts], "time")


def test_threads_give_the_same_bits(coarse, checkpoint_folder, eager):
    fine = downscale(coarse.chunk(time=5), checkpoint_folder)
    for _ in range(3):
        computed = fine.compute(scheduler="threads", num_workers=4)
        xr.testing.assert_equal(computed, eager)
        assert computed.attrs == fine.attrs


def test_threads_may_call_at_once(coarse, checkpoint_folder, monkeypatch):
    """The model is moved to its device and used by one thread at a time."""
    run, inside, calls = Windows.run, [], []

    def alone(*args, **told):
        inside.append(1)
        calls.append(1)
        time.sleep(0.02)  # others may come
        assert len(inside) == 1
        result = run(*args, **told)
        inside.pop()
        return result

    monkeypatch.setattr(Windows, "run", alone)
    wanted = downscale(coarse, checkpoint_folder)
    with ThreadPoolExecutor(4) as pool:
        for fine in pool.map(lambda _: downscale(coarse, checkpoint_folder), range(8)):
            xr.testing.assert_identical(fine, wanted)
    assert len(calls) == 9


@pytest.mark.distributed
@pytest.mark.slow
def test_processes_give_the_same_bits(coarse, checkpoint_folder, eager):
    fine = downscale(coarse.chunk(time=5), checkpoint_folder)
    with dask.config.set({"multiprocessing.context": "spawn"}):
        computed = fine.compute(scheduler="processes", num_workers=2)
    xr.testing.assert_equal(computed, eager)


@pytest.mark.distributed
@pytest.mark.slow
def test_a_cluster_gives_the_same_bits_and_loads_the_model_once_each(
    checkpoint_folder, tmp_path, coarse, eager
):
    """In a process of its own: a cluster warns, and leaves threads behind."""
    coarse.to_netcdf(tmp_path / "coarse.nc")
    script = f"""
import os
import orbitds, xarray as xr
from distributed import Client, LocalCluster

def misses():
    from orbitds import checkpoint
    return checkpoint._load.cache_info().misses

if __name__ == "__main__":
    with LocalCluster(
        n_workers=2, threads_per_worker=3, processes=True, dashboard_address=None
    ) as cluster, Client(cluster) as client:
        coarse = xr.open_dataset({str(tmp_path / "coarse.nc")!r}, chunks={{"time": 5}})
        fine = coarse.orbit.downscale({str(checkpoint_folder)!r})
        fine.compute().to_netcdf({str(tmp_path / "fine.nc")!r})
        again = coarse.orbit.downscale(orbitds.load_checkpoint({str(checkpoint_folder)!r}))
        again["eastward_wind"].isel(time=[0, 6, 11]).compute()
        print(max(client.run(misses).values()), client.run(misses))
"""
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 "), done.stdout
    with xr.open_dataset(tmp_path / "fine.nc") as fine:
        for name in eager.data_vars:
            np.testing.assert_array_equal(fine[name], eager[name])


# --- what travels ---


def in_memory(folder):
    """A checkpoint that is not what lies in its folder."""
    return replace(load_checkpoint(folder), name="mine")


def test_a_loaded_checkpoint_travels_as_its_folder(coarse, checkpoint_folder):
    ds = coarse.chunk(time=5)
    loaded = downscale(ds, load_checkpoint(checkpoint_folder))
    by_path = downscale(ds, checkpoint_folder)
    assert loaded[WIND].data.name == by_path[WIND].data.name
    pickle.loads(pickle.dumps(loaded[WIND].data.__dask_graph__()))


def test_a_checkpoint_in_memory_stays_in_its_process(coarse, checkpoint_folder):
    fine = downscale(coarse.chunk(time=5), in_memory(checkpoint_folder))
    wanted = downscale(coarse, checkpoint_folder)
    xr.testing.assert_allclose(fine.compute(scheduler="threads"), wanted, rtol=1e-4, atol=1e-4)
    message = "Wanted a checkpoint in a folder.*got 'mine', which is in memory.*scheduler='threads'"
    with pytest.raises(ValueError, match=message):
        pickle.dumps(fine[WIND].data.__dask_graph__())
    with pytest.raises(ValueError, match=message):
        fine.compute(scheduler="processes")


def test_a_folder_that_changed_is_refused(coarse, checkpoint_folder, tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    for file in checkpoint_folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    fine = downscale(coarse.chunk(time=5), folder)
    message = pickle.dumps(fine[WIND].data)
    told = json.loads((folder / "orbitds.json").read_text())
    told["provenance"]["pair"] = "another"
    (folder / "orbitds.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match="that the job began with.*got another one.*Put the first"):
        pickle.loads(message)


def test_a_relative_folder_is_found_from_elsewhere(
    coarse, checkpoint_folder, monkeypatch, tmp_path
):
    monkeypatch.chdir(checkpoint_folder.parent)
    fine = downscale(coarse.chunk(time=12), checkpoint_folder.name)
    monkeypatch.chdir(tmp_path)
    xr.testing.assert_equal(
        fine.compute(scheduler="synchronous"), downscale(coarse, checkpoint_folder)
    )


# --- what the answer says ---


def test_lazy_and_eager_say_the_same(coarse, checkpoint_folder):
    eager, made = (
        downscale(ds, checkpoint_folder, tiles=(2, 2), missing="mask")
        for ds in (coarse, coarse.chunk(time=5))
    )
    assert eager.attrs == made.attrs
    assert made.attrs["orbitds_missing"] == "mask"
    for name in eager.variables:
        wanted = {key: value for key, value in eager[name].attrs.items() if "masked" not in key}
        assert made[name].attrs == wanted
        assert str(made[name].encoding) == str(eager[name].encoding)
        assert made[name].dims == eager[name].dims
        assert made[name].dtype == eager[name].dtype
    assert made.encoding == eager.encoding == {"unlimited_dims": {"time"}}


@pytest.mark.parametrize("chunks", [None, {"time": 5}])
def test_data_that_say_what_nan_is_are_believed(coarse, checkpoint_folder, chunks):
    holes = coarse.where(coarse["latitude"] < 60)
    ds = holes if chunks is None else holes.chunk(chunks)
    told = downscale(ds.assign_attrs(missing="mask"), checkpoint_folder).compute()
    asked = downscale(ds, checkpoint_folder, missing="mask").compute()
    xr.testing.assert_identical(told, asked)
    # what a caller says counts, and what a file of others has under this name does not
    for other, options in (("mask", {"missing": "error"}), (-999.0, {})):
        with pytest.raises(ValueError, match="without missing values"):
            downscale(ds.assign_attrs(missing=other), checkpoint_folder, **options).compute()


def test_settings_are_those_that_decide_on_values(coarse, checkpoint_folder):
    def settings(**options):
        fine = downscale(coarse, checkpoint_folder, **options)
        return json.loads(fine.attrs["orbitds_config"]), fine.attrs["orbitds_config_sha256"]

    plain, digest = settings()
    assert plain == {
        "variables": [WIND, RAIN],
        "tiles": [1, 1],
        "halo": [8, 8],
        "constraints": [],
        "missing": "error",
        "dtype": "float32",
        "members": None,
        "spread": None,
    }
    assert settings(tiles="auto", batch_size=3, device="cpu") == (plain, digest)
    assert settings(tiles=(2, 3))[0]["tiles"] == [2, 3]
    others = [{"tiles": (2, 3)}, {"variables": [WIND]}, {"constraints": ["order"]}]
    assert len({digest, *(settings(**options)[1] for options in others)}) == 4


def test_what_a_checkpoint_lacks_is_told_before_anything_is_computed(coarse, checkpoint_folder):
    moved = coarse.assign_coords(longitude=coarse["longitude"] + 5).chunk(time=5)
    with pytest.warns(UserWarning, match="outside the training region"):
        downscale(moved, checkpoint_folder)


# --- bands of rows ---


@pytest.mark.parametrize("missing", ["error", "mask"])
@pytest.mark.parametrize("constraints", [(), ("conserve",)])
@pytest.mark.parametrize("north_up", [True, False])
def test_bands_are_the_field_to_the_bit(
    coarse, checkpoint_folder, monkeypatch, missing, constraints, north_up
):
    coarse = coarse.isel(time=slice(0, 6)).copy()
    options = {"tiles": (3, 2), "missing": missing, "constraints": constraints, "batch_size": 1}
    if missing == "mask":
        coarse[WIND][2] = np.nan  # at this time there is no answer
        coarse[WIND][3, 1:3, 4] = np.nan
        coarse[RAIN][5, :3] = np.nan
    ds = coarse.chunk(time=5) if north_up else coarse.sortby("latitude").chunk(time=5)
    whole = downscale(ds, checkpoint_folder, **options)
    monkeypatch.setattr(lazy, "BLOCK_FINE_CELLS", 1)
    bands = downscale(ds, checkpoint_folder, **options)
    rows = bands[WIND].chunks[1]
    assert len(rows) > 1
    assert set(bands[WIND].chunks[0]) == {1}
    assert whole[WIND].chunks[1] == (21,)
    computed = bands.compute(scheduler="threads")
    xr.testing.assert_equal(computed, whole.compute(scheduler="synchronous"))
    assert computed.attrs == whole.attrs
    if missing == "mask":
        assert computed[WIND][2].isnull().all()
        assert not computed[WIND][4].isnull().any()


def test_a_band_reads_the_rows_around_it_alone(coarse, checkpoint_folder, monkeypatch):
    seen, compute = [], Downscaler.compute
    monkeypatch.setattr(
        Downscaler,
        "compute",
        lambda self, coarse, *a, **k: (
            seen.append(coarse["latitude"].values) or compute(self, coarse, *a, **k)
        ),
    )
    monkeypatch.setattr(lazy, "BLOCK_FINE_CELLS", 1)
    monkeypatch.setattr("orbitds.infer.tiling.OVERLAP_CELLS", 0)
    fine = downscale(coarse.isel(time=[0]).chunk(), checkpoint_folder, tiles=(7, 1))
    fine[WIND][:, :3].compute(scheduler="synchronous")
    (rows,) = seen
    np.testing.assert_array_equal(rows, coarse["latitude"][: rows.size])


# --- members ---


@pytest.fixture
def members(pair, statistics, tmp_path):
    """A checkpoint of members with weights at random."""
    model = untrained_for(pair, predicts="members", base="bicubic")
    save_checkpoint(
        tmp_path / "members",
        model,
        statistics=statistics,
        spacing_km=(pair.coarse_grid.spacing_km, pair.fine_grid.spacing_km),
        provenance={},
    )
    return tmp_path / "members"


@pytest.mark.filterwarnings("ignore:.*carries no static fields:UserWarning")
@pytest.mark.parametrize(
    ("options", "dims"),
    [
        ({"members": 3}, ("time", "member", "latitude", "longitude")),
        ({"members": 2, "spread": True}, ("time", "member", "latitude", "longitude")),
        ({"spread": True}, ("time", "latitude", "longitude")),
    ],
)
def test_members_and_spread_are_lazy_too(coarse, members, monkeypatch, options, dims):
    coarse = coarse.isel(time=slice(0, 3))
    eager = downscale(coarse, members, tiles=(3, 1), batch_size=1, **options)
    for cells in (lazy.BLOCK_FINE_CELLS, 1):
        monkeypatch.setattr(lazy, "BLOCK_FINE_CELLS", cells)
        made = downscale(coarse.chunk(time=2), members, tiles=(3, 1), batch_size=1, **options)
        assert made[WIND].dims == dims
        assert (f"{WIND}_spread" in made) is options.get("spread", False)
        # a mean of members is summed in another order
        off = 0 if "members" in options else 1e-5
        computed = made.compute(scheduler="threads")
        xr.testing.assert_allclose(computed, eager, rtol=off, atol=off)
        for name in made.variables:
            assert made[name].attrs == eager[name].attrs
    assert len(made.chunks["latitude"]) > 1
