"""Sums over the cells of a grid, taken over bands of them that stay in the processor's cache."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from orbitds.metrics import ensemble
from orbitds.metrics.cells import Strip
from orbitds.metrics.extremes import WET, highest, wet_sums
from orbitds.metrics.frame import Traits
from orbitds.metrics.moments import ERRORS, TRUTH, error_products, truth_sums
from orbitds.metrics.tails import add_to_histogram


@dataclass(frozen=True, eq=False)
class Band:
    """A strip of the grid at a few times of one block, zero where the truth is missing.

    Parameters
    ----------
    block, times
        Which block of the fields it is, and which of their times.
    values
        Truth, then all methods.
    valid
        Where there is truth; None where it is everywhere.
    """

    strip: Strip
    block: int
    times: slice
    values: Float[Tensor, "K T N"]
    valid: Bool[Tensor, "T N"] | None
    members: Float[Tensor, "M T N"] | None = None

    def logarithm(self) -> "Band":
        """Return log1p of all values; what a method leaves below zero is none of the amount."""
        members = None if self.members is None else self.members.clamp(min=0).log1p_()
        return replace(self, values=self.values.clamp(min=0).log1p_(), members=members)

    @cached_property
    def weights(self) -> Float[Tensor, "T N"]:
        """Area of each cell at each time, zero where the truth is missing, float64."""
        if self.valid is None:
            return self.strip.weight.expand(self.values.shape[1:]).contiguous()
        return self.strip.weight * self.valid

    @cached_property
    def count(self) -> Float[Tensor, "N"]:
        """Number of times with a truth."""
        if self.valid is None:
            return self.values.new_full(self.strip.weight.shape, self.values.shape[1])
        return self.valid.sum(dim=0, dtype=self.values.dtype)

    @property
    def areas(self) -> Float[Tensor, "T"]:
        """Area of all cells at each time that have a truth."""
        if self.valid is None:
            return self.strip.weight.sum().expand(self.values.shape[1])
        return self.weights.sum(dim=1)

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

    def names(self, *, members: int = 0) -> tuple[str, ...]:
        """Return what sums are taken of; those of a method carry its name."""
        wet = ("", *self.methods) if self.traits.is_rain else ()
        return (
            "weight",
            *TRUTH,
            *(f"{name}|{method}" for method in self.methods for name in ERRORS),
            *(f"{name}|{method}".rstrip("|") for method in wet for name in WET),
            *(ensemble.SPREAD if members else ()),
        )

    def add(self, band: Band, bins: Int64[Tensor, "T N"], found: "Found") -> None:
        """Add a band to the sums by cell, and to those over patches.

        Parameters
        ----------
        bins
            Place of the truth in the rows of histograms.
        """
        strip, truth = band.strip, band.centred(self.traits.offset)
        sums = [band.count[None], truth_sums(truth)]
        series = [band.areas, strip.total(truth)]
        for row, prediction in enumerate(band.values[1:]):
            products = error_products(prediction, band.values[0], truth)
            sums.append(products.sum(dim=1))
            series.append(strip.total(products[0]))
            self.maps[row, :, strip.place].add_(sums[-1][:2])
            squares = products[1].double().mul_(band.weights)
            add_to_histogram(found.tails[len(band.values) + row], bins, squares)
        self.cells[0, strip.place].add_(band.count)
        self.cells[1, strip.place].add_(sums[1][0])
        if self.traits.is_rain:
            sums += [wet_sums(amount, band.valid) for amount in band.values]
        if band.members is not None:
            sums.append(ensemble.spread_sums(band.members, band.values[0], band.valid))
            found.ranks += ensemble.rank_weights(band.members, band.values[0], band.weights)
        if self.peaks is not None:
            assert self.traits.extreme is not None
            peaks = self.peaks[:, strip.place]
            torch.maximum(peaks, highest(band.values, band.valid, self.traits.extreme), out=peaks)
        # over times in the precision of the fields, over cells in float64
        by_cell = torch.cat(sums).double()
        found.moments[band.block].index_add_(1, strip.patches, strip.sums(by_cell))
        found.series[band.times] += torch.stack(series, dim=1)


@dataclass(eq=False)
class Found:
    """Sums of a variable over the cells of each patch."""

    names: tuple[str, ...]
    moments: Float[Tensor, "B S A"]
    """Sums by block of time, whose names they are."""
    series: Float[Tensor, "T K_1"]
    """At each time the area of all cells, and the sums over the truth and each method's error."""
    tails: Float[Tensor, "L AB"]
    """By patch and bin the weight of values of truth and methods, then squared errors."""
    ranks: Float[Tensor, "M_1"]
    """Weight of the ranks of the truth among the members; nothing without members."""

    @classmethod
    def nothing(cls, goal: Goal, blocks: int, times: int, patches: int, members: int) -> "Found":
        """Return zeros of the shapes that a goal asks for."""
        names, methods = goal.names(members=members), len(goal.methods)
        return cls(
            names,
            torch.zeros(blocks, len(names), patches, dtype=torch.float64),
            torch.zeros(times, 2 + methods, dtype=torch.float64),
            torch.zeros(1 + 2 * methods, patches * goal.traits.bins.count, dtype=torch.float64),
            torch.zeros(members + 1 if members else 0, dtype=torch.float64),
        )

    def take(self, other: "Found") -> None:
        """Add the sums over other cells in place."""
        self.moments += other.moments
        self.series += other.series
        self.tails += other.tails
        self.ranks += other.ranks


def add_bands(bands: Iterable[Band], goals: Sequence[Goal], found: Sequence[Found]) -> None:
    """Add bands to the sums by cell of each goal, and to those over patches.

    Parameters
    ----------
    goals
        That of the values, and perhaps that of their logarithms, which lie in the same bins.
    found
        What is found for each of them.
    """
    bins = goals[-1].traits.bins
    for band in bands:
        forms = [band] if len(goals) == 1 else [band, band.logarithm()]
        # of 32 bits as long as that is enough: processors convert and add these quicker
        places = bins.index(forms[-1].values).add_(bins.count * band.strip.label).long()
        for row, place in zip(found[0].tails, places, strict=False):
            add_to_histogram(row, place, band.weights)
        for form, goal, one in zip(forms, goals, found, strict=True):
            goal.add(form, places[0], one)
    values = 1 + len(goals[0].methods)
    for other in found[1:]:
        other.tails[:values] = found[0].tails[:values]
