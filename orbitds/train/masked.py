"""Masked pre-training: parts of the coarse field are hidden, and the model reconstructs them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from orbitds.config import MaskedConfig, TrainConfig
from orbitds.data.batch import Sample
from orbitds.data.pair import Pair
from orbitds.data.sample import Samples
from orbitds.grid import block_mean
from orbitds.interpolate import extend
from orbitds.model.edges import count_edges, edges_of
from orbitds.model.quadtree import build_quadtree

# Patches per leaf of the quadtree, on average; fewer where the field would have too few leaves to
# choose from.
LEAF_PATCHES, FEWEST_LEAVES = 4.0, 16
# Streams of random numbers of a seed.
_TRAINING, _VALIDATION = 0, 1

Seed = tuple[int, ...]


def reconstruction(pair: Pair) -> Pair:
    """Return the pair whose outputs are its inputs, on the coarse grid: its factor is 1."""
    statics = block_mean(pair.statics, pair.factor) if pair.static_names else pair.coarse[[]]
    return replace(
        pair,
        fine=pair.coarse,
        fine_fields=pair.coarse_fields,
        statics=statics.assign_attrs(pair.statics.attrs),
        same_product=False,
    )


def hidden_in_step(
    batch: Sample, config: TrainConfig, *, periodic: bool, step: int, first: int = 0
) -> Sample:
    """Return this process's share of a step's batch as the model shall see it; see ``hide``.

    What is hidden follows from the run's seed, the step and the sample's place in the batch alone:
    it is the same for any number of processes and of parts. Without the objective ``masked``
    nothing is.

    Parameters
    ----------
    first
        Place of the first sample in the batch of all processes.
    """
    if config.objective != "masked":
        return batch
    places = range(first, first + len(batch.coarse))
    seeds = [(config.seed, _TRAINING, step, place) for place in places]
    return hide(batch, config.masked, patch=config.model.patch, periodic=periodic, seeds=seeds)


class HiddenSamples(Samples):
    """Samples to validate with: of each the same part is hidden every time.

    Parameters
    ----------
    config
        Of the run.
    """

    def __init__(self, *args: Any, config: TrainConfig, **told: Any) -> None:  # noqa: ANN401  as of Samples
        super().__init__(*args, **told)
        self.config = config

    def batch(self, indices: Sequence[int]) -> Sample:
        """Read samples and return them with a leading axis B, on the device."""
        config, seeds = self.config, [(self.config.seed, _VALIDATION, index) for index in indices]
        return hide(
            super().batch(indices),
            config.masked,
            patch=config.model.patch,
            periodic=self.tiles.wraps,
            seeds=seeds,
        )


def hide(
    batch: Sample, config: MaskedConfig, *, patch: int, periodic: bool, seeds: Sequence[Seed]
) -> Sample:
    """Return a batch with parts of its coarse fields at zero, their mean, and weight there alone.

    The same cells are hidden of all variables and of earlier times; statics stay. Cells that were
    missing are zero too: what filled them may be the value of a hidden neighbour.

    Parameters
    ----------
    batch
        Of a pair as ``reconstruction`` gives it.
    patch
        Edge of a patch in cells: patches are hidden whole, those that the model takes for tokens.
    periodic
        Whether the window spans the whole circle of longitude.
    seeds
        Of each sample, what its random numbers follow from.

    Notes
    -----
    Leaves of a quadtree are of the whole field: the size of what is hidden tells how calm it is
    there, and nothing else of it.
    """
    if config.cells == "patches":
        hidden = _patches(batch, config.share, patch, seeds)
    else:
        hidden = _leaves(batch, config.share, patch, seeds, periodic=periodic)
    height, width = batch.coarse.shape[-2:]
    hidden = hidden.repeat_interleave(patch, dim=1).repeat_interleave(patch, dim=2)
    hidden = hidden[:, :height, :width]
    # a target is zero where it is missing, and equal to the input elsewhere
    filled = (batch.coarse[:, : batch.fine.shape[1]] != batch.fine).any(dim=1)
    return batch._replace(
        coarse=torch.where((hidden | filled)[:, None], 0.0, batch.coarse),
        weight=batch.weight * hidden[:, None],
    )


def _patches(
    batch: Sample, share: float, patch: int, seeds: Sequence[Seed]
) -> Bool[Tensor, "B h w"]:
    """Choose as many patches of each sample, at random."""
    rows, columns = _shape(batch, patch)
    count = rows * columns
    wanted = max(min(round(share * count), count - 1), 1)
    order = _luck(batch, seeds, count).argsort(dim=1)
    hidden = torch.zeros_like(order, dtype=torch.bool).scatter(1, order[:, :wanted], value=True)
    return hidden.unflatten(1, (rows, columns))


def _leaves(
    batch: Sample, share: float, patch: int, seeds: Sequence[Seed], *, periodic: bool
) -> Bool[Tensor, "B h w"]:
    """Choose leaves of each sample's quadtree at random, until they make up the share."""
    rows, columns = _shape(batch, patch)
    count = rows * columns
    image = batch.coarse[:, : batch.fine.shape[1]].mean(dim=1)
    south, east = -image.shape[1] % patch, -image.shape[2] % patch
    image = extend(image, (0, south), (0, east), periodic=periodic)
    edges = count_edges(edges_of(image, periodic=periodic), patch)
    ratio = min(LEAF_PATCHES, max(count / FEWEST_LEAVES, 1.0))
    tree = build_quadtree(edges, patch=patch, ratio=ratio, periodic=periodic)
    leaves = tree.level.shape[1]
    first = torch.arange(len(edges), device=edges.device)[:, None] * leaves
    leaf = tree.leaf_of_patch - first  # B N, within the sample
    size = torch.zeros(len(leaf), leaves, device=leaf.device)
    size = size.scatter_add(1, leaf, torch.ones_like(leaf, dtype=size.dtype))
    # leaves beyond the border come last: they hide nothing
    luck = _luck(batch, seeds, leaves) + (size == 0)
    order = luck.argsort(dim=1)
    size = size.gather(1, order)
    before = size.cumsum(dim=1) - size
    chosen = before + size / 2 < share * count
    chosen[:, 0] = True  # however large
    hidden = torch.zeros_like(chosen).scatter(1, order, chosen)
    return hidden.gather(1, leaf).unflatten(1, (rows, columns))


def _shape(batch: Sample, patch: int) -> tuple[int, int]:
    """Return rows and columns of patches; the last ones may reach over the border."""
    height, width = batch.coarse.shape[-2:]
    return -(-height // patch), -(-width // patch)


def _luck(batch: Sample, seeds: Sequence[Seed], count: int) -> Tensor:
    """Return random numbers [B, count] below 1, alike on every machine."""
    drawn = np.stack([np.random.default_rng(seed).random(count) for seed in seeds])
    return torch.from_numpy(drawn).to(batch.coarse.device)
