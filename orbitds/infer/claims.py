"""Which process works on what: locks on the bytes of a file, that a killed process lets go."""

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path

from orbitds.infer.notes import LOCK

# What is locked besides units: putting a job in place, putting its output in place, being there.
BEGIN, END, PRESENCE = range(3)
_UNITS = 8
# How systems say that another process holds a lock; whatever else they say, there are no locks.
_HELD = (errno.EACCES, errno.EAGAIN)


class Claims:
    """Locks of this process on a file of a job, until it is closed or the process ends.

    They are POSIX locks on single bytes, which NFS and most parallel file systems keep too. Where
    there are none (a file system without them, Windows), every claim is granted: then the shares
    of processes must not overlap, which they do not by themselves.

    Parameters
    ----------
    path
        The file, in an existing folder; made if it is not there. None behind an address, where
        nothing can be locked.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._descriptor = None if path is None else os.open(path, os.O_RDWR | os.O_CREAT, 0o666)

    @classmethod
    def within(cls, folder: Path) -> "Claims":
        """Return claims on a file in a folder, both of which are made if they are not there.

        Raises
        ------
        OSError
            If that fails; it names the file or the folder.
        """
        while True:
            with suppress(FileExistsError):
                folder.mkdir()
            try:
                return cls(folder / LOCK)
            except FileNotFoundError:
                if folder.is_symlink():  # to nowhere: nobody removes it meanwhile
                    raise
                # a job was finished, and its folder is gone since it was there

    def is_current(self) -> bool:
        """Whether the file still lies under its name: that of a finished job is gone."""
        if self.path is None or self._descriptor is None:
            return True
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def wait(self, place: int) -> None:
        """Claim a place, when whoever has it lets it go."""
        self._lock(place, block=True)

    def take(self, place: int) -> bool:
        """Claim a place, if nobody has it."""
        return self._lock(place)

    def join(self) -> bool:
        """Claim to be there, as others may; False if one has claimed to be there alone."""
        return self._lock(PRESENCE, shared=True)

    def take_unit(self, number: int) -> bool:
        """Claim a unit, if nobody has it."""
        return self._lock(_UNITS + number)

    def release_unit(self, number: int) -> None:
        """Let a unit go."""
        self.release(_UNITS + number)

    def release(self, place: int) -> None:
        """Let a place go."""
        if self._descriptor is not None and sys.platform != "win32":
            import fcntl

            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, place)

    def close(self) -> None:
        """Let everything go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _lock(self, place: int, *, block: bool = False, shared: bool = False) -> bool:
        if self._descriptor is None or sys.platform == "win32":
            return True
        import fcntl

        kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if block else fcntl.LOCK_NB)
        try:
            fcntl.lockf(self._descriptor, kind, 1, place)
        except OSError as error:
            return error.errno not in _HELD
        return True
