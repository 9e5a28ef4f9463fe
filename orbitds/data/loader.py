"""The order of samples: a pure function of seed and step, so that a run can go on anywhere."""

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from orbitds.data.sample import Sample


class StepSampler(Sampler[list[int]]):
    """Batches of indices from one step to another, each epoch shuffled by (seed, epoch).

    Sample number ``step * batch_size + k`` of the run lies at that place of an endless sequence of
    shuffled epochs; nothing is remembered between steps.
    """

    def __init__(self, length: int, *, batch_size: int, seed: int, first: int, last: int) -> None:
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.first = first
        self.last = last

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[list[int]]:
        epoch, order = -1, torch.empty(0)
        for step in range(self.first, self.last):
            batch = []
            for number in range(step * self.batch_size, (step + 1) * self.batch_size):
                if number // self.length != epoch:
                    epoch = number // self.length
                    order = self._order(epoch)
                batch.append(int(order[number % self.length]))
            yield batch

    def _order(self, epoch: int) -> torch.Tensor:
        # one stream for each (seed, epoch), whatever their sizes
        mixed = int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0])
        generator = torch.Generator().manual_seed(mixed)
        return torch.randperm(self.length, generator=generator)


def training_loader(
    samples: Dataset, *, batch_size: int, seed: int, first: int, last: int
) -> DataLoader:
    """Return the batches of the steps ``first`` to ``last`` (exclusive)."""
    length = len(samples)  # pyright: ignore[reportArgumentType]  ours has a length
    sampler = StepSampler(length, batch_size=batch_size, seed=seed, first=first, last=last)
    return DataLoader(samples, batch_sampler=sampler, collate_fn=collate)


def collate(samples: list[Sample]) -> Sample:
    """Stack samples to a batch with a leading axis B."""
    return Sample(*(torch.stack(parts) for parts in zip(*samples, strict=True)))
