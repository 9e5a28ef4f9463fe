"""Steps are measured, case after case; one that fails is noted, and the others go on."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from scaling.cases import Case, Size, cases, model_of, run_of
from scaling.echo import Pace, at_pace
from scaling.trace import profiled
from scaling.turns import Times, compared, in_turns, profile
from training_run import Run, alone, held_bytes, peak_gib, reset

from orbitds.train.launch import ALONE, Launch

Steps = Callable[[], list[float]]
REPEATS = 10
# Seconds, about, of a turn, of all turns of a way, and to warm up, before all and in a turn.
TURN_S, WAY_S, WARM_S, WARM_TURN_S = 2.0, 5.0, 5.0, 0.4


class Bench:
    """Measures the cases of a size of the model.

    Parameters
    ----------
    launch
        This process.
    pace
        Of processes that are not there, but echoes of this one (``scaling/echo.py``): steps are
        taken with echoes at once and at this pace. None if processes are there.
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
        pace: Pace | None,
        until: float,
        say: Callable[[dict[str, Any]], None],
    ) -> None:
        self.launch, self.device, self.tiny = launch, device, tiny
        self.pace, self.until, self.say = pace, until, say

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
        if self.pace is not None:  # parts of a step are those of one process
            chosen = [case for case in chosen if case.parts == 1]
        if size.least > 1:  # nothing to compare with
            for case in chosen:
                self.guarded(size, case.name, lambda case=case: self._bare(size, case))
            return
        row = self.guarded(size, "one", lambda: self._one(size))
        if "ms" in row and world > 1:
            InTurns(self, size, row["ms"]).measure(chosen)

    def run(self, size: Size, case: Case, launch: Launch) -> Run:
        """Return a run of a size whose processes share work as in a case."""
        return run_of(size, case, launch, self.device, tiny=self.tiny)

    def guarded(
        self, size: Size, name: str, call: Callable[[], dict], *, fresh: bool = True
    ) -> dict:
        """Note and return what a case gives, or that it failed or began too late."""
        row: dict[str, Any] = {"size": size.name, "case": name, "processes": self.launch.world}
        if self._is_late():
            row["error"] = "not begun: the time is over"
        else:
            if fresh:
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
        if self.launch.master is not None and self.pace is None:
            dist.broadcast_object_list(told)  # all go by the clock of the main process
        return told[0]

    def _one(self, size: Size) -> dict:
        """Measure the main process alone, the others waiting."""

        def call() -> dict:
            run = self.run(size, Case("one", {}), ALONE)
            took = statistics.median(run.times_ms(3))
            run.several(_within(WARM_S, took, 1, 1000))  # a cold device is a quick one
            times = run.times_ms(_within(WAY_S, took, 3, REPEATS))
            row = {"ms": statistics.median(times), "all_ms": [times], **profile(run)}
            row["gib"] = peak_gib(self.device)
            if self.device.type == "cuda":
                row["update_ms"] = profiled(run.updating(), 3).work
            return row

        row = alone(lambda: _failure_told(call), self.launch)
        if "error" in row:
            raise RuntimeError(row["error"])
        return row | {"samples_per_s": 1e3 * size.batch / row["ms"]}

    def _bare(self, size: Size, case: Case) -> dict:
        """Measure steps with nothing beside them."""
        run = self.run(size, case, self.launch)
        row = _told(size, case, run)

        def timed() -> dict[str, Any]:
            times = run.times_ms(REPEATS // 2, 2)
            return {"ms": statistics.median(times), "all_ms": [times], **profile(run)}

        reset(self.device)  # of what it took to build
        row |= timed()
        row["gib"] = peak_gib(self.device)
        if self.pace is None:
            return row | {"samples_per_s": 1e3 * case.samples(size.batch) / row["ms"]}
        with at_pace(self.pace):
            return row | {"paced": timed()}


class InTurns:
    """Measures cases of a size in turns with steps of the same devices that say nothing."""

    def __init__(self, bench: Bench, size: Size, one_ms: float) -> None:
        self.bench, self.size = bench, size
        self.turn = _within(TURN_S, one_ms, 2, 5)
        # until the host is as far ahead of the device as it gets
        self.warm = _within(WARM_TURN_S, one_ms, 1, 5)
        self.rounds = _within(WAY_S, self.turn * one_ms, 3, 5)
        self.base: Run | None = None

    def measure(self, chosen: list[Case]) -> None:
        """Measure cases; before them what all of them are compared with."""
        self.bench.guarded(self.size, "met", self._met)
        if self.base is None:
            return
        for case in chosen:
            call = partial(self._case, self.base, case)
            self.bench.guarded(self.size, case.name, call, fresh=False)

    def _met(self) -> dict:
        """Let each process wait for the latest of a step, and tell it nothing but its loss."""
        copies = Case("tiles", {"tiles": self.bench.launch.world})
        base = self.bench.run(self.size, copies, self.bench.launch)
        base.several(3)
        gib = peak_gib(self.bench.device)
        ways = {way: partial(self._steps, base, way) for way in ("nothing", "losses")}
        times = in_turns(ways, self.rounds)
        base.tell("nothing")
        apart = self._row(times["nothing"], times["nothing"]) | profile(base)
        del apart["exposed"]  # nothing is said
        head = {"size": self.size.name, "case": "apart", "processes": self.bench.launch.world}
        self.bench.say(head | apart | {"gib": gib})
        self.base = base
        return self._row(times["losses"], times["nothing"])

    def _case(self, base: Run, case: Case) -> dict:
        row: dict[str, Any]
        if case.parts > 1:
            row = _told(self.size, case, base)
            base.in_parts(case.parts)
            ways = {way: partial(self._whole_step, base, way) for way in ("nothing", "all")}
            times = in_turns(ways, 3)
            row |= self._row(times["all"], times["nothing"], case)
            row["gib"] = peak_gib(self.bench.device)
            base.in_parts(1)
            return row
        beside = held_bytes(self.bench.device)
        if case.axes == {"tiles": self.bench.launch.world}:
            beside, way = 0, "all" if case.reduce_dtype == "float32" else "rounded"
            run, steps = base, partial(self._steps, base, way)
            base.tell(way)
        else:
            run = self.bench.run(self.size, case, self.bench.launch)
            steps = partial(run.times_ms, self.turn, self.warm)
        run.several(3)
        row = _told(self.size, case, run)
        row["gib"] = peak_gib(self.bench.device, beside=beside)
        ways = {"nothing": partial(self._steps, base, "nothing"), "all": steps}
        pace = self.bench.pace
        if pace is not None:
            ways["paced"] = partial(steps_at_pace, pace, steps)
        times = in_turns(ways, self.rounds)
        row |= self._row(times["all"], times["nothing"], case) | profile(run)
        if pace is None:
            return row
        row.pop("exposed", None)  # nothing takes time but copies on the device
        with at_pace(pace):
            row["paced"] = self._row(times["paced"], times["nothing"], case) | profile(run)
        base.tell("nothing")
        return row | {f"apart_{name}": told for name, told in profile(base).items()}

    def _steps(self, run: Run, way: Any) -> list[float]:  # noqa: ANN401  as of Run.tell
        run.tell(way)
        return run.times_ms(self.turn, self.warm)

    @staticmethod
    def _whole_step(run: Run, way: Any) -> list[float]:  # noqa: ANN401  as of Run.tell
        run.tell(way)
        return run.step_ms(1)

    def _row(self, times: Times, apart: Times, case: Case | None = None) -> dict[str, Any]:
        """Return what times say; of a case, or else of a batch for each process."""
        batch, world = self.size.batch, len(times)
        samples = world * batch if case is None else case.samples(batch)
        # of several parts a step is as long apart
        row = compared(times, apart, min(samples / (world * batch), 1.0))
        if self.bench.pace is not None:  # echoes say what this process says
            return row | {name: row[name][:1] for name in ("all_ms", "apart_ms")}
        return row | {"samples_per_s": 1e3 * samples / row["ms"]}


def steps_at_pace(pace: Pace, steps: Steps) -> list[float]:
    """Return times of steps, echoes coming back at a pace."""
    with at_pace(pace):
        return steps()


def _told(size: Size, case: Case, run: Run) -> dict[str, Any]:
    return {
        "axes": case.axes,
        "parts": case.parts,
        "batch": size.batch,
        "reduce_dtype": case.reduce_dtype,
        "parameters": run.parameters,
    }


def _within(seconds: float, ms: float, least: int, most: int) -> int:
    """Return how many times something of so many ms fits, within bounds."""
    return max(least, min(most, int(1e3 * seconds / ms)))


def _failure_told(call: Callable[[], dict]) -> dict:
    """Return what a call gives, or its failure: the others learn it, and do not wait."""
    try:
        return call()
    except (RuntimeError, ValueError) as error:
        return {"error": str(error).splitlines()[0]}
