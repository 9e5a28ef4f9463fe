"""Missing cells at inference: filled for the model, and missing again in the answer."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from orbitds.data.blocks import time_blocks
from orbitds.data.gaps import fill_gaps
from orbitds.data.history import base_name
from orbitds.data.pair import stack
from orbitds.data.values import nothing_there

# Attributes of the answer: the policy, and of each variable the fine cells without a value.
POLICY, COUNT = "orbitds_missing", "orbitds_masked_cells"


def filled(fields: Float[np.ndarray, "T V H W"], *, periodic: bool) -> Float[np.ndarray, "T V H W"]:
    """Return inputs whose missing cells have the value of the nearest one.

    A field without any value stays missing: the model is given its mean instead, and nothing of
    that time is kept.
    """
    return fill_gaps(fields, periodic=periodic) if np.isnan(fields).any() else fields


def missing_cells(
    gaps: Bool[np.ndarray, "T V H W"],
    inputs: Sequence[str],
    outputs: Sequence[str],
    empty: Bool[np.ndarray, " T"] | None = None,
) -> Bool[np.ndarray, "T U H W"]:
    """Return the coarse cells over which each output has no value.

    They are the missing cells of the same variable among the inputs; of an output that is no input,
    those of the inputs that are outputs, or of any input if none is. A time at which an input has
    no value at all has no output.

    Parameters
    ----------
    gaps
        Where the inputs have no value.
    empty
        The times at which an input has no value in the whole field, where this is a part of it.
    """
    shared = [place for place, name in enumerate(inputs) if name in outputs]
    others = np.any(gaps[:, shared] if shared else gaps, axis=1)
    own = [gaps[:, inputs.index(name)] if name in inputs else others for name in outputs]
    without = np.any(np.all(gaps, axis=(2, 3)), axis=1) if empty is None else empty
    return np.stack(own, axis=1) | without[:, None, None, None]


def on_fine_cells(coarse: Bool[np.ndarray, "*B H W"], factor: int) -> Bool[np.ndarray, "*B Hf Wf"]:
    """Give each fine cell what its coarse cell has."""
    return coarse.repeat(factor, axis=-2).repeat(factor, axis=-1)


def count_masked(
    coarse: xr.Dataset, inputs: Sequence[str], outputs: Sequence[str], factor: int
) -> tuple[dict[str, int], list[int]]:
    """Return how many fine cells of each output are missing, and the times without an answer.

    The fields are read in blocks of time.

    Raises
    ------
    ValueError
        If an input has no value at any time.
    """
    counts, gaps = np.zeros(len(outputs), dtype=np.int64), np.zeros(len(inputs), dtype=np.int64)
    empty, first = [], 0
    for (block,) in time_blocks(coarse):
        missing = np.isnan(stack(block, inputs).transpose("time", ...).values)
        counts += missing_cells(missing, inputs, outputs).sum(axis=(0, 2, 3))
        gaps += missing.sum(axis=(0, 2, 3))
        without = np.flatnonzero(np.any(np.all(missing, axis=(2, 3)), axis=1))
        empty += [first + int(place) for place in without]
        first += len(missing)
    check_some_values(dict(zip(inputs, map(int, gaps), strict=True)), coarse[inputs[0]].size)
    told = {name: int(count) * factor**2 for name, count in zip(outputs, counts, strict=True)}
    return told, empty


def check_some_values(missing: Mapping[str, int], cells: int) -> None:
    """Refuse inputs that have no value at all, now or earlier: nothing would be in the answer.

    Parameters
    ----------
    missing
        Missing cells of each input, those of earlier times too.
    cells
        Cells of an input at all times.

    Raises
    ------
    ValueError
        With the first such variable.
    """
    for name in dict.fromkeys(map(base_name, missing)):
        counts = [count for other, count in missing.items() if base_name(other) == name]
        if problem := nothing_there(name, min(counts), cells):
            raise ValueError(problem)


def told(fine: xr.Dataset, counts: Mapping[str, int] | None = None) -> xr.Dataset:
    """Return the answer with its missing cells counted in the attributes of its variables.

    Parameters
    ----------
    counts
        By variable, where they are known; by default those of the values, which are read.
    """
    return fine.assign(
        {
            name: field.assign_attrs(
                {COUNT: int(field.isnull().sum()) if counts is None else counts[str(name)]}
            )
            for name, field in fine.data_vars.items()
        }
    )
