"""A ruler: the jumps of fine fields across the borders of coarse cells, summed on the device."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from orbitds.infer.part import Frame
from orbitds.infer.seams import Axis, Line, Seams, beside


class Ruler:
    """Measures the jumps of fine fields of a frame at the lines that its part answers for.

    A part answers for the lines at the eastern and southern rim of its cells.

    Parameters
    ----------
    frame
        What is computed; it reaches one cell beyond the part in the east and south.
    factor
        Fine cells along the edge of a coarse cell.
    device
        Where the fields are.
    """

    def __init__(self, frame: Frame, factor: int, device: torch.device) -> None:
        tiles = frame.tiles
        self.frame, self.factor, self.device = frame, factor, device
        self.cores: dict[Axis, list[int]] = {
            "rows": sorted({tile.core_rows.start for tile in tiles.tiles} - {0}),
            "columns": sorted(
                {tile.core_columns.start for tile in tiles.tiles}
                - (set() if tiles.periodic and tiles.columns > 1 else {0})
            ),
        }
        self.lengths = (tiles.height, tiles.width, tiles.periodic)
        self._lines: dict[Axis, list[tuple[int, int]]] = {
            "rows": self._owned("rows", frame.part.rows, frame.rows, wraps=False),
            "columns": self._owned(
                "columns", frame.part.columns, frame.columns, wraps=tiles.periodic
            ),
        }
        self._index = {
            axis: tuple(torch.tensor(k, device=device) for k in zip(*lines, strict=True))
            for axis, lines in self._places().items()
            if lines
        }

    def blank(self, names: Sequence[str]) -> "Sums":
        """Return sums of nothing of some variables."""
        return Sums(self, names)

    def measure(
        self, fine: Float[Tensor, "S Hf Wf"], coarse: Float[Tensor, "S H W"] | None
    ) -> dict[Axis, Float[Tensor, "L 3"]]:
        """Return the sums of one variable along each line; see ``Seams.lines``.

        Parameters
        ----------
        fine, coarse
            Physical fields of the frame; NaN counts for nothing. The coarse ones of an output that
            is no input do not exist.
        """
        rows, columns = self.frame.part_in_frame
        sums = {}
        for axis, (before, after) in self._index.items():
            dim, across = (-2, columns) if axis == "rows" else (-1, rows)
            jumps = _jumps(fine, dim, before, after, self.factor)
            jumps = _along(jumps, dim, across, self.factor)
            known = torch.zeros_like(jumps)
            if coarse is not None:
                steps = _jumps(coarse, dim, before, after, 1)
                steps = _along(steps, dim, across, 1)
                known = steps.repeat_interleave(self.factor, dim=-1 if dim == -2 else -2)
            counts = ~(jumps.isnan() | known.isnan())
            summed = (0, -1) if axis == "rows" else (0, -2)
            sums[axis] = torch.stack(
                [part.double().sum(dim=summed) for part in
                 (jumps.where(counts, 0), known.where(counts, 0), counts)], dim=-1
            )  # fmt: skip
        return sums

    def seams(self, sums: Mapping[str, Mapping[Axis, Tensor]]) -> Seams:
        """Return sums by variable as plain numbers."""
        lines: dict[str, dict[Axis, dict[int, Line]]] = {}
        for name, axes in sums.items():
            lines[name] = {
                axis: dict(zip((line for line, _ in self._lines[axis]), of.tolist(), strict=True))
                for axis, of in axes.items()
            }
        return Seams(lines, self.cores, self.lengths)

    def _owned(
        self, axis: Axis, part: range, frame: range, *, wraps: bool
    ) -> list[tuple[int, int]]:
        """Return the lines to measure, and the cell of the frame that lies behind each."""
        length = self.lengths[axis == "columns"]
        cores = self.cores[axis]
        wanted = {
            *cores,
            *(near for line in cores for near in beside(line, cores, length, wraps=wraps)),
        }
        is_circle = wraps and len(frame) == length
        found = []
        for cell in part:
            line = (cell + 1) % length if wraps else cell + 1
            behind = cell + 1 - frame.start
            behind = behind % length if is_circle else behind
            if line in wanted and behind < len(frame):
                found.append((line, behind))
        return found

    def _places(self) -> dict[Axis, list[tuple[int, int]]]:
        """Return the cells of the frame before and behind each line."""
        sizes = {"rows": self.frame.shape[0], "columns": self.frame.shape[1]}
        return {
            axis: [((behind - 1) % sizes[axis], behind) for _, behind in lines]
            for axis, lines in self._lines.items()
        }


class Sums:
    """What a ruler has measured so far, on the device: it is read back once, at the end."""

    def __init__(self, ruler: Ruler, names: Sequence[str]) -> None:
        self._ruler, self._names = ruler, tuple(names)
        self._sums: dict[str, dict[Axis, Tensor]] = {name: {} for name in names}

    def add(self, fine: Mapping[str, Tensor], coarse: Mapping[str, Tensor]) -> None:
        """Measure fine fields of the frame, beside coarse ones where there are any."""
        for name in self._names:
            for axis, sums in self._ruler.measure(fine[name], coarse.get(name)).items():
                before = self._sums[name].get(axis)
                self._sums[name][axis] = sums if before is None else before + sums

    def read(self) -> Seams:
        """Return the sums as plain numbers."""
        return self._ruler.seams(self._sums)


def _jumps(field: Tensor, dim: int, before: Tensor, after: Tensor, factor: int) -> Tensor:
    """Return the absolute differences across lines, from the cells on both sides of each."""
    one = field.index_select(dim, before * factor + factor - 1)
    return (field.index_select(dim, after * factor) - one).abs()


def _along(jumps: Tensor, dim: int, across: slice, factor: int) -> Tensor:
    """Return the jumps along the part of each line that lies in the part."""
    fine = slice(across.start * factor, across.stop * factor)
    return jumps[..., fine] if dim == -2 else jumps[..., fine, :]
