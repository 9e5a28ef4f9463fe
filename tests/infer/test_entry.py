"""How a process enters a job."""

import pytest

from orbitds.infer.claims import BEGIN, PRESENCE
from orbitds.infer.entry import enter_job, told_of
from orbitds.infer.shares import Share
from orbitds.infer.zarr_output import ZarrOutput
from tests.infer.laying import laid_out

ALONE = Share()


@pytest.fixture
def entered(coarse, checkpoint_folder, tmp_path):
    """Enters a job; returns what came of it."""
    entries = []

    def enter(share=ALONE, settle=dict, **options):
        job = laid_out(coarse, checkpoint_folder, tmp_path, **options)
        entry = enter_job(job, ZarrOutput(job), share, settle)
        if entry is not None:
            entries.append(entry)
        return entry

    yield enter
    for entry in entries:
        entry.claims.close()


def test_the_first_begins_and_others_join(entered, tmp_path):
    masked = {"eastward_wind": 3, "total_precipitation_24hr": 0}
    first = entered(Share(0, 2), lambda: {"masked": masked})
    assert (tmp_path / ".fine.zarr.partial" / "zarr.json").exists()
    second = entered(Share(1, 2), lambda: pytest.fail("settled twice"))
    assert first.settled == second.settled == {"masked": masked, "overwrite": False}
    first.claims.close()
    second.claims.close()
    with pytest.raises(FileExistsError, match="0 of 1 units are finished"):
        entered()
    entered(resume=True)


def test_a_beginning_that_fails_leaves_nothing(entered, tmp_path):
    def fail():
        raise ValueError("no value at any time")

    with pytest.raises(ValueError, match="no value at any time"):
        entered(settle=fail)
    assert [path.name for path in tmp_path.iterdir()] == ["coarse.nc"]


def test_a_job_at_work_is_not_forgotten(entered, monkeypatch):
    entered(resume=True)

    def held(claims, place):
        assert place == PRESENCE
        return False

    monkeypatch.setattr("orbitds.infer.claims.Claims.take", held)
    with pytest.raises(BlockingIOError, match="got other processes that work on it. Wait"):
        entered(overwrite=True)


def test_an_unfinished_job_is_forgotten_with_its_units(entered, tmp_path):
    entry = entered(resume=True)
    entry.manifest.finish(0, {})
    entry.claims.close()
    entered(overwrite=True).claims.close()
    assert not (tmp_path / ".fine.zarr.job" / "units").exists()


def test_a_job_that_ends_while_one_waits_is_not_joined(entered, tmp_path, monkeypatch):
    """The folder of its notes is gone, and made anew: the lock of the old one says nothing."""
    from orbitds.infer.claims import Claims

    wait, waited = Claims.wait, []

    def end(claims, place):
        assert place == BEGIN
        waited.append(1)
        wait(claims, place)
        if len(waited) == 1:
            claims.path.unlink()
            claims.path.parent.rmdir()

    monkeypatch.setattr(Claims, "wait", end)
    assert entered().claims.is_current()
    assert len(waited) == 2


def test_what_was_settled_is_told(coarse, checkpoint_folder, tmp_path):
    job = laid_out(coarse, checkpoint_folder, tmp_path)
    assert told_of(job, {}) is job.fine
    fine = told_of(job, {"masked": dict.fromkeys(job.fine.data_vars, 4)})
    assert fine["eastward_wind"].attrs["orbitds_masked_cells"] == 4
