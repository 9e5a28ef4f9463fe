"""States of a run, written while it goes on, from the newest whole one of which it continues."""

import json
import shutil
import warnings
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor

from orbitds.config import SaveConfig
from orbitds.train.launch import Launch
from orbitds.train.manifest import Damaged, File, Manifest, fault, read_manifest
from orbitds.train.restore import fill
from orbitds.train.share import Share, shard_name
from orbitds.train.shelf import Shelf
from orbitds.train.together import Together, attempt


@dataclass
class _Writing:
    """A state on its way to the disk."""

    step: int
    facts: dict[str, Any]
    done: Future
    """What this process does of the phase, in the background."""
    committing: bool = False
    """Whether the tensors are written, and the first process gives the state its name."""


class States:
    """The states of a run: folders ``step-00000123`` of tensors and facts.

    A state appears under its name when all of it lies on the disk, so one that is there is whole;
    ``latest`` names the newest, for people and scripts. All processes call each method, at the same
    place of the run.

    Parameters
    ----------
    folder
        Folder of the states alone, seen by all processes, such as ``output / "states"``.
    config
        Which states are kept.
    launch
        Who this process is.
    group
        All processes, with gloo for host memory; None where there is one.

    Notes
    -----
    A process writes the parts of tensors that it holds, and of those that several hold its share,
    as a safetensors file; ``manifest.json`` says what is where, with sizes and hashes (SHA-256).
    """

    def __init__(
        self, folder: Path, config: SaveConfig, launch: Launch, group: dist.ProcessGroup | None
    ) -> None:
        self._shelf = Shelf(folder, config)
        self._together = Together(launch, group)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="states")
        self._share: Share | None = None
        self._writing: _Writing | None = None
        self._newest: int | None = None
        self._cleared = False

    def save(self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Stage a state in host memory, and write it in the background.

        When this returns the tensors may change. What is written already is waited for. A step that
        was saved or loaded last is not saved again.

        Parameters
        ----------
        step
            Optimiser steps taken.
        tensors
            Plain ones, the same in all processes, and distributed ones, by name.
        facts
            What JSON holds; those of the first process are kept.

        Raises
        ------
        OSError
            If the state before this one could not be written.
        ValueError
            If a tensor is of a type that safetensors does not hold.
        """
        self.wait()
        if step == self._newest:
            return
        kept = json.loads(json.dumps(facts))  # as they are now, and refused where JSON cannot
        self._clear()
        self._lay_out(tensors).stage(tensors)
        done = self._worker.submit(self._write, step)
        self._writing = _Writing(step, kept, done)

    def poll(self) -> None:
        """Bring what is written in the background on its way; waits for nobody's disk.

        Raises
        ------
        OSError
            In all processes, if one could not write; earlier states are as they were.
        """
        if self._writing is None:
            return
        # the answer to the question of one call is read in the next: a step for it to arrive
        if self._together.answer():
            self._advance(self._writing)
        if self._writing is not None:
            self._together.ask(ready=self._writing.done.done())

    def wait(self) -> None:
        """Wait until all is written.

        Raises
        ------
        OSError
            As in `poll`.
        """
        while self._writing is not None:
            wait_for([self._writing.done])
            self._together.answer()  # to what was asked before; gathering below asks it again
            self._advance(self._writing)

    def load(self, tensors: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Fill tensors in place from the newest whole state.

        It may have been written by another number of processes. All hashes are checked before
        anything is read; a state that is not what was written is said, set aside, and the one
        before it taken.

        Parameters
        ----------
        tensors
            As in `save`.

        Returns
        -------
        dict or None
            The facts, with ``step``; None where there is no state.

        Raises
        ------
        OSError
            If there are states, and none is whole.
        ValueError
            If names, shapes or types are not those of the state.
        """
        self.wait()
        self._clear()
        damaged = {}
        for step in self._together.by_main(self._shelf.steps):
            folder = self._shelf.whole(step)
            found = self._check(folder)
            if isinstance(found, Manifest):
                self._together.everywhere(fill, tensors, folder, found)
                self._newest = step
                self._lay_out(tensors)  # host memory for the states to come, before the run starts
                self._set_aside(damaged, folder)
                return {**found.facts, "step": step}
            damaged[step] = found
        if damaged:
            told = "; ".join(f"step {step}: {found}" for step, found in damaged.items())
            raise OSError(
                f"Wanted a whole state in {self._shelf.folder}, got damaged ones alone: {told}. "
                "Bring files back from a copy, or remove the folder to start from the beginning."
            )
        self._lay_out(tensors)
        return None

    def _check(self, folder: Path) -> Manifest | str:
        """Return the manifest of a state, or what is wrong with it."""
        try:
            manifest = self._together.by_main(read_manifest, folder)
        except Damaged as finding:
            return str(finding)
        rank, world = self._together.launch.rank, self._together.launch.world
        share = sorted(manifest.files)[rank::world]
        faults = {name: fault(folder, name, manifest.files[name]) for name in share}
        found = [told for part in self._together.gather(faults) for told in part.values() if told]
        return ", ".join(found) or manifest

    def _set_aside(self, damaged: dict[int, str], taken: Path) -> None:
        if self._together.launch.is_main:
            for step, found in damaged.items():
                aside = self._shelf.set_aside(step)
                warnings.warn(
                    f"The state of step {step} is damaged: {found}. The run goes on from {taken}; "
                    f"the damaged one is now {aside}.",
                    stacklevel=3,
                )

    def _lay_out(self, tensors: Mapping[str, Tensor]) -> Share:
        if self._share is None or not self._share.fits(tensors):
            self._share = None  # its memory is free for the next
            self._share = Share(tensors, self._together)
        return self._share

    def _clear(self) -> None:
        """Remove what a killed run left behind, once."""
        if not self._cleared:
            self._together.by_main(self._shelf.clear)
            self._cleared = True

    def _write(self, step: int) -> File | None:
        assert self._share is not None
        partial = self._shelf.partial(step)
        partial.mkdir(parents=True, exist_ok=True)
        return self._share.write(partial)

    def _advance(self, writing: _Writing) -> None:
        """Go on with a state whose phase all processes have ended."""
        outcomes = self._together.gather(attempt(writing.done.result))
        errors = {rank: told for rank, told in enumerate(outcomes) if isinstance(told, Exception)}
        if errors:
            self._writing = None
            if self._together.launch.is_main:
                shutil.rmtree(self._shelf.partial(writing.step), ignore_errors=True)
            rank, error = next(iter(errors.items()))
            raise OSError(
                f"Wanted to save the state of step {writing.step}, got from process {rank}: "
                f"{error}. Earlier states are whole. Free space or bring the folder back, and "
                "start the run again: it goes on from the newest."
            ) from error
        if writing.committing:
            self._writing = None
            self._newest = writing.step
            return
        writing.committing = True
        writing.done = Future()
        if self._together.launch.is_main:
            writing.done = self._worker.submit(self._commit, writing, outcomes)
        else:
            writing.done.set_result(None)

    def _commit(self, writing: _Writing, files: list[Any]) -> None:
        assert self._share is not None
        manifest = Manifest(
            step=writing.step,
            world=self._together.launch.world,
            facts=writing.facts,
            files={shard_name(rank): file for rank, file in enumerate(files) if file},
            tensors=self._share.parts,
        )
        self._shelf.commit(manifest)
