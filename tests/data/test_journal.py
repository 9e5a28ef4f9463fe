"""Finished blocks are remembered, half finished ones removed."""

import hashlib
import json

import pytest

from orbitds.data.journal import Journal, only_writer

NAMES = ["coarse/values/c/0/0/0/0", "fine/values/c/0/0/0/0"]


@pytest.fixture
def journal(tmp_path):
    for name in (*NAMES, "fine/values/c/1/0/0/0"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "fine/zarr.json").write_text("{}", encoding="utf-8")
    journal = Journal(tmp_path)
    journal.begin()
    return journal


def write(journal, names):
    for name in names:
        path = journal.store / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def test_what_is_not_written_down_is_removed(journal):
    assert [path for path in (journal.store / "fine").rglob("*") if path.is_file()] == [
        journal.store / "fine/zarr.json"
    ]


def test_a_finished_block_stays(journal):
    write(journal, [*NAMES, "fine/values/c/1/0/0/0"])
    journal.finish(0, NAMES, missing={"fine/wind": 3})
    (journal.folder / ".00000001.json.partial").write_text("{", encoding="utf-8")
    (journal.store / "fine/values/c/1/0/0/0.12ab.partial").write_bytes(b"half")
    records = Journal(journal.store).begin()
    assert list(records) == [0]
    assert records[0]["missing"] == {"fine/wind": 3}
    file = records[0]["files"][NAMES[1]]
    digest = hashlib.sha256(NAMES[1].encode()).hexdigest()
    assert file == {"bytes": len(NAMES[1]), "sha256": digest}
    left = {path.name for path in journal.store.rglob("*") if path.is_file()}
    assert left == {"0", "zarr.json", "00000000.json"}


def test_a_block_whose_file_is_short_is_not_finished(journal):
    write(journal, NAMES)
    journal.finish(0, NAMES)
    (journal.store / NAMES[0]).write_bytes(b"")
    assert journal.begin() == {}
    assert not (journal.store / NAMES[1]).exists()


def test_the_manifest_names_all_files(journal):
    write(journal, NAMES)
    digest = journal.close({0: journal.finish(0, NAMES)})
    manifest = journal.store / "manifest.json"
    assert digest == hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert list(json.loads(manifest.read_text(encoding="utf-8"))["files"]) == NAMES
    journal.clear()
    assert not journal.folder.exists()


def test_one_writer_at_a_time(tmp_path):
    store = tmp_path / "a.zarr"
    told = r"a\.zarr for this run alone.*Wait for it"
    with only_writer(store), pytest.raises(BlockingIOError, match=told), only_writer(store):
        pass
    with only_writer(store):
        pass
    assert list(tmp_path.iterdir()) == []
