"""Locks on the bytes of a file, among processes."""

import errno
import os
import subprocess
import sys

import pytest

from orbitds.infer.claims import BEGIN, END, PRESENCE, Claims

OTHER = """
import sys
from pathlib import Path
from orbitds.infer.claims import Claims
claims = Claims(Path(sys.argv[1]))
for line in sys.stdin:
    print(eval(line), flush=True)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that does what it is told with the same file."""
    command = [sys.executable, "-c", OTHER, str(tmp_path / "lock")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(code):
        process.stdin.write(code + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    yield ask, process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_claim_is_of_one_process_until_it_dies(other, tmp_path):
    other, process = other
    claims = Claims(tmp_path / "lock")
    assert other("claims.take_unit(3)") == "True"
    assert not claims.take_unit(3)
    assert claims.take_unit(4)
    assert claims.take(END)
    assert other("claims.take_unit(4)") == other("claims.take(1)") == "False"
    claims.release_unit(4)
    assert other("claims.take_unit(4)") == "True"
    process.kill()
    process.wait()
    assert claims.take_unit(3)
    claims.wait(BEGIN)
    claims.close()
    claims.close()


def test_many_are_there_and_one_is_there_alone(other, tmp_path):
    other, _ = other
    claims = Claims(tmp_path / "lock")
    assert claims.join()
    assert other("claims.join()") == "True"
    assert not claims.take(PRESENCE)
    other("claims.close()")
    assert claims.take(PRESENCE)
    claims.close()


def test_a_file_that_is_gone_is_not_current(tmp_path):
    claims = Claims(tmp_path / "lock")
    assert claims.is_current()
    (tmp_path / "lock").unlink()
    assert not claims.is_current()
    (tmp_path / "lock").touch()
    assert not claims.is_current()
    claims.close()


def test_a_folder_that_goes_while_a_lock_is_made(tmp_path, monkeypatch):
    """Another process finishes its job between both steps: the folder is made anew."""
    folder, open_file = tmp_path / "job", os.open

    def after_another(*arguments):
        monkeypatch.setattr(os, "open", open_file)
        folder.rmdir()
        return open_file(*arguments)

    monkeypatch.setattr(os, "open", after_another)
    claims = Claims.within(folder)
    assert claims.is_current()
    claims.close()
    again = Claims.within(folder)
    assert again.is_current()
    again.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        Claims.within(tmp_path / "gone" / "job")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file"):
        Claims.within(tmp_path / "file")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match="link"):
        Claims.within(tmp_path / "link")


def test_without_locks_every_claim_is_granted(tmp_path, monkeypatch):
    import fcntl

    def unknown(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    claims = Claims(tmp_path / "lock")
    monkeypatch.setattr(fcntl, "lockf", unknown)
    assert claims.take(BEGIN)
    assert claims.take_unit(0)
    claims.close()
    nowhere = Claims(None)
    assert nowhere.take_unit(1)
    assert nowhere.join()
    assert nowhere.is_current()
    nowhere.release_unit(1)
    nowhere.close()
