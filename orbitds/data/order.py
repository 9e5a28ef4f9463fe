"""The order of samples: a pure function of seed, step and rank, so that a run goes on anywhere."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler

# Streams of random numbers of a seed, apart from the shuffled epochs.
_PAIRS, _MIRRORS = 2**31, 2**31 + 1


class Task(NamedTuple):
    """What one rank reads for a step."""

    step: int
    pair: int
    """Which of the run's pairs."""
    indices: list[int]
    """Samples of that pair."""


class StepSampler(Sampler[list[int]]):
    """Batches of indices from one step to another, each epoch shuffled by (seed, epoch).

    Sample number ``step * batch_size + k`` of the run lies at that place of an endless sequence of
    shuffled epochs; nothing is remembered between steps. Where an epoch ends within a batch, the
    rest of the batch is the start of the next one: no sample is left out or doubled.

    Parameters
    ----------
    length
        Number of samples.
    batch_size
        Samples of a step over all ranks.
    first, last
        Steps from and to (exclusive).
    rank, world
        Which share of each batch: the batch is cut into ``world`` runs of samples whose lengths
        differ by one at most, so that it is the same batch for any number of ranks.
    stream
        Number of the pair, so that the orders of several pairs differ.
    """

    def __init__(
        self,
        length: int,
        *,
        batch_size: int,
        seed: int,
        first: int,
        last: int,
        rank: int = 0,
        world: int = 1,
        stream: int = 0,
    ) -> None:
        if batch_size < world:
            raise ValueError(
                f"Wanted at least one sample for each rank in a step, got a batch of {batch_size} "
                f"for {world} ranks. Raise batch_size, or use fewer ranks."
            )
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.first = first
        self.last = last
        self.share = range(rank * batch_size // world, (rank + 1) * batch_size // world)
        self.stream = stream

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[list[int]]:
        return map(self.batch, range(self.first, self.last))

    def batch(self, step: int) -> list[int]:
        """Return this rank's share of the batch of a step."""
        numbers = (step * self.batch_size + place for place in self.share)
        return [
            int(_shuffled(self.length, self.seed, number // self.length, self.stream)[place])
            for number in numbers
            for place in [number % self.length]
        ]


class MixedSampler(Sampler[Task]):
    """Batches of one pair each, the pair of a step drawn by weight from (seed, step).

    Each pair has its own sequence of shuffled epochs, of which a step takes the next batch.

    Parameters
    ----------
    lengths
        Samples of each pair.
    weights
        Share of the steps that each pair gets, up to a common factor.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        weights: Sequence[float],
        *,
        batch_size: int,
        seed: int,
        first: int,
        last: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.first, self.last = first, last
        self.samplers = [
            StepSampler(
                length,
                batch_size=batch_size,
                seed=seed,
                first=first,
                last=last,
                rank=rank,
                world=world,
                stream=pair,
            )
            for pair, length in enumerate(lengths)
        ]
        # one stream of numbers, of which step k takes the k-th: it does not matter where one begins
        draws = np.random.default_rng([seed, _PAIRS]).random(last)
        edges = np.cumsum(weights) / np.sum(weights)
        self._pairs = np.searchsorted(edges[:-1], draws, side="right")

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[Task]:
        taken = np.bincount(self._pairs[: self.first], minlength=len(self.samplers))
        for step in range(self.first, self.last):
            pair = int(self._pairs[step])
            yield Task(step, pair, self.samplers[pair].batch(int(taken[pair])))
            taken[pair] += 1


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
