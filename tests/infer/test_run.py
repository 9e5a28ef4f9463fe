"""Batch inference: files to files equals the notebook, whatever the layout and the units."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import tracemalloc

import netCDF4
import numpy as np
import pytest
import xarray as xr

from orbitds.config import InferConfig
from orbitds.infer import run as running
from orbitds.infer.claims import BEGIN, PRESENCE
from orbitds.infer.notes import LOCK, LocalNotes
from orbitds.infer.run import plan, run
from orbitds.stop import Left

NAMES = ("fine.nc", "fine.zarr")


def descending_longitudes(ds):
    return ds.isel(longitude=slice(None, None, -1))


def south_to_north(ds):
    return ds.isel(latitude=slice(None, None, -1))


def around_greenwich(ds):
    longitude = (ds["longitude"] + 180) % 360 - 180
    return ds.assign_coords(longitude=longitude.assign_attrs(ds["longitude"].attrs)).sortby(
        "longitude"
    )


def columns_first(ds):
    return ds.rename(latitude="lat", longitude="lon").transpose("lon", "lat", "time")


def one_map(ds):
    return ds.isel(time=2)


def more_coordinates(ds):
    season = ("time", np.arange(12) // 3, {"long_name": "season"})
    return ds.assign_coords(season=season, run=7)


def other_calendar(ds):
    return ds.convert_calendar("noleap")


LAYOUTS = (
    descending_longitudes,
    south_to_north,
    around_greenwich,
    columns_first,
    one_map,
    more_coordinates,
    other_calendar,
)


@pytest.fixture
def config(coarse, checkpoint_folder, tmp_path):
    """Makes settings for a dataset, by default the coarse test year."""

    def make(name="fine.zarr", ds=coarse, **options):
        if ds is not None:
            ds.to_netcdf(tmp_path / "coarse.nc")
        settings = {
            "input": str(tmp_path / "coarse.nc"),
            "checkpoint": str(checkpoint_folder),
            "output": tmp_path / name,
            "device": "cpu",
        }
        return InferConfig(**(settings | options))

    return make


@pytest.fixture
def small(monkeypatch):
    """Units of two times, or, of a field in 2 x 2 tiles, of a part of one."""
    monkeypatch.setattr("orbitds.infer.job.UNIT_BYTES", 2 * 2 * 4 * 21 * 33)


def opened(path):
    return xr.open_zarr(path) if path.suffix == ".zarr" else xr.open_dataset(path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("source", ["coarse.nc", "coarse.zarr"])
def test_files_give_what_the_accessor_gives(coarse, checkpoint_folder, tmp_path, name, source):
    if source.endswith(".nc"):
        coarse.to_netcdf(tmp_path / source)
    else:
        coarse.to_zarr(tmp_path / source, consolidated=False)
    config = InferConfig(
        input=str(tmp_path / source),
        checkpoint=str(checkpoint_folder),
        output=tmp_path / name,
        tiles="1x2",
    )
    assert run(config).output == [str(tmp_path / name)]
    wanted = coarse.orbit.downscale(checkpoint_folder, tiles=(1, 2))
    with xr.open_dataset(tmp_path / name) as fine:
        xr.testing.assert_allclose(fine, wanted, rtol=1e-5)
        assert fine.attrs == wanted.attrs


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_the_layout_is_that_of_the_accessor(config, coarse, small, tmp_path, name, layout):
    ds = layout(coarse)
    told = config(name, ds, batch_size=1)  # the last bits depend on it
    assert plan(told).units == (1 if layout is one_map else 6)
    run(told)
    with xr.open_dataset(tmp_path / "coarse.nc") as again:
        wanted = again.orbit.downscale(told.checkpoint, batch_size=1).load()
    with opened(tmp_path / name) as fine:
        assert fine["eastward_wind"].dims == wanted["eastward_wind"].dims
        xr.testing.assert_identical(fine.load(), wanted)


@pytest.mark.parametrize(("layout", "zarr_format"), [(south_to_north, 2), (columns_first, 3)])
def test_bands_of_a_large_field(config, coarse, monkeypatch, tmp_path, layout, zarr_format):
    monkeypatch.setattr("orbitds.infer.job.UNIT_BYTES", 1)
    coarse = coarse.isel(time=slice(3))
    told = config(ds=layout(coarse), tiles="3x2", zarr_format=zarr_format, batch_size=1)
    planned = plan(told)
    assert (planned.unit_times, planned.unit_rows, planned.units) == (1, 3, 9)
    assert planned.files == 18
    run(told)
    wanted = layout(coarse).orbit.downscale(told.checkpoint, tiles=(3, 2), batch_size=1)
    with xr.open_zarr(told.output) as fine:
        xr.testing.assert_allclose(fine.load(), wanted, rtol=1e-5)
    pattern = "eastward_wind/c/*/*/*" if zarr_format == 3 else "eastward_wind/?*.*.*"
    assert len(list(told.output.glob(pattern))) == 9
    run(told.model_copy(update={"output": tmp_path / "fine.nc"}))
    with xr.open_dataset(tmp_path / "fine.nc") as fine:
        xr.testing.assert_allclose(fine.load(), wanted, rtol=1e-5)


def test_several_files_and_patterns_are_one_input(config, coarse, tmp_path):
    for number in range(3):
        part = coarse.isel(time=slice(4 * number, 4 * number + 4))
        part.to_netcdf(tmp_path / f"part{number}.nc")
    names = (str(tmp_path / "part0.nc"), str(tmp_path / "part[12].nc"))
    told = config(input=names)
    run(told)
    wanted = coarse.orbit.downscale(told.checkpoint)
    with xr.open_zarr(told.output) as fine:
        xr.testing.assert_allclose(fine.load(), wanted, rtol=1e-5)
        assert fine.attrs == wanted.attrs
    with pytest.raises(ValueError, match="Wanted files where there are several inputs, got 'fnoc"):
        run(config(input=("fnoc_navy_winds_2p5deg", names[0])))


def test_times_and_region_are_those_of_a_selection(config, coarse, tmp_path):
    told = config(time="2004-03:2004-05", region="-65:65,-70:70")
    run(told)
    part = coarse.sel(time=slice("2004-03", "2004-05"), latitude=slice(65, -65))
    part = part.isel(longitude=[9, 10, 0, 1]) if part.sizes["longitude"] == 11 else part
    with xr.open_zarr(told.output) as fine:
        assert fine.sizes["time"] == 3
        wanted = part.orbit.downscale(told.checkpoint)
        xr.testing.assert_allclose(fine.load(), wanted, rtol=1e-5)


def test_periods_are_files(config, coarse, small, tmp_path):
    told = config("fine.nc", split="month", batch_size=1)
    summary = run(told)
    assert summary.output[2] == str(tmp_path / "fine_2004-03.nc")
    assert len(summary.output) == 12
    wanted = coarse.orbit.downscale(told.checkpoint, batch_size=1)
    with xr.open_mfdataset(summary.output, data_vars="minimal") as fine:
        xr.testing.assert_allclose(fine.load(), wanted, rtol=1e-5)
    with netCDF4.Dataset(summary.output[0]) as file:
        assert file.dimensions["time"].isunlimited()
    with pytest.raises(FileExistsError, match=r"got .*fine_2004-01.nc, which exists"):
        run(told)
    with pytest.raises(ValueError, match="Wanted dates to split the output by year, got an input"):
        run(config("other.nc", one_map(coarse), split="year"))


@pytest.mark.parametrize("history", [0, 1])
def test_masked_cells_are_counted_before(
    pair, statistics, coarse, tmp_path, small, monkeypatch, history, request
):
    """Of a model that looks at earlier times too: their gaps count at the later ones."""
    from orbitds.checkpoint import save_checkpoint
    from orbitds.data.history import with_earlier
    from orbitds.model.reslim import Reslim
    from tests.conftest import TINY

    inputs = with_earlier(pair.inputs, history)
    model = Reslim(
        TINY.model_copy(update={"base": "bicubic"}),
        inputs=inputs,
        outputs=pair.outputs,
        statics=(),
        factor=pair.factor,
    )
    known = {name: statistics[name.partition("@")[0]] for name in inputs}
    save_checkpoint(
        tmp_path / "model",
        model,
        statistics=known | {name: statistics[name] for name in pair.outputs},
        spacing_km=(pair.coarse_grid.spacing_km, pair.fine_grid.spacing_km),
        provenance={},
    )
    coarse["eastward_wind"][3, 2, 1:3] = np.nan
    coarse.to_netcdf(tmp_path / "coarse.nc")
    told = InferConfig(
        input=str(tmp_path / "coarse.nc"),
        checkpoint=str(tmp_path / "model"),
        output=tmp_path / "fine.nc",
        missing="mask",
        device="cpu",
    )
    run(told)
    wanted = coarse.orbit.downscale(tmp_path / "model", missing="mask")
    count = wanted["eastward_wind"].attrs["orbitds_masked_cells"]
    assert count == int(wanted["eastward_wind"].isnull().sum()) > 0
    with xr.open_dataset(tmp_path / "fine.nc") as fine:
        assert fine.sizes["time"] == 12 - history
        xr.testing.assert_allclose(fine.load(), wanted, rtol=1e-5)
        for name in fine.data_vars:
            assert fine[name].attrs == wanted[name].attrs
    run(told.model_copy(update={"output": tmp_path / "fine.zarr"}))
    with xr.open_zarr(tmp_path / "fine.zarr") as fine:
        assert fine["eastward_wind"].attrs["orbitds_masked_cells"] == count


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"device": "cuda:7"}, "Wanted a device of this machine, got 'cuda:7'"),
        ({"tiles": "8x1"}, "Wanted at most 7 x 11 tiles"),
        ({"tiles": "some"}, "Wanted tiles as"),
        ({"time": "1850"}, "Wanted times in '1850', got an input from 2004-01"),
        ({"region": "1:2,3:4"}, "Wanted a region that holds at least 2 x 2"),
        ({"share": "3/2"}, "Wanted a share as K/N"),
        ({"split": "year"}, "Wanted an output that ends in .nc for files by year"),
        ({"share": "1/2", "overwrite": True}, "Wanted --overwrite from a process that is alone"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_written(
    config, tmp_path, options, told
):
    settings = config(**options)
    with pytest.raises(ValueError, match=told):
        run(settings)
    assert [path.name for path in tmp_path.iterdir()] == ["coarse.nc"]


def test_a_dry_run_writes_nothing(config, tmp_path, small):
    planned = plan(config("fine.nc", tiles="1x2", share="2/4"))
    assert [path.name for path in tmp_path.iterdir()] == ["coarse.nc"]
    assert planned.bytes == planned.parts_bytes == 12 * 2 * 4 * 21 * 33
    assert (planned.units, planned.share_units, planned.files) == (6, 2, 1)
    assert "7 x 11 coarse cells in 1 x 2 tiles" in planned.describe()
    with pytest.raises(ValueError, match="Wanted at most 7 x 11 tiles"):
        plan(config(tiles="8x1"))


# --- unfinished jobs ---


def after_three(monkeypatch, act):
    """Do something before the fourth unit is computed, when three are on the disk and noted."""
    from orbitds.infer.engine import Engine
    from orbitds.infer.manifest import Manifest

    compute, done = Engine.compute, []
    finish, noted = Manifest.finish, threading.Semaphore(0)

    def finish_and_tell(*arguments, **options):
        finish(*arguments, **options)
        noted.release()

    def act_before(engine, block, unit):
        if len(done) == 3:
            assert all(noted.acquire(timeout=60) for _ in done)
            act()
        done.append(unit)
        return compute(engine, block, unit)

    monkeypatch.setattr(Engine, "compute", act_before)
    monkeypatch.setattr(Manifest, "finish", finish_and_tell)


def interrupted(config, monkeypatch):
    """Begin a job that is left by Ctrl-C when three units are on the disk and noted."""

    def stop():
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        after_three(patched, stop)
        with pytest.raises(Left) as ended:
            run(config)
    return str(ended.value)


@pytest.mark.parametrize("name", NAMES)
def test_an_unfinished_job_is_gone_on_with_or_forgotten(config, monkeypatch, small, tmp_path, name):
    told = config(name)
    assert interrupted(told, monkeypatch) == (
        "kept 3 of 6 units and stopped: got SIGINT. Start the same command with --resume to go on."
    )
    before = sorted(path.name for path in tmp_path.iterdir())
    assert not told.output.exists()
    message = rf"got .*{name}, of which 3 of 6 units are finished.*--resume, or.*--overwrite"
    with pytest.raises(FileExistsError, match=message):
        run(told)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    summary = run(told.model_copy(update={"resume": True}))
    assert (summary.done, summary.finished, summary.is_whole) == (3, 6, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coarse.nc", name]
    interrupted(config(name, tiles="1x2", overwrite=True), monkeypatch)
    summary = run(told.model_copy(update={"overwrite": True}))
    assert summary.done == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coarse.nc", name]


CHANGES = {
    "tiles": ({"tiles": "1x2"}, r"tiles 1x2 \(it was auto\)"),
    "constraints": ({"constraints": ("order",)}, "constraints"),
    "variables": ({"variables": ("eastward_wind",)}, "variables"),
    "zarr_format": ({"zarr_format": 2}, r"zarr_format 2 \(it was 3\)"),
    "missing": ({"missing": "mask"}, r"missing mask \(it was error\)"),
    "batch": ({"batch_size": 1}, r"batch_size 1 \(it was auto\)"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_options_do_not_go_on(config, monkeypatch, small, change):
    told = config()
    interrupted(told, monkeypatch)
    options, message = CHANGES[change]
    with pytest.raises(ValueError, match=rf"Wanted to go on.*got other contents of: .*{message}"):
        run(told.model_copy(update=options | {"resume": True}))


def test_another_input_or_checkpoint_does_not_go_on(config, coarse, monkeypatch, small, tmp_path):
    told = config()
    shutil.copytree(told.checkpoint, tmp_path / "model")
    resumed = told.model_copy(update={"resume": True, "checkpoint": str(tmp_path / "model")})
    interrupted(told, monkeypatch)
    status = (tmp_path / "coarse.nc").stat()
    coarse["eastward_wind"][0] += 1
    coarse.to_netcdf(tmp_path / "coarse.nc")
    os.utime(tmp_path / "coarse.nc", ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(ValueError, match="got other contents of: values of the input. Give"):
        run(resumed)
    os.utime(tmp_path / "coarse.nc", ns=(0, 0))
    with pytest.raises(ValueError, match="contents of: files of the input; values of the input"):
        run(resumed)
    description = json.loads((tmp_path / "model" / "orbitds.json").read_text())
    description["provenance"]["note"] = "another"
    (tmp_path / "model" / "orbitds.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match="values of the input; checkpoint"):
        run(resumed)


def test_a_damaged_unit_is_done_again(config, coarse, monkeypatch, small):
    told = config(batch_size=1)
    interrupted(told, monkeypatch)
    shard = told.output.parent / ".fine.zarr.partial" / "eastward_wind" / "c" / "1" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:-7])
    assert run(told.model_copy(update={"resume": True})).done == 4
    with xr.open_zarr(told.output) as fine:
        wanted = coarse.orbit.downscale(told.checkpoint, batch_size=1)
        xr.testing.assert_allclose(fine.load(), wanted, rtol=1e-5)


def test_resume_of_a_finished_job_does_nothing(config, small, capsys):
    told = config()
    run(told)
    summary = run(told.model_copy(update={"resume": True}))
    assert (summary.is_whole, summary.done) == (True, 0)
    assert "fine.zarr is there already" in capsys.readouterr().err
    with pytest.raises(FileExistsError, match="which exists"):
        run(told.model_copy(update={"resume": True, "variables": ("eastward_wind",)}))


def test_keep_going_leaves_out_what_is_unusable(config, coarse, small, capsys):
    coarse["eastward_wind"][5, 0, 0] = np.nan
    told = config(ds=coarse, keep_going=True)
    with pytest.raises(ValueError, match=r"Wanted all 6 units, got 5, and 1 .* got NaN in 1 of"):
        run(told)
    assert "left out: times 4 to 5: Wanted eastward_wind without" in capsys.readouterr().err
    assert not told.output.exists()
    with pytest.raises(ValueError, match="Wanted all 6 units, got 5, and 1"):
        run(told.model_copy(update={"resume": True}))


# --- faults of the disk ---


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_is_told_and_nothing_marked(config, monkeypatch, small, tmp_path, name):
    """Room is made, and the job goes on to the end."""
    from orbitds.infer import writers

    told, fsync, count = config(name), os.fsync, []

    def full(descriptor):
        count.append(1)
        if len(count) > 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(writers.os, "fsync", full)
        with pytest.raises(OSError, match="No space left") as ended:
            run(told)
    assert str(tmp_path) in str(ended.value.filename)
    assert not told.output.exists()
    job = tmp_path / f".{name}.job"
    noted = len(list(job.glob("units/*.json"))) if job.exists() else 0
    assert noted < 6
    summary = run(told.model_copy(update={"resume": True}))
    assert (summary.is_whole, summary.done) == (True, 6 - noted)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("name", NAMES)
def test_a_disk_that_is_really_full(config, small, tmp_path, name):
    place = tmp_path / "small"
    place.mkdir()
    if os.system(f"mount -t tmpfs -o size=48k tmpfs {place} 2>/dev/null"):
        pytest.skip("no tmpfs here")
    try:
        told = config(output=place / name)
        with pytest.raises(OSError, match="No space left|NetCDF") as ended:
            run(told)
        assert str(place) in str(ended.value.filename or ended.value)
        assert not told.output.exists()
    finally:
        os.system(f"umount {place}")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", ["partial", "job", "all"])
def test_a_folder_that_is_deleted_meanwhile(config, monkeypatch, small, tmp_path, name, what):
    place = tmp_path / "place"
    place.mkdir()
    told = config(output=place / name)
    if (name, what) == ("fine.nc", "partial"):  # it has none before the end
        assert run(told).is_whole
        return
    gone = place if what == "all" else place / f".{name}.{what}"
    after_three(monkeypatch, lambda: gone.rename(tmp_path / "gone"))
    with pytest.raises(OSError, match=r"No such file or directory: '.*place/\.fine"):
        run(told)
    assert not told.output.exists()


def test_files_that_are_deleted_meanwhile(config, monkeypatch, small, tmp_path):
    told = config("fine.nc")
    part = tmp_path / ".fine.nc.job" / "parts" / "00000001-eastward_wind.npy"
    with monkeypatch.context() as patched:
        after_three(patched, part.unlink)
        with pytest.raises(FileNotFoundError, match="got 1 of them removed or changed meanwhile"):
            run(told)
    assert not told.output.exists()
    assert run(told.model_copy(update={"resume": True})).done == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is denied to root")
def test_a_folder_that_becomes_read_only(config, monkeypatch, small, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    told = config(output=place / "fine.nc")
    interrupted(told, monkeypatch)
    (place / ".fine.nc.job" / "units").chmod(0o500)
    with pytest.raises(PermissionError, match="units"):
        run(told.model_copy(update={"resume": True}))


# --- several processes ---


def test_processes_have_a_gpu_each(monkeypatch):
    monkeypatch.setattr(running.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(running.torch.cuda, "device_count", lambda: 4)
    share = running.Share(5, 8, 5)
    assert running._device("auto", share) == "cuda:1"
    assert running._device("cuda", share) == "cuda:1"
    assert running._device("cuda:3", share) == "cuda:3"
    assert running._device("cpu", share) == "cpu"
    assert running._device("auto", running.Share()) is None


def test_a_share_tells_that_others_have_work_left(config, small, tmp_path):
    summary = run(config(share="1/2"))
    assert (summary.is_whole, summary.finished, summary.done) == (False, 3, 3)
    assert "3 of 6 units are finished; the process that does the last one" in summary.describe()
    summary = run(config(ds=None, share="2/2"))
    assert (summary.is_whole, summary.finished, summary.done) == (True, 6, 3)


HOLDS = """
import sys
from pathlib import Path
from orbitds.infer.claims import Claims
claims = Claims(Path(sys.argv[1]))
print(claims.take(int(sys.argv[2])) if sys.argv[3] == "take" else claims.join(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other():
    """Another process that claims a place of a job, and holds it until the test ends."""
    processes = []

    def claim(lock, place, how="take"):
        command = [sys.executable, "-c", HOLDS, str(lock), str(place), how]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process.stdout.readline().strip() == "True"

    yield claim
    for process in processes:
        process.communicate()


@pytest.mark.parametrize("name", NAMES)
def test_nobody_enters_a_job_while_its_notes_are_removed(
    config, small, tmp_path, monkeypatch, name, other
):
    remove, entered = LocalNotes.remove, []

    def asked(notes):
        entered.append(other(notes.path / LOCK, BEGIN))
        remove(notes)

    monkeypatch.setattr(LocalNotes, "remove", asked)
    assert run(config(name)).is_whole
    assert entered == [False]
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["coarse.nc", name]


@pytest.mark.parametrize("is_alone", [True, False])
def test_an_error_removes_a_job_of_which_nobody_does_anything(
    config, small, tmp_path, monkeypatch, capsys, other, is_alone
):
    """The same command runs twice, and has come to an end once before any unit was finished."""
    from orbitds.infer.engine import Engine

    def fail(engine, block, unit):
        if not is_alone:
            assert other(tmp_path / ".fine.zarr.job" / LOCK, PRESENCE, "join")
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Engine, "compute", fail)
    with pytest.raises(OSError, match="Input/output error"):
        run(config("fine.zarr", resume=True))
    assert (tmp_path / ".fine.zarr.job" / "job.json").exists() is not is_alone
    assert (tmp_path / ".fine.zarr.partial").exists() is not is_alone
    assert ("kept 0 of 6 units" in capsys.readouterr().err) is not is_alone


@pytest.mark.parametrize("name", NAMES)
def test_notes_that_are_deleted_at_the_end_are_missed(config, small, tmp_path, monkeypatch, name):
    """What another process finished is told from what somebody removed: its output is there."""

    def delete(*arguments):
        work(*arguments)
        shutil.rmtree(tmp_path / f".{name}.job")

    work = running._work
    monkeypatch.setattr(running, "_work", delete)
    with pytest.raises(FileNotFoundError, match="got 6 of them removed or changed meanwhile"):
        run(config(name))
    assert not (tmp_path / name).exists()


# --- behind an address ---


def test_an_address_is_written_to_directly(config, coarse, small, monkeypatch):
    import fsspec

    files = fsspec.filesystem("memory")
    told = config(output="memory://bucket/fine.zarr", batch_size=1)
    interrupted(told, monkeypatch)
    assert json.loads(files.cat_file("/bucket/fine.zarr.job/job.json"))["identity"]["missing"]
    with pytest.raises(FileExistsError, match=r"3 of 6 units are finished"):
        run(told)
    summary = run(told.model_copy(update={"resume": True}))
    assert (summary.done, summary.output) == (3, ["memory://bucket/fine.zarr"])
    assert not files.exists("/bucket/fine.zarr.job")
    with xr.open_zarr("memory://bucket/fine.zarr") as fine:
        wanted = coarse.orbit.downscale(told.checkpoint, batch_size=1)
        xr.testing.assert_identical(fine.load(), wanted)
    with pytest.raises(FileExistsError, match="got memory://bucket/fine.zarr, which exists"):
        run(told)
    run(told.model_copy(update={"overwrite": True}))
    files.rm("/bucket", recursive=True)


def test_shares_behind_an_address(config, coarse, small, monkeypatch):
    """The second one comes first, and waits for the first to begin."""
    import fsspec

    told = config(output="memory://shared/fine.zarr", batch_size=1)
    ended = []

    def begin(seconds):
        ended.append(run(told.model_copy(update={"share": "1/2"})))

    monkeypatch.setattr("orbitds.infer.entry.time.sleep", begin)
    second = told.model_copy(update={"share": "2/2"})
    ended.append(run(second))
    assert [(one.done, one.is_whole) for one in ended] == [(3, False), (3, True)]
    with xr.open_zarr("memory://shared/fine.zarr") as fine:
        wanted = coarse.orbit.downscale(told.checkpoint, batch_size=1)
        xr.testing.assert_identical(fine.load(), wanted)
    assert run(second).done == 0
    fsspec.filesystem("memory").rm("/shared", recursive=True)
    monkeypatch.setattr("orbitds.infer.entry.PATIENCE_S", -1)
    with pytest.raises(TimeoutError, match="Wanted share 1/2 to begin the job, got nothing in mem"):
        run(second)


# --- memory ---


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_memory_does_not_grow_with_time(config, coarse, monkeypatch, name):
    """Of 1,000 times; the values of units, read, computed and written, are a part of it."""
    monkeypatch.setattr("orbitds.infer.job.UNIT_BYTES", 20 * 2 * 4 * 21 * 33)
    monkeypatch.setattr("orbitds.infer.engine.READ_BYTES", 20 * 2 * 4 * 7 * 11)
    peaks = []
    for times in (200, 1000):
        places = np.arange(times) % 12
        long = coarse.isel(time=places).assign_coords(
            time=np.datetime64("2004-01-01", "ns") + np.arange(times) * np.timedelta64(1, "D")
        )
        told = config(f"{times}{name}", long)
        tracemalloc.start()
        run(told)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    values = 800 * 2 * 4 * 21 * 33  # of the further times
    assert peaks[1] - peaks[0] < values / 4, peaks
