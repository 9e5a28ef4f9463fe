"""The course of a run: its numbers, its validations, its best weights."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orbitds.config import TrainConfig
from orbitds.train.engine import Engine
from orbitds.train.folder import BEST
from orbitds.train.keep import keep
from orbitds.train.log import JsonLines
from orbitds.train.mesh import Mesh
from orbitds.train.setting import Setting, union_of
from orbitds.train.step import Numbers, name_batch
from orbitds.train.validate import validate_all


class Course:
    """Follows a run in all of its processes; the main one writes.

    Attributes
    ----------
    best
        Lowest validation error so far.
    stale
        Validations since then.
    """

    def __init__(
        self,
        config: TrainConfig,
        settings: Sequence[Setting],
        engine: Engine,
        mesh: Mesh,
        output: Path,
    ) -> None:
        self.config, self.settings, self.engine, self.mesh = config, settings, engine, mesh
        self.output = output
        # what a checkpoint knows of the data
        self.kept = replace(settings[0], statistics=union_of(settings)[1])
        self.log = JsonLines(output / LOG)
        self.best, self.stale, self.validated = math.inf, 0, ""

    def follow(self, numbers: Numbers, *, validates: bool = False) -> str:
        """Take a step's numbers, validate if asked to, and return a line for people.

        Raises
        ------
        FloatingPointError
            If the loss or its gradient is not finite; the message names the batch.
        """
        loss, norm, _, own = numbers.read()
        if not math.isfinite(loss + norm):
            named = name_batch(numbers, self.settings, own_loss=own)
            raise FloatingPointError(
                f"Wanted a finite loss, got {loss} with gradient norm {norm} in step "
                f"{numbers.step}, whose batch was: {named}. Lower optim.lr, or check the data."
            )
        entry: dict[str, float] = {"step": numbers.step, "loss": loss, "norm": norm}
        if validates:
            entry |= self._validate(numbers.step)
        if self.mesh.rank == 0:
            self.log.write(**entry)
        return f"loss {loss:.4f}{self.validated}"

    def _validate(self, step: int) -> dict[str, float]:
        config, engine = self.config, self.engine
        shares = tuple(config.mixture.values())
        with engine.averaged():
            found = validate_all(engine.model, self.settings, shares, config.minimised, self.mesh)
            self.validated = f", validation {found['validation']:.4f}"
            self.stale += 1
            if found["validation"] < self.best:
                self.best, self.stale = found["validation"], 0
                weights = engine.whole()
                if weights is not None:
                    place = self.output / BEST
                    keep(engine.model, self.kept, config, step, place, weights=weights)
        return found
