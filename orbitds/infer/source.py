"""Where a job's checkpoint is from: what travels to other processes in place of its weights."""

from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from orbitds.checkpoint import Checkpoint, load_checkpoint
from orbitds.description import DESCRIPTION, file_hash, find_checkpoint


@dataclass
class Source:
    """A checkpoint by its folder and the hash of its description, or one in memory.

    The description holds the hashes of the other files, so its own stands for all of them.
    """

    folder: Path | None
    sha256: str
    _held: Checkpoint | None = field(default=None, repr=False)

    @classmethod
    def of(cls, checkpoint: str | PathLike[str] | Checkpoint) -> "Source":
        """Return the source of a checkpoint by name, folder or itself.

        Raises
        ------
        ValueError
            If it has not learned to downscale.
        """
        if isinstance(checkpoint, Checkpoint):
            source = cls(None, "", checkpoint)
        else:
            folder = find_checkpoint(str(checkpoint))
            source = cls(folder, file_hash(folder / DESCRIPTION))
        if source.checkpoint.description.objective == "masked":
            raise ValueError(
                f"Wanted a checkpoint that has learned to downscale, got "
                f"{source.checkpoint.name!r}, which was pre-trained to reconstruct hidden parts of "
                "its inputs. Train a run that starts from it: `orbitds train --from` this folder."
            )
        return source

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint, loaded once per process.

        Raises
        ------
        ValueError
            If another one lies in its place by now.
        """
        if self._held is None:
            assert self.folder is not None
            found = file_hash(self.folder / DESCRIPTION)
            if found != self.sha256:
                raise ValueError(
                    f"Wanted the checkpoint in {self.folder} that the job began with (sha256 of "
                    f"{DESCRIPTION} {self.sha256}), got another one ({found}). Put it back, or "
                    "start the job again."
                )
            self._held = load_checkpoint(self.folder)
        return self._held

    def __getstate__(self) -> dict[str, Any]:
        """Leave weights behind that lie in a folder."""
        return self.__dict__ | ({} if self.folder is None else {"_held": None})
