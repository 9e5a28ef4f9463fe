"""Confidence intervals: blocks of time are drawn anew, and the scores taken again."""

import numpy as np
from jaxtyping import Float

DRAWS = 1000
# Both ends of a 95 % interval.
LEVELS = (0.025, 0.975)
# Fewer blocks say nothing of how blocks differ.
LEAST_BLOCKS = 6


def redraw(
    sums: Float[np.ndarray, "B *K"], *, draws: int = DRAWS, seed: int = 0
) -> Float[np.ndarray, "D *K"] | None:
    """Return the total of as many blocks as there are, drawn with replacement, for each draw.

    All sums of a block go together: a score that compares two methods is drawn in pairs.

    Returns
    -------
    None where there are too few blocks.

    References
    ----------
    Efron and Tibshirani 1993, An Introduction to the Bootstrap; blocks: Kuensch 1989.
    """
    times = times_drawn(len(sums), draws=draws, seed=seed)
    return None if times is None else np.tensordot(times, sums, axes=1)


def times_drawn(
    count: int, *, draws: int = DRAWS, seed: int = 0
) -> Float[np.ndarray, "D B"] | None:
    """Return how often each of the blocks is drawn; None where there are too few of them."""
    if count < LEAST_BLOCKS:
        return None
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), size=draws).astype(np.float64)


def interval(
    values: Float[np.ndarray, "D *R"],
) -> tuple[Float[np.ndarray, "*R"], Float[np.ndarray, "*R"]]:
    """Return the 95 % interval of each score over draws; NaN where a draw has none."""
    # what is infinite, as the PSNR of a perfect prediction, has no quantile between two of them
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(values, LEVELS, axis=0)
    return np.asarray(low), np.asarray(high)
