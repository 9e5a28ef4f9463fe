"""Sums over the cells of a grid, taken over bands of them that stay in the processor's cache."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from orbitds.metrics import ensemble
from orbitds.metrics.extremes import highest, wet_sums
from orbitds.metrics.frame import Traits
from orbitds.metrics.moments import Sums, error_sums, truth_sums
from orbitds.metrics.tails import add_to_histogram


@dataclass(frozen=True, eq=False)
class Band:
    """Some sorted cells of one patch at a few times, zero where the truth is missing.

    Parameters
    ----------
    place
        Which of the sorted cells they are.
    values
        Truth, then all methods.
    valid
        Where there is truth; None where it is everywhere.
    """

    patch: int
    place: slice
    weight: Float[Tensor, "N"]
    values: Float[Tensor, "K T N"]
    valid: Bool[Tensor, "T N"] | None
    members: Float[Tensor, "M T N"] | None = None

    def logarithm(self) -> "Band":
        """Return log1p of all values; what a method leaves below zero is none of the amount."""
        members = None if self.members is None else self.members.clamp(min=0).log1p_()
        return replace(self, values=self.values.clamp(min=0).log1p_(), members=members)

    @cached_property
    def errors(self) -> Float[Tensor, "M T N"]:
        """Each method minus truth."""
        return self.values[1:] - self.values[0]

    @cached_property
    def weighted(self) -> Float[Tensor, "M T N"]:
        """The errors times the area of their cell."""
        return self.errors * self.light_weights

    @cached_property
    def weights(self) -> Float[Tensor, "T N"]:
        """Area of each cell at each time, zero where the truth is missing, float64."""
        if self.valid is None:
            return self.weight.repeat(self.values.shape[1], 1)
        return self.weight * self.valid

    @cached_property
    def light_weights(self) -> Float[Tensor, "T N"]:
        """The same in the precision of the values."""
        return self.weights.to(self.values.dtype)

    def centred(self, offset: float) -> Float[Tensor, "T N"]:
        """Return the truth about an offset, zero where missing."""
        truth = self.values[0] - offset
        return truth if self.valid is None else truth.mul_(self.valid)


@dataclass(frozen=True, eq=False)
class Goal:
    """Where the sums of a variable by cell go: bands are added to it side by side.

    Parameters
    ----------
    cells
        Number of times, and the truth about its offset.
    maps
        Errors and squared errors of each method.
    peaks
        Extremes of truth and methods, times their sign; None where none is looked for.
    """

    traits: Traits
    methods: tuple[str, ...]
    cells: Float[Tensor, "2 N"]
    maps: Float[Tensor, "M 2 N"]
    peaks: Float[Tensor, "K N"] | None

    def add(self, band: Band) -> Sums:
        """Add a band to the sums by cell; return its sums by time."""
        truth = band.centred(self.traits.offset)
        count, total = self.cells[:, band.place]
        count.add_(len(truth) if band.valid is None else band.valid.sum(dim=0))
        total.add_(truth.sum(dim=0))
        total, squares = self.maps[..., band.place].unbind(dim=1)
        total.add_(band.errors.sum(dim=1))
        squares.add_(band.errors.square().sum(dim=1))
        if self.peaks is not None:
            assert self.traits.extreme is not None
            peaks = self.peaks[:, band.place]
            torch.maximum(peaks, highest(band.values, band.valid, self.traits.extreme), out=peaks)
        return self._sums(band, truth)

    def _sums(self, band: Band, truth: Float[Tensor, "T N"]) -> Sums:
        sums = truth_sums(truth, band.weights)
        for method, weighted, error in zip(self.methods, band.weighted, band.errors, strict=True):
            sums |= of(method, error_sums(weighted, error, truth))
        if self.traits.is_rain:
            sums |= wet_sums(band.values[0], band.light_weights)
            for method, amount in zip(self.methods, band.values[1:], strict=True):
                sums |= of(method, wet_sums(amount, band.light_weights))
        if band.members is not None:
            members, observed = band.members.double(), band.values[0].double()
            sums |= ensemble.ensemble_sums(members, observed, band.weights)
        return sums


@dataclass(eq=False)
class Found:
    """Sums of a variable over the cells of each patch."""

    names: tuple[str, ...]
    moments: Float[Tensor, "T S A"]
    """Sums by time, whose names they are."""
    tails: Float[Tensor, "L A B"]
    """Weight of values of truth and methods by bin, then squared errors by bin of the truth."""
    ranks: Float[Tensor, "M_1"]
    """Weight of the ranks of the truth among the members; nothing without members."""

    @classmethod
    def nothing(cls, band: Band, sums: Sums, goal: Goal, patches: int) -> "Found":
        """Return zeros of the shapes that a band asks for."""
        rows = len(band.values) + len(goal.methods)
        members = -1 if band.members is None else len(band.members)
        return cls(
            tuple(sums),
            torch.zeros(band.values.shape[1], len(sums), patches, dtype=torch.float64),
            torch.zeros(rows, patches, goal.traits.bins.count, dtype=torch.float64),
            torch.zeros(members + 1, dtype=torch.float64),
        )

    def add(self, band: Band, sums: Sums, place: Int64[Tensor, "T N"]) -> None:
        """Add sums by time, squared errors by the bin of the truth, and ranks."""
        self.moments[..., band.patch] += torch.stack([one.double() for one in sums.values()], dim=1)
        squares = (band.weighted * band.errors).double()
        for row, square in zip(self.tails[len(band.values) :], squares, strict=True):
            add_to_histogram(row[band.patch], place, square)
        if band.members is not None:
            self.ranks += ensemble.rank_weights(band.members, band.values[0], band.weights)

    def take(self, other: "Found") -> None:
        """Add the sums over other cells in place."""
        self.moments += other.moments
        self.tails += other.tails
        self.ranks += other.ranks


def add_bands(bands: Iterable[Band], patches: int, goals: Sequence[Goal]) -> list[Found]:
    """Add bands to the sums by cell of each goal, and return the sums over patches.

    Parameters
    ----------
    goals
        That of the values, and perhaps that of their logarithms, which lie in the same bins.
    """
    found: list[Found] = []
    for band in bands:
        forms = [band] if len(goals) == 1 else [band, band.logarithm()]
        places = goals[-1].traits.bins.index(forms[-1].values)
        for at, (form, goal) in enumerate(zip(forms, goals, strict=True)):
            sums = goal.add(form)
            if at == len(found):
                found.append(Found.nothing(form, sums, goal, patches))
            found[at].add(form, sums, places[0])
        for row, place in zip(found[0].tails, places, strict=False):
            add_to_histogram(row[band.patch], place, band.weights)
    for other in found[1:]:
        values = len(other.tails) - len(goals[0].methods)
        other.tails[:values] = found[0].tails[:values]
    return found


def of(method: str, sums: Sums) -> Sums:
    """Return the sums of a method under names that carry its own."""
    return {f"{name}|{method}": value for name, value in sums.items()}
