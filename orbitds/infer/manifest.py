"""What is known of a job in progress: what it is made of, and which units are finished."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from orbitds.infer.notes import JOB, Notes

UNITS, ENDING = "units", "ending"


class Manifest:
    """The notes of a job: one file on the whole, and a small one for each finished unit.

    Parameters
    ----------
    notes
        Where they lie.
    """

    def __init__(self, notes: Notes) -> None:
        self.notes = notes

    def begun(self) -> dict[str, Any] | None:
        """Return identity and settlements of the job; None if it has not begun."""
        return _json(self.notes.read(JOB))

    def begin(self, identity: Mapping[str, Any], settled: Mapping[str, Any]) -> None:
        """Write down that the job has begun: everything but the values of its output is there.

        Parameters
        ----------
        identity
            What it is made of.
        settled
            What was settled for all processes by the first one.
        """
        told = {"identity": dict(identity), "settled": dict(settled)}
        self.notes.write(JOB, json.dumps(told, indent=1).encode())

    def record(self, number: int) -> dict[str, Any] | None:
        """Return what was written down of a unit; None if it is not finished."""
        return _json(self.notes.read(_name(number)))

    def records(
        self, units: int, size: Callable[[str], int | None] | None = None
    ) -> dict[int, dict[str, Any]]:
        """Return what was written down of finished units.

        Parameters
        ----------
        units
            Number of units of the job.
        size
            Gives bytes of a file of values: a unit whose files have other ones is not finished.
        """
        found = {}
        for name in self.notes.names(UNITS):
            stem, _, suffix = name.partition(".")
            record = _json(self.notes.read(f"{UNITS}/{name}"))
            if suffix != "json" or not stem.isdigit() or int(stem) >= units or record is None:
                continue
            if size is None or _has_files(record, size):
                found[int(stem)] = record
        return found

    def is_finished(self, number: int, size: Callable[[str], int | None]) -> bool:
        """Whether a unit was written down, and its files have the bytes that it says.

        Parameters
        ----------
        number
            Of the unit.
        size
            Gives bytes of a file of values.
        """
        record = self.record(number)
        return record is not None and _has_files(record, size)

    def finish(self, number: int, files: Mapping[str, Any], **told: Any) -> None:  # noqa: ANN401
        """Write down that a unit is finished; its files are on the disk before."""
        self.notes.write(_name(number), json.dumps({"files": dict(files)} | told).encode())

    @property
    def is_ending(self) -> bool:
        """Whether the output was being put in its place."""
        return self.notes.read(ENDING) is not None

    def end(self) -> None:
        """Write down that the output is now put in its place."""
        self.notes.write(ENDING, b"")


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in words which parts of two identities differ."""
    return [
        _told(part, before.get(part), now.get(part))
        for part in dict.fromkeys([*before, *now])
        if before.get(part) != now.get(part)
    ]


def _told(part: str, before: object, now: object) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        inner = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        changes = (f"{name} {now.get(name)} (it was {before.get(name)})" for name in inner)
        return f"{part} {', '.join(changes)}"
    texts = [value if isinstance(value, str) else json.dumps(value) for value in (before, now)]
    # hashes and lists of files say nothing to people
    if any(len(text) > 60 for text in texts):
        return part
    return f"{part} {texts[1]} (it was {texts[0]})"


def _has_files(record: Mapping[str, Any], size: Callable[[str], int | None]) -> bool:
    return all(size(name) == file["bytes"] for name, file in record["files"].items())


def _name(number: int) -> str:
    return f"{UNITS}/{number:08d}.json"


def _json(content: bytes | None) -> dict[str, Any] | None:
    """Return what a file says; None without one, or if it was cut off by a full or dying disk."""
    try:
        return None if content is None else json.loads(content)
    except ValueError:
        return None
