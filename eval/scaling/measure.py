"""Steps are measured, case after case; one that fails is noted, and the others go on."""

import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import torch
import torch.distributed as dist
from scaling.cases import FIELD_TILES, Case, Size, cases, grid_of, model_of, settings_of
from scaling.trace import profiled
from training_run import Run, alone, held_bytes, mesh_of, peak_gib, reset

from orbitds.train.launch import ALONE, Launch

REPEATS = 10
WEAK = ("tiles", "fsdp", "hsdp")
# Seconds, about, of a turn, of all turns of a way, and to warm up.
TURN_S, WAY_S, WARM_S = 2.0, 7.0, 5.0


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
        one: dict[int, float] = {}
        if size.least == 1 and not self.cut:
            is_strong = any(case.name == "strong" for case in chosen)
            row = self._guarded(size, "one", lambda: self._one(size, is_strong=is_strong))
            one = row.get("by_parts_ms", {})
            weak = [case for case in chosen if case.name in WEAK]
            if weak and one and world > 1:
                self._weak(size, weak, one)
                chosen = [case for case in chosen if case not in weak]
        for case in chosen:
            self._guarded(size, case.name, lambda case=case: self._case(size, case, one))

    def _guarded(
        self, size: Size, name: str, call: Callable[[], dict], *, fresh: bool = True
    ) -> dict:
        """Return what a case gives, or that it failed or began too late."""
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
        if self.launch.master is not None and not self.cut:
            dist.broadcast_object_list(told)  # all go by the clock of the main process
        return told[0]

    def _one(self, size: Size, *, is_strong: bool) -> dict:
        """Measure the main process alone, the others waiting."""

        def call() -> dict:
            run = self._run(size, {}, ALONE)
            took = statistics.median(run.times_ms(3))
            run.several(max(int(WARM_S * 1e3 / took), 1))  # a cold device is a quick one
            times = run.times_ms(_within(WAY_S, took, 3, REPEATS))
            profile = self._profile(run)
            by_parts = {1: statistics.median(times)}
            counts = {FIELD_TILES, FIELD_TILES // self.launch.world} - {1} if is_strong else set()
            for parts in sorted(counts):
                run.in_parts(parts)
                by_parts[parts] = statistics.median(run.step_ms(2))
            return {"ms": by_parts[1], "all_ms": times, "by_parts_ms": by_parts, **profile}

        row = alone(lambda: _failure_told(call), self.launch)
        if "error" in row:
            raise RuntimeError(row["error"])
        row |= {"gib": peak_gib(self.device), "samples_per_s": 1e3 * size.batch / row["ms"]}
        return row

    def _weak(self, size: Size, weak: list[Case], one: dict[int, float]) -> None:
        """Measure steps of a tile for each process, in turns with steps that say nothing.

        A device grows warm and slow, and devices are unlike: what is compared is measured in turns
        on the same ones.
        """
        turn = _within(TURN_S, one[1], 2, 5)
        rounds = _within(WAY_S, turn * one[1], 3, 5)
        base: list[Run] = []

        def first() -> dict:
            base.append(self._run(size, {"tiles": self.launch.world}, self.launch))
            base[0].several(3)
            ways = {
                way: partial(self._told, base[0], way, turn) for way in ("nothing", "losses", "all")
            }
            times = self._in_turns(ways, rounds)
            profile = self._profile(base[0])
            base[0].tell("nothing")
            for way, name in (("nothing", "apart"), ("losses", "met")):
                found = self._compared(size, times[way], times["nothing"])
                if way == "nothing":
                    found |= self._profile(base[0])
                self.say({"size": size.name, "case": name, "processes": self.launch.world} | found)
            row = {"axes": {"tiles": self.launch.world}, "parts": 1}
            row |= self._compared(size, times["all"], times["nothing"]) | profile
            return row | {"gib": peak_gib(self.device), "parameters": base[0].parameters}

        def other(case: Case) -> dict:
            if not base:
                raise RuntimeError("not begun: steps to compare with failed")
            beside = held_bytes(self.device)
            run = self._run(size, case.axes, self.launch)
            run.several(3)
            row = {"axes": case.axes, "parts": 1}
            row["gib"] = peak_gib(self.device, beside=beside)
            ways = {"nothing": partial(self._told, base[0], "nothing", turn)}
            times = self._in_turns(ways | {"all": lambda: run.times_ms(turn, 1)}, rounds)
            row |= self._compared(size, times["all"], times["nothing"]) | self._profile(run)
            return row | {"parameters": run.parameters}

        self._guarded(size, "tiles", first)
        for case in weak:
            if case.name != "tiles":
                self._guarded(size, case.name, lambda case=case: other(case), fresh=False)

    @staticmethod
    def _told(run: Run, way: Literal["all", "losses", "nothing"], steps: int) -> list[float]:
        run.tell(way)
        return run.times_ms(steps, 1)

    def _in_turns(
        self, ways: Mapping[str, Callable[[], list[float]]], rounds: int
    ) -> dict[str, list[list[float]]]:
        """Return the times of each way, of each process."""
        own: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, call in ways.items():
                dist.barrier()
                own[way] += call()
        everyone = [own] * self.launch.world
        dist.all_gather_object(everyone, own)
        return {way: [one[way] for one in everyone] for way in ways}

    def _compared(self, size: Size, times: list[list[float]], bare: list[list[float]]) -> dict:
        """Return what times say beside those of the same devices that say nothing."""
        step = statistics.median(itertools.chain(*times))
        alone = [statistics.median(one) for one in bare]
        row: dict[str, Any] = {"ms": step, "all_ms": times, "batch": size.batch, "alone_ms": alone}
        row["samples_per_s"] = len(times) * 1e3 * size.batch / step
        # rates of the devices, each alone
        row["efficiency"] = len(times) / step / sum(1 / one for one in alone)
        row["exposed"] = 1 - row["efficiency"]
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
        if case.name == "strong" and case.parts in one:
            # the same share of the work in a process that has nobody to talk to
            row["alone_ms"] = [one[case.parts]]
            row["exposed"] = 1 - one[case.parts] / row["ms"]
        if case.parts == 1:
            row |= self._profile(run)
        return row

    def _profile(self, run: Run) -> dict:
        if self.device.type != "cuda":
            return {}
        return {"profile_ms": profiled(run.several, 3)._asdict()}

    def _run(self, size: Size, axes: dict[str, int], launch: Launch) -> Run:
        return Run(
            model_of(size, tiny=self.tiny),
            mesh_of(axes, launch, self.device),
            self.device,
            grid=grid_of(tiny=self.tiny),
            batch=size.batch,
            **settings_of(size),
        )


def _within(seconds: float, ms: float, least: int, most: int) -> int:
    """Return how many times something of so many ms fits, within bounds."""
    return max(least, min(most, int(1e3 * seconds / ms)))


def _failure_told(call: Callable[[], dict]) -> dict:
    """Return what a call gives, or its failure: the others learn it, and do not wait."""
    try:
        return call()
    except (RuntimeError, ValueError) as error:
        return {"error": str(error).splitlines()[0]}
