"""Steps are measured, case after case; one that fails is noted, and the others go on."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from scaling.cases import FIELD_TILES, Case, Size, cases, grid_of, model_of, settings_of
from scaling.trace import profiled
from training_run import Run, alone, mesh_of, peak_gib, reset

from orbitds.train.launch import ALONE, Launch

REPEATS = 10


class Bench:
    """Measures the cases of a size of the model.

    Parameters
    ----------
    launch
        This process.
    cut
        Whether communication is cut out: processes other than this one are not there, and
        collectives (PyTorch's backend ``fake``) return at once.
    until
        When no further case begins, by ``time.monotonic``.
    say
        Called with each row.
    """

    def __init__(
        self,
        launch: Launch,
        device: torch.device,
        *,
        tiny: bool,
        cut: bool,
        until: float,
        say: Callable[[dict[str, Any]], None],
    ) -> None:
        self.launch, self.device, self.tiny = launch, device, tiny
        self.cut, self.until, self.say = cut, until, say

    def size(self, size: Size, names: list[str]) -> None:
        """Measure the named cases of a size."""
        world = self.launch.world
        if world < size.least:
            told = f"the {size.name} size takes {size.least} processes"
            self.say({"size": size.name, "case": "all", "error": told})
            return
        chosen = [
            case
            for case in cases(size, world, model_of(size, tiny=self.tiny).heads)
            if case.name in names
        ]
        one: dict[str, float] = {}
        if size.least == 1 and not self.cut:
            is_strong = any(case.name == "strong" for case in chosen)
            row = self._guarded(size, "one", lambda: self._one(size, is_strong=is_strong))
            one = row.get("by_parts_ms", {})
        for case in chosen:
            self._guarded(size, case.name, lambda case=case: self._case(size, case, one))

    def _guarded(self, size: Size, name: str, call: Callable[[], dict]) -> dict:
        """Return what a case gives, or that it failed or began too late."""
        row: dict[str, Any] = {"size": size.name, "case": name, "processes": self.launch.world}
        if self._is_late():
            row["error"] = "not begun: the time is over"
        else:
            reset(self.device)
            torch.compiler.reset()  # another model: its graphs are not those of the last
            try:
                row |= call()
            except (RuntimeError, ValueError) as error:  # out of memory is a RuntimeError
                row["error"] = str(error).splitlines()[0]
        self.say(row)
        return row

    def _is_late(self) -> bool:
        told = [time.monotonic() > self.until]
        if self.launch.master is not None and not self.cut:
            dist.broadcast_object_list(told)  # all go by the clock of the main process
        return told[0]

    def _one(self, size: Size, *, is_strong: bool) -> dict:
        """Measure the main process alone, the others waiting."""

        def call() -> dict:
            run = self._run(size, {}, ALONE)
            times = run.times_ms(REPEATS)
            by_parts = {1: statistics.median(times)}
            counts = {FIELD_TILES, FIELD_TILES // self.launch.world} - {1} if is_strong else set()
            for parts in sorted(counts):
                run.in_parts(parts)
                by_parts[parts] = statistics.median(run.step_ms(2))
            return {"ms": by_parts[1], "all_ms": times, "by_parts_ms": by_parts}

        row = alone(lambda: _failure_told(call), self.launch)
        if "error" in row:
            raise RuntimeError(row["error"])
        row |= {"gib": peak_gib(self.device), "samples_per_s": 1e3 * size.batch / row["ms"]}
        return row

    def _case(self, size: Size, case: Case, one: dict[int, float]) -> dict:
        run = self._run(size, case.axes, self.launch)
        if case.parts > 1:
            run.step()
            run.in_parts(case.parts)
            times = run.step_ms(2)
        else:
            times = run.times_ms(REPEATS)
        row: dict[str, Any] = {"axes": case.axes, "parts": case.parts, "batch": size.batch}
        row |= {"ms": statistics.median(times), "all_ms": times, "gib": peak_gib(self.device)}
        row |= {"parameters": run.parameters}
        if self.cut:
            return row
        row["samples_per_s"] = 1e3 * case.samples(size.batch) / row["ms"]
        if one:
            whole = FIELD_TILES if case.parts > 1 else 1
            rate = whole * size.batch / one[whole]
            row["efficiency"] = row["samples_per_s"] / 1e3 / rate / self.launch.world
        if case.name in ("tiles", "fsdp", "hsdp", "strong") and case.parts in one:
            # the same share of the work in a process that has nobody to talk to
            row["alone_ms"] = one[case.parts]
            row["exposed"] = 1 - one[case.parts] / row["ms"]
        if self.device.type == "cuda" and case.parts == 1:
            row["profile_ms"] = profiled(run.step, 3)._asdict()
        return row

    def _run(self, size: Size, axes: dict[str, int], launch: Launch) -> Run:
        return Run(
            model_of(size, tiny=self.tiny),
            mesh_of(axes, launch, self.device),
            self.device,
            grid=grid_of(tiny=self.tiny),
            batch=size.batch,
            **settings_of(size),
        )


def _failure_told(call: Callable[[], dict]) -> dict:
    """Return what a call gives, or its failure: the others learn it, and do not wait."""
    try:
        return call()
    except (RuntimeError, ValueError) as error:
        return {"error": str(error).splitlines()[0]}
