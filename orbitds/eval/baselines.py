"""The simple methods that a model must beat, on the same data as the model."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from orbitds.interpolate import delta_change, interpolate
from orbitds.region import Region
from orbitds.variables import variable

INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
DELTA = "delta change"


def baselines(
    coarse: Float[Tensor, "T H W"],
    factor: int,
    *,
    periodic: bool,
    climatology: tuple[Tensor, Tensor] | None = None,
    is_ratio: bool = False,
) -> dict[str, Float[Tensor, "T Hf Wf"]]:
    """Return the fine field by each simple method, in physical units.

    Parameters
    ----------
    coarse
        One variable in physical units.
    climatology
        Fine and coarse climatology of each time's month, [T, Hf, Wf] and [T, H, W]; with it, delta
        change (bicubic plus the fine structure of the climatology) is among the methods.
    is_ratio
        Whether the variable is an amount, such as precipitation: bicubic interpolation is kept from
        falling below zero, and delta change scales rather than shifts.
    """
    fields = {
        method: interpolate(coarse, factor, method, periodic=periodic) for method in INTERPOLATIONS
    }
    # the bicubic kernel undershoots below zero; delta_change sees to its own arguments
    lowest = 0.0 if is_ratio else -torch.inf
    fields["bicubic"] = fields["bicubic"].clamp(min=lowest)
    if climatology is not None:
        fine = climatology[0]
        smooth = interpolate(climatology[1], factor, "bicubic", periodic=periodic)
        fields[DELTA] = delta_change(
            fields["bicubic"][:, None],
            fine[:, None],
            smooth[:, None],
            torch.tensor([float(is_ratio)]),
        )[:, 0]
    return fields


def months_climatology(
    region: Region, output: int, months: np.ndarray
) -> tuple[Tensor, Tensor] | None:
    """Return the climatology of one output for each of a series of calendar months."""
    if region.fine_climatology is None or region.coarse_climatology is None:
        return None
    fine = torch.from_numpy(region.fine_climatology[months - 1, output]).float()
    coarse = torch.from_numpy(region.coarse_climatology[months - 1, output]).float()
    return None if coarse.isnan().any() else (fine, coarse)


def scales_by_ratio(name: str) -> bool:
    """Whether delta change of a variable is a ratio: where its row normalises by a logarithm."""
    return variable(name).transform == "log1p"
