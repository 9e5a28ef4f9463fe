"""Jobs that are killed go on, and leave the bytes of one that was not; so do several at once."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr

from orbitds.stop import EXIT_CODE
from tests.infer import working

ROOT = Path(__file__).parents[2]
# One time of two variables on 21 x 33 cells: 12 units.
ONE_TIME = 2 * 4 * 21 * 33
FORMATS = {
    "zarr": ("fine.zarr",),
    "zarr2": ("fine.zarr", "--zarr-format", "2"),
    "netcdf": ("fine.nc",),
    "months": ("fine.nc", "--split", "month"),
}


class Starter:
    """Starts commands in processes of their own."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", working.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        )

    def start(self, folder, *flags, unit_bytes=ONE_TIME, environment=None):
        """Start inference of the folder's coarse.nc; return the number of the process."""
        output, *flags = flags
        arguments = ["infer", str(folder.parent / "coarse.nc"), "--checkpoint", CHECKPOINT[0]]
        arguments += ["--output", str(folder / output), "--device", "cpu", *flags]
        return int(
            self._ask(
                json.dumps(
                    {
                        "arguments": arguments,
                        "unit_bytes": unit_bytes,
                        "log": str(folder.parent / f"{folder.name}.log"),
                        "environment": environment or {},
                    }
                )
            )
        )

    def ended(self, number):
        """Wait for a process; return its exit code, negative for a signal."""
        return int(self._ask(f"wait {number}"))

    def run(self, folder, *flags, **how):
        return self.ended(self.start(folder, *flags, **how))

    def _ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()


CHECKPOINT = []


@pytest.fixture(scope="module")
def starter():
    started = Starter()
    yield started
    started.process.stdin.close()
    started.process.stdout.close()
    started.process.wait(timeout=60)


@pytest.fixture
def place(tmp_path, coarse, checkpoint_folder):
    """A folder beside the input; what is written lies in folders within."""
    CHECKPOINT[:] = [str(checkpoint_folder)]
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
        number = starter.start(folder, *flags, "--resume")
        time.sleep(luck.uniform(0, seconds))
        os.kill(number, signal.SIGKILL)
        assert starter.ended(number) in (-signal.SIGKILL, 0)
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
    numbers = [starter.start(folder, *FORMATS[form], "--share", f"{rank}/3") for rank in (1, 2, 3)]
    assert [starter.ended(number) for number in numbers] == [0, 0, 0]
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
            numbers = [
                starter.start(folder, *FORMATS[form], "--share", f"{rank}/2") for rank in (1, 2)
            ]
            time.sleep(luck.uniform(0, seconds))
            for number in numbers:
                os.kill(number, signal.SIGKILL)
                starter.ended(number)
        numbers = [starter.start(folder, *FORMATS[form], "--share", f"{rank}/2") for rank in (1, 2)]
        log = folder.with_suffix(".log")
        assert [starter.ended(number) for number in numbers] == [0, 0], log.read_text()
        assert contents(folder) == wanted


def test_the_same_command_twice_at_once(starter, place):
    wanted, _ = whole(starter, place, FORMATS["zarr"])
    folder = place / "twice"
    folder.mkdir()
    numbers = [starter.start(folder, *FORMATS["zarr"], "--resume") for _ in range(2)]
    log = place / "twice.log"
    assert [starter.ended(number) for number in numbers] == [0, 0], log.read_text()
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


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_keeps_what_is_finished(starter, place, name):
    wanted, _ = whole(starter, place, FORMATS["netcdf"])
    folder = place / "stopped"
    folder.mkdir()
    number = starter.start(folder, *FORMATS["netcdf"])
    units = folder / ".fine.nc.job" / "units"
    while not units.exists() or not any(units.glob("*.json")):
        time.sleep(0.001)
    os.kill(number, getattr(signal, name))
    log = place / "stopped.log"
    assert starter.ended(number) == EXIT_CODE, log.read_text()
    told = log.read_text()
    assert f"units and stopped: got {name}. Start the same command with --resume" in told
    finished = {path.name: path.stat().st_mtime_ns for path in units.glob("*.json")}
    assert 0 < len(finished) < 12
    number = starter.start(folder, *FORMATS["netcdf"], "--resume")
    assert starter.ended(number) == 0
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
