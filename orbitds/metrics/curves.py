"""From sums to curves and maps: spectra, quantiles, ranks, time series, errors of each cell."""

import numpy as np
import torch
from jaxtyping import Float

from orbitds.metrics import tails
from orbitds.metrics.scores import Scores


def spectra(scores: Scores) -> Float[np.ndarray, "M_1 K"]:
    """Return the mean power spectrum of the truth, then of each method, in the unit squared."""
    total = torch.stack(list(scores.of("spectrum").values())).sum(dim=0).numpy()
    with np.errstate(invalid="ignore"):
        return total[:, :-1] / total[:, -1:]


def quantiles(scores: Scores, probabilities: Float[np.ndarray, "P"]) -> Float[np.ndarray, "M_1 P"]:
    """Return the quantiles of the truth, then of each method, over all cells and times."""
    kept = torch.stack(list(scores.of("tails").values())).sum(dim=0)
    rows = (scores.frame.cells.members[:1] @ kept)[: 1 + len(scores.methods), 0].numpy()
    return tails.quantile(rows, scores.traits.bins.edges, probabilities)


def ranks(scores: Scores) -> Float[np.ndarray, "N"] | None:
    """Return the share of each rank of the truth among the members; None without members."""
    if not scores.members:
        return None
    weight = scores.sums["ranks", ""].numpy()
    return weight / weight.sum()


def series(scores: Scores, most: int) -> tuple[list[str], Float[np.ndarray, "M_1 T"]]:
    """Return times and the area means of the truth, then of each method.

    Where there are more times than ``most``, they are means of so many neighbouring times, under
    the label of the first.
    """
    kept = scores.of("steps")
    labels, rows = list(kept), torch.stack(list(kept.values())).numpy()
    together = -(-len(labels) // most)
    rows = np.add.reduceat(rows, np.arange(0, len(rows), together), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (rows[:, 1:] / rows[:, :1]).T
    means[1:] += means[0]  # sums of methods are those of errors
    return labels[::together], means + scores.traits.offset


def maps(scores: Scores) -> tuple[Float[np.ndarray, "M H W"], Float[np.ndarray, "M H W"]]:
    """Return bias and RMSE of each method in each cell; NaN where there is no truth."""
    count = torch.stack(list(scores.of("cells").values()))[:, 0].sum(dim=0)
    means = scores.sums["maps", ""] / torch.where(count > 0, count, torch.nan)
    bias, square = means.unflatten(-1, scores.frame.shape).unbind(dim=1)
    return bias.numpy(), square.sqrt().numpy()
