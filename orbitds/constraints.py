"""Physical constraints on fine fields: bounds, order among variables, means of coarse cells."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter

import torch
from einops import reduce, repeat
from jaxtyping import Float, Shaped
from torch import Tensor

from orbitds.config import Constraint
from orbitds.interpolate import interpolate
from orbitds.variables import Variable, variable

Bound = float | Tensor | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Blocks:
    """The blocks of fine cells that fill the coarse cells.

    Parameters
    ----------
    area
        Area of each fine cell, in any unit.
    factor
        Fine cells along the edge of a coarse cell.
    periodic
        Whether the last column is a neighbour of the first.
    """

    area: Float[Tensor, "Hf Wf"]
    factor: int
    periodic: bool

    def mean(self, fine: Float[Tensor, "T Hf Wf"]) -> Float[Tensor, "T H W"]:
        """Return area-weighted means over the cells that are not NaN; NaN where there are none."""
        weight = self.area.double() * ~fine.isnan()
        return self._sum(fine.nan_to_num(nan=0.0) * weight) / self._sum(weight)

    def spread(self, coarse: Shaped[Tensor, "T H W"]) -> Shaped[Tensor, "T Hf Wf"]:
        """Give each fine cell the value of its block."""
        return repeat(coarse, "t h w -> t (h a) (w b)", a=self.factor, b=self.factor)

    def _sum(self, fine: Tensor) -> Tensor:
        return reduce(fine, "t (h a) (w b) -> t h w", "sum", a=self.factor, b=self.factor)


def constrain(
    fields: Mapping[str, Float[Tensor, "T Hf Wf"]],
    coarse: Mapping[str, Float[Tensor, "T H W"]],
    blocks: Blocks,
    constraints: Collection[Constraint],
) -> dict[str, Float[Tensor, "T Hf Wf"]]:
    """Return fields that keep the bounds of their variables and the constraints asked for.

    Parameters
    ----------
    fields
        Fine fields by variable, in the units of the vocabulary. NaN cells are invalid and stay so.
    coarse
        Coarse fields that the block means shall equal; ``conserve`` wants one for each field.
    constraints
        ``order``: a variable stays on its side of the one that its row names (``at_most``,
        ``at_least``). ``conserve``: the area-weighted mean of a block is the coarse value.

    Notes
    -----
    A variable that others are ordered by comes first; it carries the others along, and is a bound
    that differs from cell to cell for them. So, with both constraints, the mean temperature is
    shifted block by block, and the predicted gaps below and above it, non-negative fields, are
    scaled to those of the coarse values. Where the mean temperature is not among the fields, the
    middle between minimum and maximum stands in for it.

    Work is done in float64, so that only the rounding to the dtype of a field remains.
    """
    fine = {name: field.double() for name, field in fields.items()}
    wanted = {name: coarse[name].double() for name in fields if "conserve" in constraints}
    ordered = "order" in constraints
    if ordered:
        fine, wanted = _with_middles(fine), _with_middles(wanted)
    done: dict[str, Tensor] = {}
    for name in _references_first(fine):
        field, row = fine[name], variable(name)
        low, high = _bounds(row, done if ordered else {})
        if name in wanted:
            field = _carried(field, row, fine, done) if ordered else field
            done[name] = conserve(field, wanted[name], blocks, minimum=low, maximum=high)
        else:
            done[name] = _clamp(field, _limit(low, field), _limit(high, field))
    return {name: bounded(done[name].to(field.dtype), name) for name, field in fields.items()}


def bounded(field: Float[Tensor, "*B Hf Wf"], name: str) -> Float[Tensor, "*B Hf Wf"]:
    """Keep a physical field within the bounds of its variable."""
    row = variable(name)
    if row.minimum is None and row.maximum is None:
        return field
    return field.clamp(min=row.minimum, max=row.maximum)


def conserve(
    field: Float[Tensor, "T Hf Wf"],
    coarse: Float[Tensor, "T H W"],
    blocks: Blocks,
    *,
    minimum: Bound = None,
    maximum: Bound = None,
) -> Float[Tensor, "T Hf Wf"]:
    """Make the area-weighted mean of each block of fine cells equal the coarse value.

    Without bounds a block is shifted. With one bound, the distances to it are scaled; where all of
    them are zero and the coarse value is not at the bound, they take the shape of the interpolated
    coarse distance, or, where that is zero too, all the same. With both bounds, the distances to
    the bound towards which the mean must move are scaled, which cannot break the other.

    Parameters
    ----------
    field
        NaN cells are invalid: they stay NaN and count for nothing.
    coarse
        A block is only kept within its bounds where this is NaN. A value beyond the bounds is taken
        as the bound's mean: a negative gap between coarse minimum and mean temperature is none.
    minimum, maximum
        One value, or a field [T, Hf, Wf] that differs from cell to cell; NaN in it is no bound.

    Returns
    -------
    Tensor
        In the dtype of ``field``; the mean is exact to its rounding.
    """
    fine = field.double()
    low, high = _limit(minimum, fine), _limit(maximum, fine)
    fine = _clamp(fine, low, high)
    target = _clamp(
        coarse.double(),
        None if low is None else blocks.mean(low),
        None if high is None else blocks.mean(high),
    )
    mean = blocks.mean(fine)
    if low is not None and high is not None:
        down = _scale_above(fine, low, target, blocks)
        up = -_scale_above(-fine, -high, -target, blocks)
        moved = torch.where(blocks.spread(target <= mean), down, up)
    elif low is not None:
        moved = _scale_above(fine, low, target, blocks)
    elif high is not None:
        moved = -_scale_above(-fine, -high, -target, blocks)
    else:
        moved = fine + blocks.spread(target - mean)
    moved = torch.where(blocks.spread(target.isnan()), fine, _clamp(moved, low, high))
    return moved.to(field.dtype)


def _scale_above(fine: Tensor, low: Tensor, target: Tensor, blocks: Blocks) -> Tensor:
    """Scale the distances above a lower bound so that block means become the target."""
    gap, wanted = fine - low, target - blocks.mean(low)
    ratio = wanted / blocks.mean(gap)
    # infinite where the mean is zero, or so small beside what is wanted that it overflows
    is_empty = ratio.isinf() & (wanted > 0)
    if is_empty.any():
        gap = torch.where(blocks.spread(is_empty), _shape(wanted, gap, blocks), gap)
        ratio = wanted / blocks.mean(gap)
    # 0 / 0 where all is at the bound already and shall be
    return low + gap * blocks.spread(torch.where(wanted > 0, ratio, 0.0))


def _shape(wanted: Tensor, gap: Tensor, blocks: Blocks) -> Tensor:
    """Return how to share out a coarse amount among the valid cells of blocks that have none."""
    # an amount that is not known is none; the kernel undershoots below zero
    smooth = interpolate(
        wanted.nan_to_num(nan=0.0), blocks.factor, "bicubic", periodic=blocks.periodic
    ).clamp(min=0)
    is_flat = blocks.spread(blocks.mean(smooth.where(~gap.isnan(), gap)) <= 0)
    return smooth.where(~is_flat, 1.0).where(~gap.isnan(), gap)


def _limit(bound: Bound, fine: Tensor) -> Tensor | None:
    """Return a bound as a field with the same valid cells; NaN in it bounds nothing."""
    if bound is None:
        return None
    field = torch.as_tensor(bound, dtype=torch.float64, device=fine.device).expand_as(fine)
    return torch.where(field.isnan() | fine.isnan(), fine, field)


def _clamp(field: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
    if low is not None:
        field = torch.maximum(field, low)
    return field if high is None else torch.minimum(field, high)


def _carried(
    field: Tensor, row: Variable, before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> Tensor:
    """Move a field with the one it is ordered by, so that the gap between them is as predicted."""
    name = next((name for name in row.references if name in after), None)
    if name is None:
        return field
    # in this order a gap of zero stays exactly that: its rounding would be scaled up
    moved = after[name] - (before[name] - field)
    return torch.where(before[name].isnan(), field, moved)


def _bounds(row: Variable, done: Mapping[str, Tensor]) -> tuple[Bound, Bound]:
    """Return the bounds of a variable: its own, and the variables that it is ordered by."""
    low, high = row.minimum, row.maximum
    below, above = done.get(row.at_least or ""), done.get(row.at_most or "")
    return (
        low if below is None else below if low is None else below.clamp(min=low),
        high if above is None else above if high is None else above.clamp(max=high),
    )


def _with_middles(fields: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add the middle between the variables on both sides of one that is not among the fields."""
    rows = [variable(name) for name in fields]
    middles = {}
    for name in {row.at_most for row in rows} - {None, *fields}:
        below = [fields[row.name] for row in rows if row.at_most == name]
        above = [fields[row.name] for row in rows if row.at_least == name]
        if above:
            lower, upper = torch.stack(below).amax(dim=0), torch.stack(above).amin(dim=0)
            middles[name] = (lower + upper) / 2
    return {**fields, **middles}


def _references_first(fields: Collection[str]) -> list[str]:
    graph = {
        name: [other for other in variable(name).references if other in fields] for name in fields
    }
    return list(TopologicalSorter(graph).static_order())
