"""Which part of a checkpoint of several sets a dataset is for: factor, inputs, outputs."""

import math

import numpy as np
import xarray as xr

from orbitds.checkpoint import Checkpoint
from orbitds.data.axes import require_axis
from orbitds.data.find import recognised
from orbitds.data.history import base_name
from orbitds.data.statics import SHIPPED
from orbitds.grid import KM_PER_DEGREE
from orbitds.sets import Choice, TrainingSet


def part_for(checkpoint: Checkpoint, ds: xr.Dataset, factor: int | None = None) -> Checkpoint:
    """Return what of a checkpoint is used for a dataset; the whole of one of a single set.

    Of the sets that have an output which the dataset allows, the one is taken whose coarse spacing
    is nearest to the dataset's, in logarithms; with its factor come the outputs and inputs of all
    sets of that factor, as far as the dataset has them.

    Parameters
    ----------
    ds
        The caller's.
    factor
        The one that is wanted, instead of the nearest set's.

    Raises
    ------
    ValueError
        If the checkpoint has no such factor, or the dataset has nothing that it downscales.
    """
    check_factor(checkpoint, factor)
    if not checkpoint.description.sets:
        return checkpoint
    here = [name for name in checkpoint.inputs if base_name(name) in recognised(ds)]
    latitude = np.asarray(ds[require_axis(ds, "latitude")].values, dtype=float)
    spacing_km = float(np.ptp(latitude)) / max(latitude.size - 1, 1) * KM_PER_DEGREE
    return checkpoint.of(choose(checkpoint, here, spacing_km, factor))


def whole_at(checkpoint: Checkpoint, factor: int | None) -> Checkpoint:
    """Return all of a checkpoint that there is for a factor, whatever the data.

    Raises
    ------
    ValueError
        If the checkpoint has no such factor, or several of which none is named.
    """
    check_factor(checkpoint, factor)
    description = checkpoint.description
    if not description.sets:
        return checkpoint
    if factor is None and len(description.factors) > 1:
        raise ValueError(
            f"Wanted one of the factors of checkpoint {checkpoint.name!r}, "
            f"{' or '.join(map(str, description.factors))}, got none. Give factor."
        )
    chosen = description.factor if factor is None else factor
    first = next(one for one in description.sets if one.factor == chosen)
    return checkpoint.of(choose(checkpoint, list(checkpoint.inputs), first.spacing_km[0], chosen))


def check_factor(checkpoint: Checkpoint, factor: int | None) -> None:
    """Refuse a factor that a checkpoint has no head for."""
    factors = checkpoint.description.factors
    if factor is not None and factor not in factors:
        raise ValueError(
            f"Wanted a factor of checkpoint {checkpoint.name!r}, "
            f"{' or '.join(map(str, factors))}, got {factor}. Take one of these, or leave it out."
        )


def choose(
    checkpoint: Checkpoint, here: list[str], spacing_km: float, factor: int | None
) -> Choice:
    """Return what is used for data with some inputs at some spacing; see ``part_for``."""
    description = checkpoint.description
    sets = [one for one in description.sets if factor in (None, one.factor)]
    usable = [one for one in sets if _outputs(one, here, description.inputs)]
    if not usable:
        wanted = list(dict.fromkeys(name for one in sets for name in one.outputs))
        raise ValueError(
            f"Wanted a dataset with some of {wanted}, which checkpoint {checkpoint.name!r} "
            f"downscales, got of its inputs {here or 'none'}. Rename the variables, or choose "
            "another checkpoint."
        )
    nearest = min(usable, key=lambda one: _distance(one, spacing_km))
    alike = [one for one in usable if one.factor == nearest.factor]
    given = {name for one in alike for name in _outputs(one, here, description.inputs)}
    known = {name for one in alike for name in one.inputs}
    statics = {name for one in alike for name in one.statics if name in SHIPPED}
    of_factor = {name for one in sets if one.factor == nearest.factor for name in one.outputs}
    without = [name for name in description.outputs if name in of_factor - given]
    told = (
        f"factor {nearest.factor} of {', '.join(map(str, description.factors))}, "
        f"{'asked for' if factor is not None else 'as of the nearest training data'}: "
        f"{nearest.pair} at {nearest.spacing_km[0]:.4g} km, the input at {spacing_km:.4g} km"
    )
    if without:
        told += f"; the input has no {', '.join(without)} to be downscaled"
    return Choice(
        factor=nearest.factor,
        inputs=tuple(name for name in here if name in known),
        outputs=tuple(name for name in description.outputs if name in given),
        statics=tuple(name for name in description.statics if name in statics),
        spacing_km=nearest.spacing_km,
        same_product=all(one.same_product for one in alike),
        told=told,
        boxes_deg=tuple(one.box_deg for one in alike if set(one.outputs) & given),
    )


def _outputs(one: TrainingSet, here: list[str], inputs: tuple[str, ...]) -> list[str]:
    """Return the outputs of a set that data allow: what is an input too has to be there."""
    if not set(one.inputs) & set(here):
        return []
    return [name for name in one.outputs if name in here or name not in inputs]


def _distance(one: TrainingSet, spacing_km: float) -> float:
    return abs(math.log(one.spacing_km[0] / spacing_km)) if spacing_km > 0 else 0.0
