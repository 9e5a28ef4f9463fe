"""The folder of a run's states: names that stand for whole ones, and which are kept."""

import re
import shutil
from pathlib import Path

from orbitds.config import SaveConfig
from orbitds.train.manifest import Manifest, flush_folder, write_file, write_manifest

LATEST = "latest"
"""The file that names the newest state, for people and scripts."""
# What stands under these names was on its way in or out when a run was killed.
_PARTIAL, _REMOVED = ".partial-", ".removed-"


class Shelf:
    """The folder of the states; what changes it is called by one process.

    Parameters
    ----------
    folder
        Folder of the states alone; made when the first is written.
    config
        Which states are kept.
    """

    def __init__(self, folder: Path, config: SaveConfig) -> None:
        self.folder = folder
        self._config = config

    def whole(self, step: int) -> Path:
        """Return the folder of a state that is whole."""
        return self.folder / f"step-{step:08d}"

    def partial(self, step: int) -> Path:
        """Return the folder of a state while it is written."""
        return self.folder / f"{_PARTIAL}{step:08d}"

    def steps(self) -> list[int]:
        """Return the steps of the states that are there, the newest first."""
        paths = self.folder.iterdir() if self.folder.is_dir() else ()
        found = [re.fullmatch(r"step-(\d{8,})", path.name) for path in paths]
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def clear(self) -> None:
        """Remove what a killed run left behind."""
        for pattern in (f"{_PARTIAL}*", f"{_REMOVED}*"):
            for leftover in self.folder.glob(pattern):
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink()

    def commit(self, manifest: Manifest) -> None:
        """Give a written state its name, and remove those that are not kept.

        Raises
        ------
        OSError
            If that fails.
        """
        partial, whole = self.partial(manifest.step), self.whole(manifest.step)
        write_manifest(partial, manifest)
        self.remove(manifest.step)
        partial.rename(whole)
        flush_folder(self.folder)
        pointer = self.folder / f"{_PARTIAL}{LATEST}"
        write_file(pointer, [f"{whole.name}\n".encode()])
        pointer.replace(self.folder / LATEST)
        flush_folder(self.folder)
        every = self._config.keep_every
        for step in self.steps()[self._config.keep_last :]:
            if every is None or step % every:
                self.remove(step)

    def remove(self, step: int) -> None:
        """Remove a state, if it is there; a kill half-way leaves nothing that looks like one."""
        folder = self.whole(step)
        away = self.folder / f"{_REMOVED}{folder.name}"
        if folder.exists():
            folder.rename(away)
            shutil.rmtree(away)

    def set_aside(self, step: int) -> Path:
        """Take a damaged state out of the row, so that it does not outlive whole ones."""
        folder = self.whole(step)
        aside = self.folder / f"damaged-{folder.name}"
        shutil.rmtree(aside, ignore_errors=True)
        return folder.rename(aside)
