"""The course of a run: its numbers, its validations, its best weights, and when it ends."""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from orbitds.config import TrainConfig
from orbitds.train.count import count
from orbitds.train.engine import Engine
from orbitds.train.folder import BEST
from orbitds.train.keep import keep
from orbitds.train.log import Log, RunLog
from orbitds.train.mesh import Mesh
from orbitds.train.mixture import Scope
from orbitds.train.outline import outline_of
from orbitds.train.setting import Setting
from orbitds.train.speed import Meter, Work
from orbitds.train.states import States
from orbitds.train.step import Numbers, name_batch
from orbitds.train.stop import Stopped
from orbitds.train.validate import validate_all


class Course(AbstractContextManager):
    """Follows a run in all of its processes; the main one writes. As a context, closes its log.

    Parameters
    ----------
    facts
        Of the state that the run goes on from; empty at its beginning.

    Attributes
    ----------
    best
        Lowest validation error so far.
    stale
        Validations since then.
    is_stopped
        Whether a process was told to stop; all of them know it at the same step.
    """

    def __init__(
        self,
        config: TrainConfig,
        settings: Sequence[Setting],
        engine: Engine,
        mesh: Mesh,
        output: Path,
        *,
        facts: Mapping[str, Any],
    ) -> None:
        self.config, self.settings, self.engine, self.mesh = config, settings, engine, mesh
        self.output = output
        first = facts.get("step", 0)
        self.best, self.stale = facts.get("best", math.inf), facts.get("stale", 0)
        self.is_stopped, self._told, self._rates = False, "", ""
        device = settings[0].train.assemble.device
        is_main = mesh.rank == 0
        self.log = RunLog(output, config.log, first=first) if is_main else Log()
        self.meter = Meter(
            steps=config.steps,
            first=first,
            processes=mesh.world,
            device=device,
            dtype=config.dtype,
        )
        self.work = _work(config, settings) if is_main else [Work(0, 0, 0)] * len(settings)

    def __exit__(self, *_: object) -> None:
        self.log.close()

    @property
    def is_over(self) -> bool:
        """Whether no better weights are to be waited for."""
        return self.config.patience is not None and self.stale >= self.config.patience

    def validates(self, step: int) -> bool:
        """Return whether the weights after a step are validated."""
        return step % self.config.validate_every == 0 or step == self.config.steps

    def due(self, step: int) -> bool:
        """Return whether the weights after a step are validated or saved."""
        every = self.config.save.every or self.config.validate_every
        return self.validates(step) or step % every == 0

    def clock(self, numbers: Numbers) -> None:
        """Note that a step was taken, and now and then how fast they go."""
        if self.mesh.rank == 0:
            rates = self.meter.step(self.work[numbers.batches[0].pair])
            if rates is not None:
                self.log.speed(numbers.step, rates.values)
                self._rates = f", {rates}"

    def follow(self, numbers: Numbers, *, validates: bool = False) -> str:
        """Take a step's numbers, validate if asked to, and return a line for people.

        Raises
        ------
        FloatingPointError
            If the loss or its gradient is not finite; the message names the batch.
        """
        loss, norm, stops, own = numbers.read()
        if not math.isfinite(loss + norm):
            named = name_batch(numbers, self.settings, own_loss=own)
            raise FloatingPointError(
                f"Wanted a finite loss, got {loss} with gradient norm {norm} in step "
                f"{numbers.step}, whose batch was: {named}. Lower optim.lr, or check the data; "
                "states of earlier steps are as they were."
            )
        self.is_stopped |= stops
        entry = {"loss": loss, "norm": norm}
        if validates:
            with self.meter.paused():
                entry |= self._validate(numbers.step)
        self.log.write(numbers.step, entry)
        return f"loss {loss:.4f}{self._told}{self._rates}"

    def save(self, states: States, step: int) -> None:
        """Save the state after a step, in the background."""
        with self.meter.paused():
            self.log.sync()
            states.save(step, self.engine.state(), {"best": self.best, "stale": self.stale})

    def leave(self, states: States, step: int, reason: str | None) -> None:
        """Save the state after a step, and end the process with the code that says so."""
        self.save(states, step)
        states.wait()
        raise Stopped(reason or "another process was told to", step)

    def _validate(self, step: int) -> dict[str, float]:
        config, engine = self.config, self.engine
        shares = tuple(config.mixture.values())
        with engine.averaged():
            found = validate_all(
                engine.model,
                self.settings,
                shares,
                config.minimised,
                self.mesh,
                at_once=max(config.batch_size // (config.accumulate * self.mesh.data_world), 1),
            )
            self._told = f", validation {found['validation']:.4f}"
            self.stale += 1
            if found["validation"] < self.best:
                self.best, self.stale = found["validation"], 0
                weights = engine.whole()
                if weights is not None:
                    place = self.output / BEST
                    keep(engine.model, self.settings, config, step, place, weights=weights)
        return found


def _work(config: TrainConfig, settings: Sequence[Setting]) -> list[Work]:
    """Return what a step is for each pair."""
    scope, size, works = Scope.of(settings), config.batch_size, []
    for setting in settings:
        one = count(config, outline_of(config, setting.pair), scope)
        works.append(Work(size, size * one.tokens, float(size * one.operations)))
    return works
