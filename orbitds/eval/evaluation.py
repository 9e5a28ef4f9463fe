"""An evaluation made ready: which fields are scored on which frame, by how many threads."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from orbitds.data.values import Missing, check_values
from orbitds.eval.options import Simple
from orbitds.eval.sides import Sides
from orbitds.eval.stream import DETAILED_TIMES, Read, dates, stream, tensor
from orbitds.eval.table import LOGARITHM
from orbitds.eval.traits import is_amount, traits_of
from orbitds.metrics.consistency import Borders
from orbitds.metrics.frame import Frame, Traits, When
from orbitds.metrics.scores import Scores
from orbitds.metrics.structure import Window
from orbitds.variables import variable

# Cells of the times for which the fields of the simple methods are made at once.
PART_CELLS = 2**22
FIRST_MEMBER = "{} (first member)"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A prediction beside the truth, ready to be scored by one process or by several.

    Parameters
    ----------
    label
        What the prediction is called; that of an ensemble is its mean.
    simple
        What gives the simple methods where there are coarse data.
    """

    sides: Sides
    label: str
    missing: Missing
    simple: Simple | None
    masks: dict[str, np.ndarray]
    tile_borders: tuple[list[int], list[int]] | None = None
    detailed_times: int = DETAILED_TIMES
    ssim: Window = "uniform"

    @cached_property
    def frame(self) -> Frame:
        """The grid, its regions and borders."""
        grid, factor = self.sides.grid, self.sides.coarse_factor()
        height, width = grid.spacing_deg
        middle = np.cos(np.deg2rad(grid.latitude_deg.mean()))
        borders = {}
        if factor:
            borders["block"] = Borders.every(grid.shape, factor, factor)
        if self.tile_borders is not None:
            borders["seam"] = Borders.at(grid.shape, *self.tile_borders)
        return Frame(
            torch.tensor(grid.area),
            {name: torch.from_numpy(mask) for name, mask in self.masks.items()},
            (height, float(width * middle)),
            grid.periodic,
            factor,
            borders,
        )

    def scores(self, name: str, share: tuple[int, int] = (0, 1)) -> dict[str, Scores]:
        """Return the sums of a variable, and of its logarithm where it is an amount.

        Parameters
        ----------
        share
            This process and how many there are: each takes a part of the times.
        """
        found: dict[str, Scores] = {}
        threads = torch.get_num_threads()
        times = max(1, PART_CELLS // self.frame.area.numel())
        _ = self.frame.cells.strips, self.frame.rings.ring, self.frame.rings.taper  # made once
        # what a thread does at once is too short to be shared by more of them, which would then
        # burn a processor's time in waiting for the next
        torch.set_num_threads(1)
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                for when, read in self._read(name, share):
                    steps = len(when) if self.sides.coarse is None else times
                    for start in range(0, len(when), steps):
                        part = slice(start, start + steps)
                        fields = {side: field[part] for side, field in read.items()}
                        self._add(found, name, fields, when[part], pool)
            finally:
                torch.set_num_threads(threads)  # what a thread sets, later ones inherit
        return found

    def traits(self, label: str) -> Traits:
        """Return what scores must know of a variable, or of the logarithm of one."""
        return replace(traits_of(label), window=self.ssim)

    @cached_property
    def when(self) -> list[When]:
        """All times; which of them are detailed depends on all of them, whoever scores them."""
        return dates(self.sides.truth["time"], self.detailed_times)

    def labels(self, name: str) -> tuple[str, ...]:
        """Return what is scored of a variable: itself, and the logarithm of an amount."""
        return (name, LOGARITHM.format(name)) if is_amount(variable(name)) else (name,)

    def _add(
        self, found: dict[str, Scores], name: str, read: Read, when: list[When], pool: Executor
    ) -> None:
        """Add a few times to the scores of a variable and of its logarithm."""
        fields, truth, members = self._fields(name, read)
        for label in self.labels(name):
            if label not in found:
                found[label] = Scores(self.traits(label), self.frame, tuple(fields), len(members))
        own, *logarithm = (found[label] for label in self.labels(name))
        own.add(
            fields,
            truth,
            when,
            coarse=tensor(read["coarse"]) if "coarse" in read else None,
            members=members if len(members) else None,
            logarithm=logarithm[0] if logarithm else None,
            run=pool.map,
        )

    def _fields(self, name: str, read: Read) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Return the fields of all methods, the truth, and the members of an ensemble."""
        truth = tensor(read["truth"])
        own = [tensor(field) for key, field in read.items() if key.startswith("member")]
        members = own[0][None] if len(own) == 1 else torch.stack(own)
        if self.missing == "mask":
            truth = truth.masked_fill(members.isnan().any(dim=0), torch.nan)
        fields = {self.label: members[0] if len(members) == 1 else members.mean(dim=0)}
        if len(members) > 1:
            fields[FIRST_MEMBER.format(self.label)] = members[0]
        if "coarse" in read:
            assert self.sides.coarse is not None
            coarse = read["coarse"].to_dataset(name=name).assign_attrs(missing=self.missing)
            assert self.simple is not None
            fields |= self.simple(coarse, name)
        kinds = {field.dtype for field in (truth, *fields.values())}
        dtype = torch.float64 if torch.float64 in kinds else torch.float32
        fields = {method: field.to(dtype) for method, field in fields.items()}
        members = members.to(dtype) if len(members) > 1 else members[:0]
        return fields, truth.to(dtype), members

    def _read(self, name: str, share: tuple[int, int]) -> Iterator[tuple[list[When], Read]]:
        """Yield blocks of time of one variable on all sides; the truth is checked."""
        sides = {f"member {place}": ds[name] for place, ds in enumerate(self.sides.members)}
        sides["truth"] = self.sides.truth[name]
        if self.sides.coarse is not None and name in self.sides.coarse:
            sides["coarse"] = self.sides.coarse[name]

        def check(block: Read) -> None:
            check_values(name, block["truth"].values, missing="mask")

        for part, block in stream(sides, name, share, check=check):
            yield self.when[part], block
