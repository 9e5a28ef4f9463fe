"""All (time, tile) samples of a pair, by index."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from orbitds.data.assemble import Assembler
from orbitds.data.batch import Reader, Sample
from orbitds.data.climatology import Climatology
from orbitds.data.pair import Pair
from orbitds.normalize import Statistics
from orbitds.windows import Windows

CPU = torch.device("cpu")


class Samples(Dataset):
    """All (time, tile) samples of a pair: what is stored of them, and what the model takes.

    Parameters
    ----------
    pair
        The part to draw from.
    statistics
        Of the training part.
    tiles
        How the coarse field is cut.
    climatology
        Of the training part; None where the model's base needs none.
    own_time_out
        Leave a sample's year out of its climatology, or its time where a year has most of them: for
        training, where it holds the target.
    history
        Earlier times of the inputs that are further inputs; the first times have none and are left
        out.
    loss_weights
        How much each output counts; as their variables say by default.
    device
        Where the samples are wanted.
    """

    def __init__(
        self,
        pair: Pair,
        statistics: dict[str, Statistics],
        tiles: Windows,
        *,
        climatology: Climatology | None = None,
        own_time_out: bool = False,
        history: int = 0,
        loss_weights: Sequence[float] | None = None,
        device: torch.device = CPU,
    ) -> None:
        self.pair = pair
        self.tiles = tiles
        self.reader = Reader.of(pair, tiles, history=history)
        self.assemble = Assembler(
            pair,
            statistics,
            self.reader,
            climatology=climatology,
            own_time_out=own_time_out,
            loss_weights=loss_weights,
            device=device,
        )

    @property
    def inputs(self) -> tuple[str, ...]:
        """Input variables, those of earlier times too."""
        return self.assemble.inputs

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> Sample:
        return Sample(*(tensor[0] for tensor in self.batch([index])))

    def batch(self, indices: Sequence[int]) -> Sample:
        """Read samples and return them with a leading axis B, on the device."""
        return self.assemble(self.reader.read(indices))

    def name(self, index: int) -> str:
        """Return what a person calls a sample: its pair, time, and tile where there are several."""
        step, tile = self.reader.place(index)
        told = f"{self.pair.name} {self.pair.coarse.indexes['time'][step]}"
        return told if len(self.tiles.tiles) == 1 else f"{told} tile {tile}"

    def climatology_of(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the fine and coarse climatology of a time step, physical, for its month."""
        return self.assemble.climatology_of(step)
