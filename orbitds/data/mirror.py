"""Mirror images of samples: what points east then points west, what points north then south."""

from collections.abc import Sequence

import torch
from torch import Tensor

from orbitds.data.batch import Sample
from orbitds.data.history import base_name
from orbitds.normalize import Normalizer
from orbitds.variables import variable

# The direction of a component that changes its sign, and the axis of the fields, for each mirror.
AXES = {"longitude": ("eastward", -1), "latitude": ("northward", -2)}


def mirror(sample: Sample, axes: Sequence[str], inputs: Normalizer, outputs: Normalizer) -> Sample:
    """Return a batch mirrored along ``longitude``, ``latitude`` or both.

    Every field is reversed, statics and coordinates too, so that each cell keeps its own place and
    rows or columns run the other way. Components of vectors along the axis change their sign in
    physical units; the CF names of the variables tell which those are.

    Parameters
    ----------
    inputs, outputs
        How the variables were normalised.
    """
    for axis in axes:
        direction, dim = AXES[axis]
        turned = Sample(*(part.flip(dim) if part.ndim == 4 else part for part in sample))
        along_rows = dim == -2
        sample = turned._replace(
            coarse=_turn(turned.coarse, inputs, direction),
            fine=_turn(turned.fine, outputs, direction),
            fine_climatology=_turn(turned.fine_climatology, outputs, direction),
            coarse_climatology=_turn(turned.coarse_climatology, outputs, direction),
            latitude_deg=sample.latitude_deg.flip(-1) if along_rows else sample.latitude_deg,
            longitude_deg=sample.longitude_deg if along_rows else sample.longitude_deg.flip(-1),
        )
    return sample


def _turn(fields: Tensor, normalizer: Normalizer, direction: str) -> Tensor:
    """Return normalised fields whose components in a direction have the other sign."""
    if fields.ndim < 4:  # no climatology
        return fields
    along = [variable(base_name(name)).component == direction for name in normalizer.names]
    if not any(along):
        return fields
    # (-x - mean) / std of what is (x - mean) / std
    mean = (2 * normalizer.mean / normalizer.std).float().to(fields.device)
    return torch.where(
        torch.tensor(along, device=fields.device)[:, None, None], -fields - mean, fields
    )
