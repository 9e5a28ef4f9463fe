"""All sums of one variable: streamed over time, kept by block of time, merged, saved."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from orbitds.metrics import steps
from orbitds.metrics.bands import Found, Goal, add_bands
from orbitds.metrics.cells import Strip
from orbitds.metrics.checks import check_fields, check_kin, check_times
from orbitds.metrics.frame import Frame, Traits, When, blocks, runs
from orbitds.metrics.steps import RegionSums, Step

# Cells of a field that are worked on at once: a few times, or one large field.
CHUNK_CELLS = 2**23
# Parts of the cells that are worked on side by side; how many does not depend on the machine.
SHARES = 8
Fields = dict[str, Float[Tensor, "T H W"]]
# What a sum is of, and the block, season, year or time that it is over.
Key = tuple[str, str]
EXTREME = "extreme"
# Distributions over the whole grid, by month.
MONTHLY = "monthly tails"
# What works on parts of a task and returns what the builtin map does, perhaps side by side.
Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


@dataclass(eq=False)
class Scores:
    """Sums over the times of one variable, for the truth and all methods.

    Memory is bounded: fields of sums for each season and method, of extremes for each year, and
    small sums for each third of a month. Sums of parts are the sums of the whole, in any order, to
    the rounding of float64; the same time cannot be in two parts.

    Parameters
    ----------
    members
        Number of members of the first method, which is their mean; 0 without.
    """

    traits: Traits
    frame: Frame
    methods: tuple[str, ...]
    members: int = 0
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What the rows of sums over regions are, by kind: ``regions`` and ``structure``."""
    sums: dict[Key, Tensor] = field(default_factory=dict)

    def add(
        self,
        fields: Fields,
        truth: Float[Tensor, "T H W"],
        when: Sequence[When],
        *,
        coarse: Float[Tensor, "T Hc Wc"] | None = None,
        members: Float[Tensor, "M T H W"] | None = None,
        logarithm: "Scores | None" = None,
        run: Map = map,
    ) -> None:
        """Add fields of all methods in the unit of the variable.

        Parameters
        ----------
        truth
            Cells where it is NaN do not count.
        when
            Each time, which has not been added before.
        coarse
            What the prediction was made from, if the frame has a factor.
        logarithm
            Scores of log1p of the same fields, to which they are added on the way. There is no
            coarse field for them: the logarithm of a mean is not the mean of logarithms.
        run
            The map of an executor, where several threads share the work.

        Raises
        ------
        ValueError
            If a prediction is NaN where the truth is not, or a time was added before. Then nothing
            is added.
        """
        check_times(when, self.sums)
        chosen = {method: fields[method] for method in self.methods}
        list(run(_call, [partial(check_fields, chosen, truth)]))
        forms = (self,) if logarithm is None else (self, logarithm)
        for chunk in runs(when, most=max(1, CHUNK_CELLS // truth[0].numel())):
            made = partial(
                Step.of,
                truth[chunk],
                {method: field[chunk] for method, field in chosen.items()},
                self.frame.cells,
                coarse=None if coarse is None else coarse[chunk],
                members=None if members is None else members[:, chunk],
            )
            (step,) = run(_call, [made])
            _add(forms, step, when[chunk], run)

    def merge(self, other: "Scores") -> "Scores":
        """Return the scores of two parts together; the parts stay as they are.

        Raises
        ------
        ValueError
            If they are not parts of one evaluation, or share a time.
        """
        merged = type(self)(self.traits, self.frame, self.methods, self.members)
        merged.take(self)
        merged.take(other)
        return merged

    def take(self, other: "Scores") -> None:
        """Add another part in place.

        Raises
        ------
        ValueError
            If they are not parts of one evaluation, or share a time. Then nothing is added.
        """
        check_kin(self, other)
        self.names |= other.names
        for key, value in other.sums.items():
            # copied: what a thread has allocated it can use again, if nothing of it stays
            self._put(key, value if key in self.sums else value.clone())

    @property
    def times(self) -> list[str]:
        """Labels of all times, in order."""
        return sorted(key for kind, key in self.sums if kind == "steps")

    def of(self, kind: str) -> dict[str, Tensor]:
        """Return all sums of a kind, in the order of their keys."""
        keys = sorted(key for found, key in self.sums if found == kind)
        return {key: self.sums[kind, key] for key in keys}

    def _put_found(self, found: Found, coarse: RegionSums, when: Sequence[When]) -> None:
        """Add the sums over patches of times of one month, and those over coarse cells."""
        for at, row in zip(when, found.series, strict=True):
            self._put(("steps", at.label), row.clone())
        self.names["regions"] = (*found.names, *coarse)
        by_region = found.moments @ self.frame.cells.members.T
        for row, (label, places) in zip(by_region, blocks(when), strict=True):
            own = [values[places].sum(dim=0, keepdim=True) for values in coarse.values()]
            self._put(("regions", label), torch.cat([row, *own]))
        tails = found.tails.unflatten(1, (self.frame.cells.patches, -1))
        self._put(("tails", when[0].season), tails)
        self._put((MONTHLY, when[0].month_label), tails.sum(dim=1))
        if self.members:
            self._put(("ranks", ""), found.ranks)

    def _put_blocks(self, kind: str, values: Float[Tensor, "T *K"], when: Sequence[When]) -> None:
        """Add values of times to their blocks."""
        for label, places in blocks(when):
            self._put((kind, label), values[places].sum(dim=0))

    def _goal(self, at: When, dtype: torch.dtype) -> Goal:
        """Return the sums by cell of the season and year of a time; nothing at first."""
        methods, cells = len(self.methods), self.frame.area.numel()
        peaks, extreme = None, (EXTREME, f"{at.year:04d}")
        if self.traits.extreme:
            if extreme not in self.sums:
                self.sums[extreme] = torch.full((1 + methods, cells), -torch.inf, dtype=dtype)
            peaks = self.sums[extreme]
        return Goal(
            self.traits,
            self.methods,
            self._field(("cells", at.season), 2, cells),
            self._field(("maps", ""), methods, 2, cells),
            peaks,
        )

    def _field(self, key: Key, *shape: int) -> Tensor:
        """Return sums of a shape, zero at first."""
        if key not in self.sums:
            self.sums[key] = torch.zeros(shape, dtype=torch.float64)
        return self.sums[key]

    def _put(self, key: Key, value: Tensor) -> None:
        """Add a value to what is there, in place; of extremes the higher one is kept."""
        found = self.sums.get(key)
        if found is None:
            self.sums[key] = value
        elif key[0] == EXTREME:
            torch.maximum(found, value, out=found)
        else:
            found.add_(value)


def _add(forms: Sequence[Scores], step: Step, when: Sequence[When], run: Map) -> None:
    """Add times of one month to the scores of a variable, and perhaps to those of its logarithm."""
    frame = forms[0].frame
    goals = [scores._goal(when[0], step.truth.dtype) for scores in forms]
    strips = step.cells.strips
    size = -(-len(strips) // SHARES)
    shares = [strips[start : start + size] for start in range(0, len(strips), size)]
    places = [place for place, at in enumerate(when) if at.is_detailed]
    times = [consecutive for _, consecutive in blocks(when)]

    def add_share(share: Sequence[Strip]) -> list[Found]:
        sizes = len(times), len(when), frame.cells.patches, forms[0].members
        found = [Found.nothing(goal, *sizes) for goal in goals]
        add_bands((band for strip in share for band in step.bands(strip, times)), goals, found)
        return found

    # Large fields are made by tasks alone. Small sums that stay, made here, would come to lie
    # between them, and the next ones no longer fit in there: memory would grow with time.
    whole = [
        partial(
            steps.structure, step, places, scores.traits, frame, is_logarithm=scores is not forms[0]
        )
        for scores in forms
        if places
    ]
    tasks = [*whole, partial(steps.block_errors, step, frame)]
    results = iter(run(_call, [*tasks, *(partial(add_share, share) for share in shares)]))
    structure = [next(results) for _ in whole]
    coarse = next(results)
    parts = list(results)
    for scores, (found, *others) in zip(forms, zip(*parts, strict=True), strict=True):
        for other in others:
            found.take(other)
        scores._put_found(found, coarse if scores is forms[0] else {}, when)
    for scores, (sums, curves) in zip(
        forms, structure, strict=False
    ):  # none at times without detail
        detailed = [when[place] for place in places]
        scores.names["structure"] = tuple(sums)
        scores._put_blocks("structure", torch.stack(list(sums.values()), dim=1), detailed)
        for kind, values in curves.items():
            scores._put_blocks(kind, values, detailed)


def _call(task: Callable[[], Any]) -> Any:  # noqa: ANN401  each task has its own result
    return task()
