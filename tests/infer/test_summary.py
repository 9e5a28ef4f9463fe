"""What people are told of a job."""

from dataclasses import replace

import pytest

from orbitds.infer.netcdf_output import NetcdfOutput
from orbitds.infer.pipeline import Spent
from orbitds.infer.shares import Share
from orbitds.infer.summary import plan_of, summary_of
from orbitds.infer.units import Units
from orbitds.infer.zarr_output import ZarrOutput
from tests.infer.laying import laid_out

TOTAL = 12 * 2 * 4 * 21 * 33


@pytest.fixture
def job(coarse, checkpoint_folder, tmp_path):
    found = laid_out(coarse, checkpoint_folder, tmp_path)
    return replace(found, units=Units(12, 7, 5, 7))


def test_a_plan(job):
    plan = plan_of(job, ZarrOutput(job), Share(1, 2))
    assert (plan.units, plan.share_units, plan.files) == (3, 2, 6)
    assert (plan.bytes, plan.parts_bytes) == (TOTAL, 0)
    assert plan.unit_bytes * 12 == TOTAL * 5
    assert plan.shape == [12, 21, 33]
    text = plan.describe()
    assert "fine.zarr: eastward_wind, total_precipitation_24hr, each 12 x 21 x 33\n" in text
    assert "3 units of 5 times and 7 coarse rows, 0.0 MiB each\n" in text
    assert " of the device's memory, predicted\n2 of the units in share 2/2" in text


def test_a_plan_of_files(coarse, checkpoint_folder, tmp_path):
    job = laid_out(coarse, checkpoint_folder, tmp_path, "fine.nc", split="month")
    plan = plan_of(job, NetcdfOutput(job), Share())
    assert (plan.files, plan.parts_bytes) == (12, TOTAL)
    assert "fine_2004-01.nc, ..., " in plan.describe()
    assert "0.1 MiB beside it until it is put together" in plan.describe()


def test_a_summary(job):
    spent = Spent(1.0, 2.0, 3.0, done=[job.units[1], job.units[2]], failed={0: "bad"})
    told = summary_of(job, ZarrOutput(job), spent, finished=3, is_whole=True, seconds=4.0)
    assert (told.times, told.cells) == (7, 7 * 2 * 21 * 33)
    assert told.cells_per_s == told.cells / 4
    assert told.failed == {"0": "bad"}
    lines = told.describe().splitlines()
    assert lines[0] == (
        "2 of 3 units, 7 times in 4.0 s: 2.43e+03 cells/s; reading 1.0 s, computing 2.0 s, "
        "writing 3.0 s, beside each other"
    )
    assert lines[1].startswith("wrote ")
    assert "another process puts" in replace(told, is_whole=False).describe()
    left = replace(told, is_whole=False, finished=2, done=0)
    assert left.describe().startswith("2 of 3 units are finished; the process that does the last")
