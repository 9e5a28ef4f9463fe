"""Downscaling of a single variable: an array in, an array out."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

import xarray as xr

from orbitds.checkpoint import Checkpoint, load_checkpoint
from orbitds.data.find import find_variable
from orbitds.data.history import base_name
from orbitds.infer.choice import part_for
from orbitds.infer.lazy import downscale
from orbitds.variables import variable


def downscale_variable(
    da: xr.DataArray,
    checkpoint: str | PathLike[str] | Checkpoint,
    *,
    factor: int | None = None,
    variables: Sequence[str] | None = None,
    **options: Any,  # noqa: ANN401  the downscaler's
) -> xr.DataArray:
    """Return an array on the checkpoint's finer grid; see ``da.orbit.downscale``."""
    if da.name is None:
        raise ValueError(
            "Wanted an array with the name of a variable, got one without. "
            "Name it, as in da.rename('2m_temperature')."
        )
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = load_checkpoint(str(checkpoint))
    ds = da.to_dataset()
    checkpoint = part_for(checkpoint, ds, factor)
    _check_alone(ds, checkpoint)
    chosen = _chosen(da, checkpoint, variables)
    fine = downscale(ds, checkpoint, variables=(chosen,), **options)
    told = {key: value for key, value in fine.attrs.items() if str(key).startswith("orbitds_")}
    return _without_bounds(fine[chosen].assign_attrs(told))


def _without_bounds(field: xr.DataArray) -> xr.DataArray:
    """Return an array whose axes do not promise bounds, which only a dataset can hold."""
    field = field.copy(deep=False)
    for axis in field.coords.values():
        if axis.attrs.get("bounds") not in field.coords:
            axis.attrs.pop("bounds", None)
    return field


def _check_alone(ds: xr.Dataset, checkpoint: Checkpoint) -> None:
    """Refuse an array that is not all that a checkpoint takes."""
    wanted = tuple(dict.fromkeys(map(base_name, checkpoint.inputs)))
    try:
        for name in wanted:
            find_variable(ds, name)
    except ValueError as error:
        if len(wanted) == 1:
            raise
        raise ValueError(
            f"Wanted {', '.join(wanted)}, which checkpoint {checkpoint.name!r} takes, got the "
            f"single array {next(iter(ds))!r}. Call it on a dataset with all of them: "
            "ds.orbit.downscale(...)."
        ) from error


def _chosen(da: xr.DataArray, checkpoint: Checkpoint, variables: Sequence[str] | None) -> str:
    """Return the one output that becomes the answer."""
    if isinstance(variables, str):
        return variables
    if variables is not None:
        if len(variables) != 1:
            raise ValueError(
                f"Wanted one variable for an array, got {list(variables)}. Name one, or call it "
                "on a dataset: da.to_dataset().orbit.downscale(...)."
            )
        return variables[0]
    try:
        own = variable(str(da.name)).name
    except KeyError:  # a name of a quantity on levels
        own = None
    if own not in checkpoint.outputs:
        raise ValueError(
            f"Wanted a checkpoint that gives {da.name!r}, got {checkpoint.name!r}, which gives "
            f"{list(checkpoint.outputs)}. Choose one of these with variables=[...], or another "
            "checkpoint."
        )
    return own
