"""Where results may be written."""

import errno
import os
from pathlib import Path

import pytest

from orbitds.output import check_place, flush_folder, naming, remove


@pytest.mark.parametrize("name", ["a.zarr", "b.nc"])
def test_a_new_name_in_a_folder_will_do(tmp_path, monkeypatch, name):
    check_place(tmp_path / name, (".nc", ".zarr"))
    monkeypatch.chdir(tmp_path)
    check_place(Path(name), (".nc", ".zarr"))


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.zarr, got .*a\.nc\. Change"):
        check_place(tmp_path / "a.nc", (".zarr",))
    with pytest.raises(ValueError, match=r"ends in \.nc or \.zarr, got .*a\."):
        check_place(tmp_path / "a", (".nc", ".zarr"))


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder for b\.nc, got .*no, .*mkdir -p .*no$"):
        check_place(tmp_path / "no" / "b.nc", (".nc",))
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=r"got .*file, which is a file"):
        check_place(tmp_path / "file" / "b.nc", (".nc",))


def test_a_folder_that_is_read_only_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)
    with pytest.raises(PermissionError, match=f"can be written to, got {tmp_path}"):
        check_place(tmp_path / "b.nc", (".nc",))


def test_an_error_of_the_system_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No space left") as ended, naming(tmp_path / "a"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert ended.value.filename == str(tmp_path / "a")
    with pytest.raises(FileNotFoundError) as ended, naming(tmp_path / "a"):
        (tmp_path / "b").read_bytes()
    assert ended.value.filename == str(tmp_path / "b")
    with pytest.raises(OSError, match="^ours$"), naming(tmp_path / "a"):
        raise OSError("ours")


def test_a_folder_that_is_not_there_has_no_names_to_flush(tmp_path):
    flush_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        flush_folder(tmp_path / "none")


def test_what_is_there_is_removed(tmp_path):
    (tmp_path / "folder" / "in").mkdir(parents=True)
    (tmp_path / "file").touch()
    remove(tmp_path / name for name in ("folder", "file", "none"))
    assert list(tmp_path.iterdir()) == []
