"""The order of samples: a pure function of seed, step and rank, so that a run goes on anywhere."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler

# Streams of random numbers of a seed, apart from the shuffled epochs.
_PAIRS, _MIRRORS, _PLACES = 2**31, 2**31 + 1, 2**31 + 2


class Task(NamedTuple):
    """What one rank reads for a part of a step."""

    step: int
    pair: int
    """Which of the run's pairs."""
    indices: list[int]
    """Samples of that pair."""
    place: int
    """Place of the first of them in the step's batch of all ranks."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """In which order a run takes its samples, and the share of one rank.

    Raises
    ------
    ValueError
        If a rank would get no sample.
    """

    seed: int
    """Of the shuffled epochs, of the pairs drawn and of the mirrors."""
    batch_size: int
    """Samples of a step over all ranks."""
    parts: int = 1
    """Batches that a rank's share of a step comes in, one after another."""
    first: int
    """Step to begin with."""
    last: int
    """Step to end before."""
    rank: int = 0
    """This process among those that see different samples."""
    world: int = 1
    """Number of these processes."""
    weights: tuple[float, ...] = (1.0,)
    """Share of the steps that each pair gets, up to a common factor."""
    shuffle: Literal["tiles", "fields", "crops"] = "tiles"
    """Shuffle the tiles of all times, or the times: the tiles of a time then follow each other, or
    one of them is drawn at random, so that an epoch is each time once, at one place."""

    def __post_init__(self) -> None:
        if self.batch_size // self.world < self.parts:
            parts = f" in {self.parts} parts" if self.parts > 1 else ""
            raise ValueError(
                f"Wanted at least one sample for each rank in a step, got a batch of "
                f"{self.batch_size} for {self.world} ranks{parts}. Raise batch_size, or use fewer."
            )

    @property
    def steps(self) -> range:
        """All steps."""
        return range(self.first, self.last)

    @property
    def share(self) -> range:
        """Which samples of a batch are this rank's.

        The batch is cut into ``world`` runs of samples whose lengths differ by one at most, so that
        it is the same batch for any number of ranks.
        """
        edges = (part * self.batch_size // self.world for part in (self.rank, self.rank + 1))
        return range(*edges)


class StepSampler(Sampler[list[int]]):
    """Batches of indices from one step to another, each epoch shuffled by (seed, epoch).

    Sample number ``step * batch_size + k`` of the run lies at that place of an endless sequence of
    shuffled epochs; nothing is remembered between steps. Where an epoch ends within a batch, the
    rest of the batch is the start of the next one: no sample is left out or doubled.

    Parameters
    ----------
    length
        Number of samples; sample ``time * tiles + tile``.
    order
        Steps, ranks and seed.
    tiles
        Samples of a time.
    stream
        Number of the pair, so that the orders of several pairs differ.
    """

    def __init__(self, length: int, order: Order, *, tiles: int = 1, stream: int = 0) -> None:
        self.length = length // tiles if order.shuffle == "crops" else length
        self.order = order
        self.tiles = tiles
        self.together = tiles if order.shuffle == "fields" else 1
        self.stream = stream

    def __len__(self) -> int:
        return len(self.order.steps)

    def __iter__(self) -> Iterator[list[int]]:
        return map(self.batch, self.order.steps)

    def batch(self, step: int) -> list[int]:
        """Return this rank's share of the batch of a step."""
        start = step * self.order.batch_size
        return [self._sample(start + place) for place in self.order.share]

    def _sample(self, number: int) -> int:
        """Return the index of a sample of the run, by its number in the endless sequence."""
        epoch, place = divmod(number, self.length)
        run, tile = divmod(place, self.together)
        runs = _shuffled(self.length // self.together, self.order.seed, epoch, self.stream)
        if self.order.shuffle == "crops":
            crops = _drawn(self.length, self.tiles, self.order.seed, epoch, self.stream)
            return int(runs[run]) * self.tiles + int(crops[run])
        return int(runs[run]) * self.together + tile


class MixedSampler(Sampler[Task]):
    """Batches of one pair each, the pair of a step drawn by weight from (seed, step).

    Each pair has its own sequence of shuffled epochs, of which a step takes the next batch.

    Parameters
    ----------
    lengths
        Samples of each pair.
    order
        Steps, ranks, seed and weights.
    tiles
        Samples of a time, by pair; one if left out.
    """

    def __init__(
        self, lengths: Sequence[int], order: Order, *, tiles: Sequence[int] | None = None
    ) -> None:
        self.order = order
        self.samplers = [
            StepSampler(length, order, tiles=count, stream=pair)
            for pair, (length, count) in enumerate(
                zip(lengths, tiles or [1] * len(lengths), strict=True)
            )
        ]
        # one stream of numbers, of which step k takes the k-th: it does not matter where one begins
        draws = np.random.default_rng([order.seed, _PAIRS]).random(order.last)
        edges = np.cumsum(order.weights) / np.sum(order.weights)
        self._pairs = np.searchsorted(edges[:-1], draws, side="right")

    def __len__(self) -> int:
        return len(self.order.steps) * self.order.parts

    def __iter__(self) -> Iterator[Task]:
        taken = np.bincount(self._pairs[: self.order.first], minlength=len(self.samplers))
        for step in self.order.steps:
            pair = int(self._pairs[step])
            indices = self.samplers[pair].batch(int(taken[pair]))
            taken[pair] += 1
            # as many parts in every rank, whatever its share
            edges = [
                part * len(indices) // self.order.parts for part in range(self.order.parts + 1)
            ]
            for first, end in itertools.pairwise(edges):
                yield Task(step, pair, indices[first:end], self.order.share.start + first)


def mirrored(axes: Sequence[str], seed: int, step: int) -> tuple[str, ...]:
    """Return the axes, of those allowed, along which the batch of a step is mirrored."""
    if not axes:
        return ()
    heads = np.random.default_rng([seed, _MIRRORS, step]).random(2) < 0.5
    chosen = zip(("longitude", "latitude"), heads, strict=True)
    return tuple(axis for axis, is_chosen in chosen if is_chosen and axis in axes)


@lru_cache(maxsize=4)
def _shuffled(length: int, seed: int, epoch: int, stream: int) -> torch.Tensor:
    # one random stream for each (seed, epoch), whatever their sizes; the first pair's has no number
    key = [seed, epoch, stream] if stream else [seed, epoch]
    mixed = int(np.random.SeedSequence(key).generate_state(1)[0])
    return torch.randperm(length, generator=torch.Generator().manual_seed(mixed))


@lru_cache(maxsize=4)
def _drawn(length: int, tiles: int, seed: int, epoch: int, stream: int) -> np.ndarray:
    """Return a tile for each time of an epoch."""
    return np.random.default_rng([seed, epoch, stream, _PLACES]).integers(tiles, size=length)
