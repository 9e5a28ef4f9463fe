"""What a step costs on many GPUs: computing as measured on one, communication as counted."""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

from scaling.network import Network, seconds

from orbitds.train.traffic import Talk

# Of the computing of a step; the backward pass has twice the products of the forward pass.
SHARES = {"forward": 1 / 3, "backward": 2 / 3}


class Losses(NamedTuple):
    """What is not told by counts, and so is taken from steps measured on two GPUs."""

    contention: float
    """By how much computing is longer, of the time of what is said beside it."""
    several: float
    """By how much a step on two GPUs is longer beside all that, of its computing."""


class Cost(NamedTuple):
    """Seconds of a step."""

    compute: float
    waits: float
    """Communication that computing waits for, always."""
    exposed: float
    """Of what is said beside computing, what lasts longer, or has nothing beside it."""
    contention: float
    several: float

    @property
    def step(self) -> float:
        """All of it."""
        return sum(self)


def stride_of(group: str, sizes: Mapping[str, int]) -> int:
    """Return how far members of a group are apart, by the order of the mesh's axes."""
    within = {
        "tensor": (),
        "channel": ("tensor",),
        "sequence": ("channel", "tensor"),
        "parts": ("tensor",),
        "sums": ("tensor",),
        "copies": ("shard", "sequence", "channel", "tensor"),
    }[group]
    return math.prod(sizes[axis] for axis in within)


def latest(processes: int) -> float:
    """Return by how many standard deviations the latest of so many is late, on average.

    References
    ----------
    Blom (1958), Statistical estimates and transformed beta-variables.
    """
    return NormalDist().inv_cdf((processes - 0.375) / (processes + 0.25))


def cost(
    compute_s: float,
    talks: Sequence[Talk],
    sizes: Mapping[str, int],
    network: Network,
    losses: Losses,
    *,
    grows: bool,
) -> Cost:
    """Predict a step.

    Parameters
    ----------
    compute_s
        Of the same share of the work, where there is nobody to talk to.
    talks
        What is said in the step.
    sizes
        Processes along each axis of the mesh.
    grows
        Whether ``losses.several`` grows with the number of processes, as the delay of the latest
        one does, whose times are normal; or is that of two.
    """
    waits, total, longest = 0.0, dict.fromkeys(SHARES, 0.0), dict.fromkeys(SHARES, 0.0)
    for talk in talks:
        one = seconds(
            network,
            talk.operation,
            talk.bytes,
            processes=talk.processes,
            stride=stride_of(talk.group, sizes),
        )
        if talk.beside == "nothing":
            waits += one * talk.calls
        else:
            total[talk.beside] += one * talk.calls
            longest[talk.beside] = max(longest[talk.beside], one)
    # what is gathered first, and added last, has no computing beside it
    exposed = sum(
        max(total[way] - share * compute_s, longest[way]) for way, share in SHARES.items()
    )
    processes = math.prod(sizes.values())
    more = latest(processes) / latest(2) if grows and processes > 1 else float(processes > 1)
    return Cost(
        compute_s,
        waits,
        exposed,
        losses.contention * (sum(total.values()) - exposed),
        losses.several * more * compute_s,
    )


def fit_losses(points: Sequence[tuple[float, Cost]], several: float | None = None) -> Losses:
    """Fit the losses to measured steps, relative errors least squares, none below zero.

    Parameters
    ----------
    points
        Measured seconds on two GPUs, and the prediction with both losses at 1.
    several
        That loss, where it was measured by itself.

    Raises
    ------
    ValueError
        If there is no point.
    """
    if not points:
        raise ValueError("Wanted steps measured on two GPUs, got none. Measure some.")
    # left over = contention * a + several * b, each divided by the measured time
    rows = [
        (one.contention / s, one.several / s, (s - one.compute - one.waits - one.exposed) / s)
        for s, one in points
    ]
    aa, bb, ab = (sum(r[i] * r[j] for r in rows) for i, j in ((0, 0), (1, 1), (0, 1)))
    ac, bc = (sum(r[i] * r[2] for r in rows) for i in (0, 1))
    if several is not None:
        return Losses(max((ac - several * ab) / aa, 0.0) if aa else 0.0, several)
    determinant = aa * bb - ab * ab
    if determinant > 1e-12 * aa * bb:
        contention, several = (
            (ac * bb - bc * ab) / determinant,
            (bc * aa - ac * ab) / determinant,
        )
        if contention >= 0 and several >= 0:
            return Losses(contention, several)
    # the better of either alone
    alone = [
        Losses(max(ac / aa, 0.0) if aa else 0.0, 0.0),
        Losses(0.0, max(bc / bb, 0.0) if bb else 0.0),
    ]
    return min(
        alone,
        key=lambda two: sum((c - two.contention * a - two.several * b) ** 2 for a, b, c in rows),
    )
