"""Output constraints of a job: which ones its checkpoint allows, and holding its fields to them."""

from collections.abc import Sequence
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from orbitds.checkpoint import Checkpoint
from orbitds.config import Constraint
from orbitds.constraints import Blocks, bounded, constrain
from orbitds.interpolate import REACH_CELLS
from orbitds.resources import did_you_mean

# Fine cells worked on at once: sums in float64 take some ten fields of 16 MiB.
BATCH_FINE_CELLS = 2**21


def check_constraints(
    names: Sequence[str], checkpoint: Checkpoint, variables: Sequence[str]
) -> tuple[Constraint, ...]:
    """Return constraints that the outputs of a checkpoint can be held to.

    Raises
    ------
    ValueError
        If a name is unknown, or block means cannot be held to the input: an output that is no
        input, or an input of another product than the target.
    """
    known = get_args(Constraint)
    names = (names,) if isinstance(names, str) else tuple(names)
    for name in names:
        if name not in known:
            raise ValueError(
                f"Wanted constraints among {list(known)}, got {name!r}."
                + (did_you_mean(name, known) or " Leave it out, or choose one of these.")
            )
    if "conserve" in names:
        _check_conserve(checkpoint, variables)
    return tuple(name for name in known if name in names)


def _check_conserve(checkpoint: Checkpoint, variables: Sequence[str]) -> None:
    strange = [name for name in variables if name not in checkpoint.inputs]
    if strange:
        kept = [name for name in variables if name in checkpoint.inputs]
        raise ValueError(
            "Wanted outputs with a coarse input of the same variable for the constraint "
            f"'conserve', got {strange} of checkpoint {checkpoint.name!r}, whose inputs are "
            f"{list(checkpoint.inputs)}. "
            + (f"Choose variables={kept}, or leave" if kept else "Leave")
            + " the constraint out."
        )
    if not checkpoint.description.same_product:
        raise ValueError(
            "Wanted a checkpoint whose coarse inputs are block means of the product it gives, for "
            f"the constraint 'conserve', got {checkpoint.name!r}, trained on coarse inputs of "
            "another product: they differ in the mean, and the answer would be held to the wrong "
            "one. Leave the constraint out; if the product is the same after all, say "
            "`same_product: true` in the pair and train again."
        )


def margin_of(constraints: Sequence[Constraint]) -> int:
    """Return how many coarse cells around a cell constraints look at.

    Where all of a block is at a bound, what is added takes the shape of the neighbours.
    """
    return REACH_CELLS if "conserve" in constraints else 0


def constrained(
    fine: Float[Tensor, "S U Hf Wf"],
    coarse: Float[Tensor, "S V H W"],
    blocks: Blocks,
    checkpoint: Checkpoint,
    variables: Sequence[str],
    constraints: Sequence[Constraint],
) -> dict[str, Float[Tensor, "S Hf Wf"]]:
    """Return the chosen variables, within their bounds and held to constraints.

    Parameters
    ----------
    fine
        Physical outputs.
    coarse
        Physical inputs.
    blocks
        The fine cells of the coarse ones.
    """
    outputs = dict(zip(checkpoint.outputs, fine.unbind(1), strict=True))
    if not constraints:
        return {name: bounded(outputs[name], name) for name in variables}
    inputs = dict(zip(checkpoint.inputs, coarse.unbind(1), strict=True))
    names = _needed(checkpoint, variables, constraints)
    size = max(1, BATCH_FINE_CELLS // blocks.area.numel())
    parts = [
        constrain(
            {name: outputs[name][start : start + size] for name in names},
            {name: inputs[name][start : start + size] for name in names if name in inputs},
            blocks,
            constraints,
        )
        for start in range(0, fine.shape[0], size)
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in variables}


def _needed(
    checkpoint: Checkpoint, variables: Sequence[str], constraints: Sequence[Constraint]
) -> Sequence[str]:
    """Return the outputs to work on: those chosen, and those that they may be ordered by."""
    if "order" not in constraints:
        return variables
    if "conserve" not in constraints:
        return checkpoint.outputs
    # what cannot be conserved would be a bound that the means of others cannot keep
    return [name for name in checkpoint.outputs if name in checkpoint.inputs]
