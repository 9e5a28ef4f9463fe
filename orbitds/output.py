"""Where results may be written, asked beforehand; what is written is brought onto the disk."""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


def check_place(path: Path, suffixes: Sequence[str]) -> None:
    """Refuse an output of the wrong format, or in a folder that cannot be written to.

    Parameters
    ----------
    suffixes
        Endings of the formats that can be written, such as ``.zarr``.

    Raises
    ------
    ValueError
        If the name ends otherwise.
    OSError
        If the folder does not exist or cannot be written to.
    """
    if path.suffix not in suffixes:
        raise ValueError(
            f"Wanted an output that ends in {' or '.join(suffixes)}, got {path}. Change the ending."
        )
    folder = path.absolute().parent
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(
            f"Wanted an existing folder for {path.name}, got {folder}, which is a file. "
            "Choose another folder."
        )
    if not folder.is_dir():
        raise FileNotFoundError(
            f"Wanted an existing folder for {path.name}, got {folder}, which does not exist. "
            f"Make it: mkdir -p {folder}"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(
            f"Wanted a folder that can be written to, got {folder}. Choose another one, or change "
            "its permissions."
        )


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an error of the system the file that was being written."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def file_size(path: Path) -> int | None:
    """Return the bytes of a file; None if it is not there."""
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def remove(paths: Iterable[Path]) -> None:
    """Remove files and folders, if they are there; other processes may do the same."""
    for path in paths:
        while path.is_dir():
            with suppress(FileNotFoundError):  # of what is within: another process was first
                shutil.rmtree(path)
        path.unlink(missing_ok=True)


def flush_folder(folder: Path) -> None:
    """Bring the names of a folder's files to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
