"""What a checkpoint knows of the place: static fields and climatology, cut and on the device."""

import threading
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from orbitds.checkpoint import Checkpoint
from orbitds.data.statics import statics_for
from orbitds.grid import Grid
from orbitds.infer.part import Frame
from orbitds.region import Region
from orbitds.sets import Box

# Climatology that is kept on the device: as many months as fit, one at least.
MONTHS_BYTES = 2**30
# Rounding of coordinates.
SLACK_DEG = 1e-3

OUTSIDE = (
    "The input lies outside the regions that checkpoint {!r} was trained on: the model is not told "
    "where it is, and half of what it adds to interpolation counts. Expect less skill."
)


def known(checkpoint: Checkpoint, fine_grid: Grid) -> tuple[Region | None, str]:
    """Return what a checkpoint knows of a region, and what it lacks."""
    region, statics = checkpoint.region, checkpoint.description.statics
    if checkpoint.choice is not None and statics:
        return shipped(statics, fine_grid), ""
    if region is None:
        return None, "" if not statics else (
            f"Checkpoint {checkpoint.name!r} carries no static fields "
            f"({', '.join(statics)}): the model does without. Expect less skill."
        )
    cut = region.cut(fine_grid, checkpoint.factor)
    return cut, "" if cut is not None else (
        f"The input lies outside the training region of checkpoint {checkpoint.name!r} "
        f"({region.grid}): its climatology and static fields are not used, and the model "
        "starts from plain interpolation. Expect less skill."
    )


def place_known(checkpoint: Checkpoint, fine_grid: Grid) -> bool | None:
    """Return whether a model shall be told where it is: within a box that it was trained on.

    None of a model that has not learned to do without: it is told always.
    """
    if not getattr(checkpoint.model.config, "drop_position", 0):
        return None
    boxes = () if checkpoint.choice is None else checkpoint.choice.boxes_deg
    if checkpoint.region is not None:
        boxes = (*boxes, _box_of(checkpoint.region.grid))
    return not boxes or any(_is_within(_box_of(fine_grid), box) for box in boxes)


def _box_of(grid: Grid) -> Box:
    rows, columns = grid.latitude_bounds_deg, grid.longitude_bounds_deg
    return float(rows.min()), float(rows.max()), float(columns.min()), float(columns.max())


def _is_within(part: Box, box: Box) -> bool:
    south, north, west, east = box
    ahead = (part[2] - west + SLACK_DEG) % 360 - SLACK_DEG
    across = ahead + part[3] - part[2] <= east - west + SLACK_DEG or east - west >= 360 - SLACK_DEG
    return south - SLACK_DEG <= part[0] and part[1] <= north + SLACK_DEG and across


def shipped(names: tuple[str, ...], fine_grid: Grid) -> Region:
    """Return the static fields of any region, from the file that ships; made once for a grid."""
    axes = fine_grid.latitude_deg, fine_grid.longitude_deg
    return _shipped(names, *(np.asarray(axis, float).tobytes() for axis in axes))


@lru_cache(maxsize=1)
def _shipped(names: tuple[str, ...], rows: bytes, columns: bytes) -> Region:
    grid = Grid(np.frombuffer(rows), np.frombuffer(columns))
    fields = statics_for(grid, names)
    return Region(grid, np.stack([fields[name].values for name in names]))


class Backdrop:
    """Normalised static fields and monthly climatology of the window of a frame, on a device.

    Made once for a job: nothing of it changes from block to block.

    Parameters
    ----------
    checkpoint
        Whose knowledge it is.
    fine_grid
        Of the whole field.
    frame
        What is computed; the window around it is kept.
    device
        Where it is wanted.

    Attributes
    ----------
    place_known
        Whether the model is told where it is, as of ``place_known``.
    """

    place_known: bool | None = None

    def __init__(
        self, checkpoint: Checkpoint, fine_grid: Grid, frame: Frame, device: torch.device
    ) -> None:
        self.region, self.lack = known(checkpoint, fine_grid)
        self.place_known = place_known(checkpoint, fine_grid)
        if self.place_known is False:
            self.lack = " ".join(filter(None, (self.lack, OUTSIDE.format(checkpoint.name))))
        self.device = device
        self._outputs = checkpoint.normalizer(checkpoint.outputs)
        rows, columns = frame.window
        self._coarse = _cells(rows, columns, 1)
        self._fine = _cells(rows, columns, checkpoint.factor)
        self._months: dict[int, tuple[Tensor, Tensor]] = {}
        self._lock = threading.Lock()
        north, west = (0, 0) if self.region is None else self.region.offset
        patch = checkpoint.model.patch
        self.phase = north % patch, west % patch
        """Rows and columns of the first patch that lie north and west of the field."""
        self.statics: Float[Tensor, "S hf wf"] | None = None
        if self.region is not None and checkpoint.description.statics:
            normalizer = checkpoint.normalizer(checkpoint.description.statics)
            self.statics = normalizer(self._cut(self.region.statics, self._fine))

    @property
    def has_climatology(self) -> bool:
        """Whether there is a climatology of the place."""
        return self.region is not None and self.region.fine_climatology is not None

    def climatology(
        self, months: np.ndarray
    ) -> tuple[Float[Tensor, "t U hf wf"], Float[Tensor, "t U h w"]]:
        """Return the fine and the coarse climatology of some months, 1 to 12, of the window."""
        with self._lock:
            fine, coarse = zip(*(self._month(int(month)) for month in months), strict=True)
        return torch.stack(fine), torch.stack(coarse)

    def _month(self, month: int) -> tuple[Tensor, Tensor]:
        if month not in self._months:
            assert self.region is not None
            fields = self.region.fine_climatology, self.region.coarse_climatology
            made = []
            for field, cells in zip(fields, (self._fine, self._coarse), strict=True):
                assert field is not None
                made.append(self._outputs(self._cut(field[month - 1], cells)))
            fine, coarse = made
            most = max(1, MONTHS_BYTES // (fine.nbytes + coarse.nbytes))
            while len(self._months) >= most:
                del self._months[next(iter(self._months))]
            self._months[month] = fine, coarse
        return self._months[month]

    def _cut(self, field: np.ndarray, cells: tuple[slice, np.ndarray]) -> Tensor:
        rows, columns = cells
        return torch.tensor(field[..., rows, :][..., columns], device=self.device).float()


def _cells(rows: range, columns: np.ndarray, factor: int) -> tuple[slice, np.ndarray]:
    """Return the rows and columns of the fine cells of a window."""
    fine = columns[:, None] * factor + np.arange(factor)
    return slice(rows.start * factor, rows.stop * factor), fine.reshape(-1)
