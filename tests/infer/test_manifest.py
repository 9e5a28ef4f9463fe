"""Which units are finished, and whether a job is still the same."""

from orbitds.infer.manifest import Manifest, differences
from orbitds.infer.notes import LocalNotes


def manifest(tmp_path):
    return Manifest(LocalNotes(tmp_path))


def test_a_job_begins_and_its_units_are_noted(tmp_path):
    job = manifest(tmp_path)
    assert job.begun() is None
    assert job.records(3) == {}
    job.begin({"tiles": "auto"}, {"overwrite": False})
    assert job.begun() == {"identity": {"tiles": "auto"}, "settled": {"overwrite": False}}
    job.finish(2, {"c/2": {"bytes": 5}}, more=1)
    assert job.record(1) is None
    assert job.record(2) == {"files": {"c/2": {"bytes": 5}}, "more": 1}
    assert not job.is_ending
    job.end()
    assert job.is_ending


def test_only_whole_units_count(tmp_path):
    job = manifest(tmp_path)
    for number in range(4):
        job.finish(number, {f"c/{number}": {"bytes": 5}})
    (tmp_path / "units" / "00000001.json").write_text('{"files": {"c/1"')  # cut off
    (tmp_path / "units" / "other.json").write_text("{}")
    (tmp_path / "units" / ".00000003.json.9.partial").write_text("{}")
    sizes = {"c/0": 5, "c/2": 4}
    assert set(job.records(3)) == {0, 2}
    assert set(job.records(4, sizes.get)) == {0}
    assert [job.is_finished(number, sizes.get) for number in range(5)] == [True, *[False] * 4]


def test_what_differs_is_said():
    before = {"tiles": "auto", "checkpoint": "a" * 64, "versions": {"torch": "1", "zarr": "3"}}
    assert differences(before, dict(before)) == []
    now = {"tiles": "1x2", "checkpoint": "b" * 64, "versions": {"torch": "2", "zarr": "3"}}
    assert differences(before, now) == [
        "tiles 1x2 (it was auto)",
        "checkpoint",
        "versions torch 2 (it was 1)",
    ]
    assert differences({}, {"split": "year"}) == ["split year (it was null)"]
