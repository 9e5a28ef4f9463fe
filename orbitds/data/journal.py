"""Which blocks of a store are finished: written down one by one, so that a restart goes on."""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orbitds.data.skeleton import replace_file
from orbitds.data.store import GROUPS, MANIFEST
from orbitds.output import file_size

FOLDER = ".finished"


class Journal:
    """The finished blocks of a store, each a small file that appears when its block is on the disk.

    Parameters
    ----------
    store
        Folder of the store, with its metadata.
    """

    def __init__(self, store: Path) -> None:
        self.store = store
        self.folder = store / FOLDER

    def finished(self) -> dict[int, dict[str, Any]]:
        """Return what was written down, by block, where its files still have their size."""
        records = {
            int(path.stem): json.loads(path.read_text(encoding="utf-8"))
            for path in sorted(self.folder.glob("*.json"))
        }
        return {
            block: record
            for block, record in records.items()
            if all(self._size(name) == file["bytes"] for name, file in record["files"].items())
        }

    def begin(self) -> dict[int, dict[str, Any]]:
        """Remove what an interrupted run left half done; return the finished blocks."""
        self.folder.mkdir(exist_ok=True)
        records = self.finished()
        for path in self.folder.iterdir():
            if path.suffix != ".json" or int(path.stem) not in records:
                path.unlink()
        kept = {name for record in records.values() for name in record["files"]}
        for path in self._value_files():
            if path.relative_to(self.store).as_posix() not in kept:
                path.unlink()
        for path in self.store.rglob("*.partial"):
            path.unlink()
        return records

    def finish(self, block: int, names: list[str], **found: Any) -> dict[str, Any]:  # noqa: ANN401
        """Write down that a block is finished; its files are on the disk before."""
        record = {"files": {name: self._sync(name) for name in names}} | found
        replace_file(self.folder / f"{block:08d}.json", json.dumps(record))
        return record

    def close(self, records: dict[int, dict[str, Any]]) -> str:
        """Write the manifest: size and hash of every file of values; return its own hash."""
        files = {
            name: file
            for _, record in sorted(records.items())
            for name, file in record["files"].items()
        }
        text = json.dumps({"files": files}, indent=1)
        replace_file(self.store / MANIFEST, text)
        return hashlib.sha256(text.encode()).hexdigest()

    def clear(self) -> None:
        """Remove the notes of a store that is complete."""
        for path in self.folder.glob("*"):
            path.unlink()
        if self.folder.exists():
            self.folder.rmdir()

    def _value_files(self) -> list[Path]:
        folders = [self.store / group / "values" / "c" for group in GROUPS]
        return [path for folder in folders for path in folder.rglob("*") if path.is_file()]

    def _size(self, name: str) -> int | None:
        return file_size(self.store / name)

    def _sync(self, name: str) -> dict[str, Any]:
        """Bring a file onto the disk; return its size and hash."""
        with (self.store / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
            return {"bytes": file.tell(), "sha256": digest}


@contextmanager
def only_writer(store: Path) -> Iterator[None]:
    """Keep a second process from writing the same store; a killed one lets go by itself.

    Raises
    ------
    BlockingIOError
        If another process is writing it.
    """
    lock = store.with_name(f".{store.name}.lock")
    with lock.open("w") as file:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BlockingIOError(
                    f"Wanted {store} for this run alone, got another run that is writing it. "
                    "Wait for it, or choose another output."
                ) from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
