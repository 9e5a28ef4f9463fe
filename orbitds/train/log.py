"""What a run writes down: lines of JSON, TensorBoard events, Weights & Biases."""

import importlib
import importlib.util
import json
import math
import os
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from orbitds.config import LogConfig
from orbitds.data.pair import Pair

# What a run folder holds of this module's.
LOG, SPEED, EVENTS, REPORTED = "log.jsonl", "speed.jsonl", "tensorboard", "wandb_run.txt"

Values = Mapping[str, int | float | str]


class Log(AbstractContextManager):
    """What a run tells, told to nobody: for all processes but the first one.

    As a context it is closed at the end, however the run ends.
    """

    def __exit__(self, *_: object) -> None:
        self.close()

    def wants(self, step: int) -> bool:  # noqa: ARG002  it wants none
        """Return whether a line of this step would be written without a validation in it."""
        return False

    def write(self, step: int, values: Values) -> None:
        """Write what is a function of the run alone."""

    def speed(self, step: int, values: Values) -> None:
        """Write what differs from one machine and day to another."""

    def sync(self) -> None:
        """Have what was written outlive the machine: before a state of the run counts."""

    def close(self) -> None:
        """Write the rest."""


class RunLog(Log):
    """The log of a run, for its first process.

    Parameters
    ----------
    folder
        Of the run; lines go to ``log.jsonl`` and ``speed.jsonl`` in it.
    config
        How often, and where else.
    first
        Steps that are done already. Lines of later steps, left by a process that was killed, are
        cut off: the file becomes that of a run which never stopped.

    Raises
    ------
    ImportError
        If Weights & Biases is asked for and not installed.
    """

    def __init__(self, folder: Path, config: LogConfig, *, first: int) -> None:
        self.every = config.every
        self.others: list[Any] = []  # each has log(values, step) and finish()
        if config.wandb is not None:
            self.others.append(_weights_and_biases(folder, config.wandb))
        if config.tensorboard and _has_tensorboard():
            self.others.append(_TensorBoard(folder / EVENTS, first))
        self.lines = JsonLines(folder / LOG, last=first)
        self.speeds = JsonLines(folder / SPEED, last=first)

    def wants(self, step: int) -> bool:
        """Return whether a line of this step would be written without a validation in it."""
        return step % self.every == 0

    def write(self, step: int, values: Values) -> None:
        """Write what is a function of the run alone: loss, norm, validation.

        Steps between those that ``LogConfig.every`` asks for are left out, unless there is a
        ``validation`` among the values.
        """
        if self.wants(step) or "validation" in values:
            self.lines.write(step, values)
            self._tell(step, values)

    def speed(self, step: int, values: Values) -> None:
        """Write what differs from one machine and day to another: times, memory, rates."""
        self.speeds.write(step, values)
        self._tell(step, values)

    def sync(self) -> None:
        """Have what was written outlive the machine: before a state of the run counts."""
        self.lines.sync()

    def close(self) -> None:
        """Write the rest, and end the run for those who are told of it."""
        for file in (self.lines, self.speeds):
            file.close()
        for other in self.others:
            other.finish()

    def _tell(self, step: int, values: Values) -> None:
        numbers = {name: value for name, value in values.items() if not isinstance(value, str)}
        for other in self.others:
            other.log(numbers, step=step)


class JsonLines:
    """A log with one JSON object a line.

    Parameters
    ----------
    path
        The file; lines are appended.
    last
        Lines of later steps are cut off first, and one that was being written when a process died.
    """

    def __init__(self, path: Path, *, last: int) -> None:
        if path.exists():
            _cut(path, last)
        self._file = path.open("a", encoding="utf-8")

    def write(self, step: int, values: Values) -> None:
        """Append a line; what is not finite becomes null, since JSON has no other word for it."""
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in values.items()
        }
        self._file.write(json.dumps({"step": step} | finite) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Return once the lines are on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def tell_pairs(pairs: Sequence[Pair]) -> None:
    """Write to standard error what of each pair is left out, and where its statics are from."""
    for pair in pairs:
        source = pair.statics.attrs.get("source")
        statics = [f"statics: {source}"] if source and pair.static_names else []
        for line in (*pair.notes, *statics):
            sys.stderr.write(f"{pair.name}: {line}\n")


class _TensorBoard:
    """Scalars for TensorBoard, under their names."""

    def __init__(self, folder: Path, first: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # events of later steps, left by a process that was killed, are hidden
        self._writer = SummaryWriter(str(folder), purge_step=first + 1 if first else None)

    def log(self, values: Mapping[str, int | float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def finish(self) -> None:
        self._writer.close()


def _cut(path: Path, last: int) -> None:
    """Keep the lines up to a step: the file changes at once or not at all."""
    kept = []
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n") or json.loads(line)["step"] > last:
                break
            kept.append(line)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.writelines(kept)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _has_tensorboard() -> bool:
    if importlib.util.find_spec("tensorboard") is not None:
        return True
    sys.stderr.write(
        "no TensorBoard events: the package tensorboard is not installed; install it, or set "
        "log.tensorboard to false\n"
    )
    return False


def _weights_and_biases(folder: Path, project: str) -> Any:  # noqa: ANN401  an optional package's
    if importlib.util.find_spec("wandb") is None:
        raise ImportError(
            f"Wanted the package wandb for log.wandb {project!r}, got none. Install "
            "orbitds[wandb], or leave log.wandb out."
        )
    # a restart goes on with the same run
    known = folder / REPORTED
    if not known.exists():
        known.write_text(uuid.uuid4().hex[:12], encoding="utf-8")
    resolved = folder / "config.json"
    return importlib.import_module("wandb").init(
        project=project,
        name=folder.name,
        id=known.read_text(encoding="utf-8"),
        resume="allow",
        dir=str(folder),
        config=json.loads(resolved.read_text(encoding="utf-8")) if resolved.exists() else None,
    )
