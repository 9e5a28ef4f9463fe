"""Small files of a job, each whole or not there: in a folder, or behind an address."""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from orbitds.output import flush_folder, naming, remove

# The file on the whole job, and that whose bytes are locked.
JOB, LOCK = "job.json", "lock"
# How systems say that a folder is gone already, or that something is in it.
_STAYS = (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST)


@runtime_checkable
class Notes(Protocol):
    """A folder of small files."""

    def __str__(self) -> str: ...

    def exist(self) -> bool:
        """Whether there is anything."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return a file; None if it is not there."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all, for good."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder within."""
        ...

    def clear(self) -> None:
        """Remove all files but locks, that on the whole job first."""
        ...

    def remove(self) -> None:
        """Remove all of them, that on the whole job first: without it there is no job."""
        ...


class LocalNotes:
    """A folder on a file system.

    Parameters
    ----------
    path
        The folder; it is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def exist(self) -> bool:
        """Whether the folder is there."""
        return self.path.is_dir()

    def read(self, name: str) -> bytes | None:
        """Return a file; None if it is not there."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file onto the disk, under a temporary name until it is whole.

        Raises
        ------
        OSError
            If that fails; it names the file.
        """
        path = self.path / name
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        with naming(path):
            if path.parent != self.path:  # the folder itself is not made again once it is gone
                path.parent.mkdir(exist_ok=True)
            try:
                with partial.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(path)
            except OSError:
                partial.unlink(missing_ok=True)
                raise
            flush_folder(path.parent)

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder within."""
        try:
            names = [path.name for path in (self.path / folder).iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for name in names if not name.startswith("."))

    def clear(self) -> None:
        """Remove all files but locks, that on the whole job first."""
        (self.path / JOB).unlink(missing_ok=True)
        with suppress(FileNotFoundError):  # the folder
            remove(path for path in self.path.iterdir() if path.name != LOCK)

    def remove(self) -> None:
        """Remove the folder, the file on the whole job first: without it there is no job.

        The file whose bytes are locked goes last. Who has it open by then sees that it is gone,
        and who makes another one has the folder for a job of their own: it stays.
        """
        self.clear()
        remove([self.path / LOCK])
        try:
            self.path.rmdir()
        except OSError as error:
            if error.errno not in _STAYS:
                raise


class RemoteNotes:
    """Objects behind an address, which their store writes whole or not at all.

    Parameters
    ----------
    files
        A file system of fsspec.
    path
        What their names begin with.
    """

    def __init__(self, files: Any, path: str) -> None:  # noqa: ANN401  fsspec has no types
        self.files = files
        self.path = path

    def __str__(self) -> str:
        return self.files.unstrip_protocol(self.path)

    def exist(self) -> bool:
        """Whether there is an object."""
        self.files.invalidate_cache()
        return bool(self.files.find(self.path))

    def read(self, name: str) -> bytes | None:
        """Return an object; None if it is not there."""
        try:
            return self.files.cat_file(f"{self.path}/{name}")
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write an object."""
        self.files.pipe_file(f"{self.path}/{name}", content)

    def names(self, folder: str) -> list[str]:
        """Return the last part of the names of objects."""
        self.files.invalidate_cache()
        try:
            found = self.files.ls(f"{self.path}/{folder}", detail=False)
        except FileNotFoundError:
            return []
        return sorted(str(name).rpartition("/")[2] for name in found)

    def clear(self) -> None:
        """Remove all objects, that on the whole job first."""
        self.files.invalidate_cache()
        for name in sorted(self.files.find(self.path), key=lambda name: not name.endswith(JOB)):
            with suppress(FileNotFoundError):  # another process removed it
                self.files.rm_file(name)

    def remove(self) -> None:
        """Remove all objects, that on the whole job first: without it there is no job."""
        self.clear()
