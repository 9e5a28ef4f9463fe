"""The simple methods that a model must beat, on the same data as the model."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from orbitds.interpolate import delta_change, interpolate
from orbitds.region import Region
from orbitds.variables import variable

INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
LAPSE, DELTA, QUANTILES = "lapse rate", "delta change", "quantile mapping"
# What a prediction may not be called.
METHODS = (*INTERPOLATIONS, LAPSE, DELTA, QUANTILES)
# Of the standard atmosphere (ISO 2533:1975), in kelvin for each metre up.
LAPSE_RATE = -0.0065


def baselines(
    coarse: Float[Tensor, "T H W"],
    factor: int,
    *,
    periodic: bool,
    climatology: tuple[Tensor, Tensor] | None = None,
    is_ratio: bool = False,
    relief: Float[Tensor, "Hf Wf"] | None = None,
    lapse_rate: float = LAPSE_RATE,
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
    relief
        Height of the fine cells above the interpolated relief, in metres, of a temperature near the
        surface; with it, bilinear interpolation corrected by the lapse rate is among the methods.
    lapse_rate
        In kelvin for each metre up.
    """
    fields = {
        method: interpolate(coarse, factor, method, periodic=periodic) for method in INTERPOLATIONS
    }
    # the bicubic kernel undershoots below zero; delta_change sees to its own arguments
    lowest = 0.0 if is_ratio else -torch.inf
    fields["bicubic"] = fields["bicubic"].clamp(min=lowest)
    if relief is not None:
        fields[LAPSE] = fields["bilinear"] + lapse_rate * relief
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


def relief_of(
    orography: Float[Tensor, "Hf Wf"],
    area: Float[Tensor, "Hf Wf"],
    factor: int,
    *,
    periodic: bool,
) -> Float[Tensor, "Hf Wf"]:
    """Return how far fine cells lie above the interpolated means of their coarse cells, in metres.

    What bilinear interpolation of a temperature misses is that of the relief.
    """
    rows, columns = (size // factor for size in orography.shape)
    total, weight = (
        field.reshape(rows, factor, columns, factor).sum(dim=(1, 3))
        for field in (area * orography, area)
    )
    return orography - interpolate(total / weight, factor, "bilinear", periodic=periodic)


def fitted_lapse_rate(
    climatology: tuple[Float[Tensor, "T Hf Wf"], Float[Tensor, "T H W"]],
    relief: Float[Tensor, "Hf Wf"],
    area: Float[Tensor, "Hf Wf"],
    *,
    periodic: bool,
) -> float:
    """Return the lapse rate with which bilinear interpolation errs least, in kelvin a metre.

    Least squares over the cells and months of a fine and a coarse climatology, weighted by area;
    that of the standard atmosphere where the relief is flat.
    """
    fine, coarse = climatology
    factor = fine.shape[-1] // coarse.shape[-1]
    missed = fine - interpolate(coarse, factor, "bilinear", periodic=periodic)
    weight = area * ~missed.isnan()
    squares = float((weight * relief.square()).double().sum())
    if squares < float(weight.double().sum()):  # less than a metre on average
        return LAPSE_RATE
    return float((weight * relief * missed.nan_to_num(nan=0.0)).double().sum()) / squares


def follows_relief(name: str) -> bool:
    """Whether a variable is a temperature of the air near the surface, by its row."""
    row = variable(name)
    return row.standard_name == "air_temperature" and row.level_hpa is None


def scales_by_ratio(name: str) -> bool:
    """Whether delta change of a variable is a ratio: where its row normalises by a logarithm."""
    return variable(name).transform == "log1p"
