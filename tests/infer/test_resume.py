"""Jobs that are killed go on, and leave the bytes of one that was not; so do several at once."""

import hashlib
import os
import random
import shutil
import signal
import sys
import time
from contextlib import suppress

import pytest
import xarray as xr

from orbitds import cli
from orbitds.config import InferConfig
from orbitds.infer import job
from orbitds.infer.claims import Claims
from orbitds.infer.manifest import Manifest
from orbitds.infer.notes import JOB, LocalNotes
from orbitds.infer.run import run
from orbitds.stop import EXIT_CODE
from tests.forking import begin, ended

# One time of two variables on 21 x 33 cells: 12 units.
ONE_TIME = 2 * 4 * 21 * 33
FORMATS = {
    "zarr": ("fine.zarr",),
    "zarr2": ("fine.zarr", "--zarr-format", "2"),
    "netcdf": ("fine.nc",),
    "months": ("fine.nc", "--split", "month"),
}


def carry_out(arguments, unit_bytes):
    """Do what the command does, in units so small."""
    job.UNIT_BYTES = unit_bytes
    sys.argv = ["orbitds", *arguments]
    cli.main()


class Starter:
    """Starts inference in processes of its own."""

    def __init__(self, checkpoint):
        self.checkpoint = str(checkpoint)

    def start(self, folder, *flags, environment=None):
        """Start inference of the coarse.nc beside a folder into the folder; return the process."""
        output, *flags = flags
        arguments = ["infer", str(folder.parent / "coarse.nc"), "--checkpoint", self.checkpoint]
        arguments += ["--output", str(folder / output), "--device", "cpu", *flags]
        log = folder.parent / f"{folder.name}.log"
        return begin(carry_out, arguments, ONE_TIME, log=log, environment=environment or {})

    def run(self, folder, *flags, **how):
        return ended(self.start(folder, *flags, **how))


@pytest.fixture
def starter(checkpoint_folder):
    return Starter(checkpoint_folder)


@pytest.fixture
def place(tmp_path, coarse):
    """A folder beside the input; what is written lies in folders within."""
    coarse.to_netcdf(tmp_path / "coarse.nc")
    return tmp_path


