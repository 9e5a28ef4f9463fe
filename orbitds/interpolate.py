"""Interpolation between cell centres, and delta change: the simple methods Reslim starts from."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Method = Literal["nearest", "bilinear", "bicubic"]

# Cells of margin that a 4-point kernel reaches beyond a border.
REACH_CELLS = 2
# Where the climatology is almost dry a ratio means little: add 0.1 mm/day, cap at five-fold.
RATIO_OFFSET = 0.1
RATIO_CAP = 5.0


def interpolate(
    field: Float[Tensor, "*batch H W"], factor: int, method: Method, *, periodic: bool
) -> Float[Tensor, "*batch {factor}*H {factor}*W"]:
    """Interpolate cell means to the centres of ``factor x factor`` children.

    Parameters
    ----------
    field
        Values at the cell centres, rows from north to south.
    periodic
        Whether the last column is a neighbour of the first. Other borders repeat the outer cell.

    Notes
    -----
    The bicubic kernel has a = -3/4, as in PyTorch and OpenCV. It is sharper than that of Keys
    (1981), a = -1/2, and closer to the truth where the coarse values are block means.
    """
    if method == "nearest":
        return field.repeat_interleave(factor, dim=-1).repeat_interleave(factor, dim=-2)
    padded = pad(field.float() if field.dtype != torch.float64 else field, REACH_CELLS, periodic)
    flat = padded.reshape(-1, 1, *padded.shape[-2:])
    fine = F.interpolate(flat, scale_factor=factor, mode=method, align_corners=False)
    margin = REACH_CELLS * factor
    fine = fine[..., margin:-margin, margin:-margin]
    return fine.reshape(*field.shape[:-2], *fine.shape[-2:])


def pad(field: Float[Tensor, "*batch H W"], cells: int, periodic: bool) -> Tensor:  # noqa: FBT001  a value like cells
    """Add cells on all sides: longitude wraps if periodic, other borders repeat the outer cell."""
    return extend(field, (cells, cells), (cells, cells), periodic=periodic)


def extend(
    field: Float[Tensor, "*batch H W"],
    rows: tuple[int, int],
    columns: tuple[int, int],
    *,
    periodic: bool,
) -> Tensor:
    """Add rows in the north and south and columns in the west and east; see ``pad``."""
    # joined from slices: the gradient is then a sum of slices, where that of F.pad's replication
    # is a slow kernel of its own, and the memory format stays
    (north, south), (west, east) = rows, columns
    if west or east:
        lead, width = field.shape[:-1], field.shape[-1]
        if periodic:  # around a narrow circle more than once
            turns = -(-max(columns) // width)
            ring = field if turns == 1 else torch.cat([field] * turns, dim=-1)
            sides = ring[..., ring.shape[-1] - west :], ring[..., :east]
        else:
            sides = field[..., :1].expand(*lead, west), field[..., -1:].expand(*lead, east)
        field = torch.cat([sides[0], field, sides[1]], dim=-1)
    if north or south:
        lead, width = field.shape[:-2], field.shape[-1]
        above = field[..., :1, :].expand(*lead, north, width)
        below = field[..., -1:, :].expand(*lead, south, width)
        field = torch.cat([above, field, below], dim=-2)
    return field


def delta_change(
    interpolated: Float[Tensor, "*batch U Hf Wf"],
    fine_climatology: Float[Tensor, "*batch U Hf Wf"],
    interpolated_climatology: Float[Tensor, "*batch U Hf Wf"],
    is_ratio: Float[Tensor, " U"],
) -> Float[Tensor, "*batch U Hf Wf"]:
    """Add the fine structure of the climatology to an interpolated field.

    Parameters
    ----------
    interpolated
        The interpolated coarse field; like all arguments in physical units, or, for additive
        variables, in any affine image of them.
    is_ratio
        1 for variables that are scaled by the ratio of the climatologies (precipitation), 0 for
        variables that are shifted by their difference.
    """
    shifted = interpolated + (fine_climatology - interpolated_climatology)
    # the bicubic kernel undershoots: a negative amount below the ratio would turn its sign
    smooth = interpolated_climatology.clamp(min=0)
    ratio = (fine_climatology + RATIO_OFFSET) / (smooth + RATIO_OFFSET)
    scaled = interpolated.clamp(min=0) * ratio.clamp(max=RATIO_CAP)
    return torch.where(is_ratio[:, None, None] > 0, scaled, shifted)
