"""Cells without a value: filled for the model's eyes, so that they never spread."""

import numpy as np
from jaxtyping import Float
from scipy.ndimage import distance_transform_edt


def fill_gaps(
    fields: Float[np.ndarray, "*B H W"], *, periodic: bool = False
) -> Float[np.ndarray, "*B H W"]:
    """Return fields whose missing cells have the value of the nearest one that has one.

    Interpolation and convolutions would carry a NaN to all they reach; a filled coast goes on into
    the sea instead. What is computed there is to be masked again. Fields without any value stay
    missing. Distances are counted in cells.

    Parameters
    ----------
    periodic
        Whether the last column is a neighbour of the first.
    """
    filled = fields.copy()
    flat = filled.reshape(-1, *fields.shape[-2:])
    masks = np.isnan(flat)
    nearest, before = None, None
    for field, mask in zip(flat, masks, strict=True):
        if not mask.any() or mask.all():
            continue
        if before is None or (mask != before).any():  # coasts stay where they are
            nearest, before = _nearest(mask, periodic=periodic), mask
        field[...] = field[nearest]
    return filled


def _nearest(mask: np.ndarray, *, periodic: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column of the nearest cell with a value, for each cell."""
    width = mask.shape[1]
    half = width // 2 + 1 if periodic else 0
    wide = np.pad(mask, ((0, 0), (half, half)), mode="wrap") if periodic else mask
    rows, columns = distance_transform_edt(wide, return_distances=False, return_indices=True)
    own = slice(half, half + width)
    return rows[:, own], (columns[:, own] - half) % width