def contents(folder):
    """Return the hash of each file under a folder, by its name."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def whole(starter, place, flags):
    """Return what a job that was never stopped leaves, and how long it took."""
    folder = place / "whole"
    folder.mkdir()
    started = time.monotonic()
    assert starter.run(folder, *flags) == 0, (place / "whole.log").read_text()
    return contents(folder), time.monotonic() - started


def killed(starter, folder, flags, seconds, kills, luck):
    """Kill a job so often at random moments, then let it end; return how many times it began."""
    begun = 0
    for _ in range(kills):
        process = starter.start(folder, *flags, "--resume")
        time.sleep(luck.uniform(0, seconds))
        process.kill()
        assert ended(process) in (-signal.SIGKILL, 0)
        begun += any(folder.iterdir())
    assert starter.run(folder, *flags, "--resume") == 0, folder.with_suffix(".log").read_text()
    return begun


@pytest.mark.parametrize("form", ["zarr", "netcdf"])
def test_a_killed_job_goes_on(starter, place, form):
    wanted, seconds = whole(starter, place, FORMATS[form])
    (place / "killed").mkdir()
    killed(starter, place / "killed", FORMATS[form], seconds, 4, random.Random(form))
    assert contents(place / "killed") == wanted


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_jobs_killed_again_and_again_go_on(starter, place, form):
    wanted, seconds = whole(starter, place, FORMATS[form])
    kills, begun, luck = 0, 0, random.Random(form)
    while kills < 50:
        folder = place / str(kills)
        folder.mkdir()
        begun += killed(starter, folder, FORMATS[form], seconds, 5, luck)
        kills += 5
        assert contents(folder) == wanted
    assert begun > 10


@pytest.mark.parametrize("form", ["zarr", "netcdf"])
def test_processes_share_an_output(starter, place, form):
    wanted, _ = whole(starter, place, FORMATS[form])
    folder = place / "shared"
    folder.mkdir()
    processes = [
        starter.start(folder, *FORMATS[form], "--share", f"{rank}/3") for rank in (1, 2, 3)
    ]
    assert [ended(process) for process in processes] == [0, 0, 0]
    assert contents(folder) == wanted
    # one that comes late finds that nothing is left to do
    assert starter.run(folder, *FORMATS[form], "--share", "2/3") == 0
    assert contents(folder) == wanted


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_processes_that_share_are_killed_too(starter, place, form):
    wanted, seconds = whole(starter, place, FORMATS[form])
    luck = random.Random(form)
    for attempt in range(8):
        folder = place / str(attempt)
        folder.mkdir()
        for _ in range(3):
            processes = [
                starter.start(folder, *FORMATS[form], "--share", f"{rank}/2") for rank in (1, 2)
            ]
            time.sleep(luck.uniform(0, seconds))
            for process in processes:
                process.kill()
                ended(process)
        processes = [
            starter.start(folder, *FORMATS[form], "--share", f"{rank}/2") for rank in (1, 2)
        ]
        log = folder.with_suffix(".log")
        assert [ended(process) for process in processes] == [0, 0], log.read_text()
        assert contents(folder) == wanted


@pytest.mark.parametrize("form", ["zarr", "netcdf"])
@pytest.mark.parametrize("is_begun_anew", [False, True])
def test_others_finish_before_the_first_unit(starter, place, monkeypatch, form, is_begun_anew):
    """Their output is in its place, and its notes gone, when this process asks for a unit.

    Or there are notes again, of a job that was begun since then: it is not this one's.
    """
    wanted, _ = whole(starter, place, FORMATS[form])
    folder = place / "late"
    folder.mkdir()
    name = FORMATS[form][0]
    config = InferConfig(
        input=str(place / "coarse.nc"),
        checkpoint=starter.checkpoint,
        output=folder / name,
        device="cpu",
        share="1/2",
    )
    notes = folder / f".{name}.job"
    take_unit, asked = Claims.take_unit, []

    def take_unit_late(claims, number):
        if not asked:
            for share in ("1/2", "2/2"):
                assert starter.run(folder, name, "--share", share) == 0
            if is_begun_anew:
                notes.mkdir()
                Manifest(LocalNotes(notes)).begin({}, {})
        asked.append(number)
        return take_unit(claims, number)

    monkeypatch.setattr(job, "UNIT_BYTES", ONE_TIME)
    monkeypatch.setattr(Claims, "take_unit", take_unit_late)
    summary = run(config)
    assert (summary.done, summary.is_whole) == (0, not is_begun_anew)
    assert asked == [0]
    if is_begun_anew:
        assert list(contents(notes)) == [JOB]
        shutil.rmtree(notes)
    assert contents(folder) == wanted


def test_the_same_command_twice_at_once(starter, place):
    wanted, _ = whole(starter, place, FORMATS["zarr"])
    folder = place / "twice"
    folder.mkdir()
    processes = [starter.start(folder, *FORMATS["zarr"], "--resume") for _ in range(2)]
    log = place / "twice.log"
    assert [ended(process) for process in processes] == [0, 0], log.read_text()
    assert contents(folder) == wanted


def test_the_launcher_says_whose_a_share_is(starter, place):
    wanted, _ = whole(starter, place, FORMATS["zarr"])
    folder = place / "array"
    folder.mkdir()
    array = {
        "SLURM_ARRAY_TASK_COUNT": "2",
        "SLURM_ARRAY_TASK_MIN": "0",
        "SLURM_ARRAY_TASK_MAX": "1",
    }
    for task in ("1", "0"):
        environment = array | {"SLURM_ARRAY_TASK_ID": task}
        assert starter.run(folder, *FORMATS["zarr"], environment=environment) == 0
    assert "6 of 12 units are finished" in (place / "array.log").read_text()
    assert contents(folder) == wanted


def stopped(starter, place, name):
    """Send a signal to a job after its first unit; return its folder and exit code."""
    for attempt in range(5):  # a busy machine may be done before the signal comes
        folder = place / f"stopped{attempt}"
        folder.mkdir()
        process = starter.start(folder, *FORMATS["netcdf"])
        units = folder / ".fine.nc.job" / "units"
        while process.is_alive() and not any(units.glob("*.json")):
            time.sleep(0.001)
        with suppress(ProcessLookupError):
            os.kill(process.pid, getattr(signal, name))
        if code := ended(process):
            return folder, code
    return pytest.fail("each of five jobs was done before the signal")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_keeps_what_is_finished(starter, place, name):
    wanted, _ = whole(starter, place, FORMATS["netcdf"])
    folder, code = stopped(starter, place, name)
    units, log = folder / ".fine.nc.job" / "units", place / f"{folder.name}.log"
    told = log.read_text()
    assert code == EXIT_CODE, told
    assert f"units and stopped: got {name}. Start the same command with --resume" in told
    finished = {path.name: path.stat().st_mtime_ns for path in units.glob("*.json")}
    assert 0 < len(finished) < 12
    process = starter.start(folder, *FORMATS["netcdf"], "--resume")
    assert ended(process) == 0
    assert contents(folder) == wanted
    assert f"{12 - len(finished)} of 12 units, " in log.read_text()


def test_resume_does_nothing_twice(starter, place):
    """Values of finished units are not computed again: a mark in one of them stays."""
    folder = place / "marked"
    folder.mkdir()
    assert starter.run(folder, "fine.zarr", "--share", "1/2") == 0
    shard = folder / ".fine.zarr.partial" / "eastward_wind" / "c" / "3" / "0" / "0"
    other = shard.parents[2] / "1" / "0" / "0"
    assert shard.stat().st_size == other.stat().st_size or shard.exists()
    before = shard.stat().st_mtime_ns
    assert starter.run(folder, "fine.zarr", "--resume") == 0
    now = folder / "fine.zarr" / "eastward_wind" / "c" / "3" / "0" / "0"
    assert now.stat().st_mtime_ns == before
    with xr.open_zarr(folder / "fine.zarr") as fine:
        assert not fine["eastward_wind"].isnull().any()


@pytest.mark.parametrize("form", ["zarr", "netcdf"])
def test_notes_that_a_killed_process_left_at_the_end_are_removed(starter, place, form):
    wanted, _ = whole(starter, place, FORMATS[form])
    folder = place / "whole"
    notes = folder / f".{FORMATS[form][0]}.job"
    (notes / "units").mkdir(parents=True)
    (notes / "units" / "00000003.json").write_text("{}")
    assert starter.run(folder, *FORMATS[form], "--resume") == 0
    assert contents(folder) == wanted
    assert [path.name for path in folder.iterdir()] == [FORMATS[form][0]]
