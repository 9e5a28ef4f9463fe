"""Small files, each whole or not there, in a folder and behind an address."""

import errno
import os

import fsspec
import pytest

from orbitds.infer.notes import JOB, LOCK, LocalNotes, RemoteNotes


@pytest.fixture(params=["local", "remote"])
def notes(request, tmp_path):
    if request.param == "local":
        (tmp_path / "job").mkdir()
        yield LocalNotes(tmp_path / "job")
        return
    files = fsspec.filesystem("memory")
    yield RemoteNotes(files, "/notes/fine.job")
    if files.exists("/notes"):
        files.rm("/notes", recursive=True)


def test_written_is_read_and_removed(notes):
    assert notes.read("units/1.json") is None
    assert notes.names("units") == []
    notes.write("units/2.json", b"two")
    notes.write("units/1.json", b"one")
    notes.write("units/1.json", b"another")
    notes.write(JOB, b"{}")
    assert notes.read("units/1.json") == b"another"
    assert notes.names("units") == ["1.json", "2.json"]
    assert notes.exist()
    notes.clear()
    assert notes.read(JOB) is None
    assert notes.names("units") == []
    notes.write(JOB, b"{}")
    notes.remove()
    assert not notes.exist()
    assert notes.read(JOB) is None


def test_names(tmp_path):
    assert str(LocalNotes(tmp_path)) == str(tmp_path)
    remote = RemoteNotes(fsspec.filesystem("memory"), "/a/b.job")
    assert str(remote) == "memory:///a/b.job"


def test_a_lock_stays_where_it_is_when_the_others_go(tmp_path):
    notes = LocalNotes(tmp_path / "job")
    notes.path.mkdir()
    (notes.path / LOCK).touch()
    notes.write("units/1.json", b"one")
    notes.clear()
    assert [path.name for path in notes.path.iterdir()] == [LOCK]


def test_two_processes_remove_the_same(notes, monkeypatch):
    """One finds that files are gone which it was about to remove."""
    for number in range(3):
        notes.write(f"units/{number}.json", b"one")
    notes.write(JOB, b"{}")
    is_local = isinstance(notes, LocalNotes)
    module, name = (os, "unlink") if is_local else (notes.files, "rm_file")
    remove = getattr(module, name)

    def after_another(file, **options):
        if not str(file).endswith(JOB):
            monkeypatch.setattr(module, name, remove)
            notes.remove()
        remove(file, **options)

    monkeypatch.setattr(module, name, after_another)
    notes.remove()
    assert getattr(module, name) is remove
    assert not notes.exist()


def test_a_job_that_begins_while_another_is_removed_stays(tmp_path, monkeypatch):
    """Its process comes between the last file and the folder."""
    notes = LocalNotes(tmp_path / "job")
    notes.path.mkdir()
    notes.write("units/1.json", b"one")
    (notes.path / LOCK).touch()
    rmdir = os.rmdir

    def after_another(path, **options):
        if os.fspath(path) == str(notes.path):
            (notes.path / LOCK).write_bytes(b"another")
        rmdir(path, **options)

    monkeypatch.setattr(os, "rmdir", after_another)
    notes.remove()
    assert [path.name for path in notes.path.iterdir()] == [LOCK]
    assert (notes.path / LOCK).read_bytes() == b"another"
    monkeypatch.setattr(os, "rmdir", rmdir)
    notes.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_earlier_file_and_no_other(tmp_path, monkeypatch):
    notes = LocalNotes(tmp_path)
    notes.write("a", b"before")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as ended:
        notes.write("a", b"after")
    assert ended.value.filename == str(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert notes.read("a") == b"before"


def test_a_folder_that_is_gone_is_not_made_again(tmp_path):
    notes = LocalNotes(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="gone"):
        notes.write("job.json", b"{}")
    with pytest.raises(FileNotFoundError, match="gone"):
        notes.write("units/1.json", b"{}")
    notes.remove()
    assert not notes.exist()
