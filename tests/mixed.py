"""A second pair beside the synthetic one, and a checkpoint of both."""

from dataclasses import replace

import torch

from orbitds.checkpoint import save_checkpoint
from orbitds.data.stats import statistics
from orbitds.data.synthetic import synthetic_pair
from orbitds.model.build import build
from orbitds.train.mixture import pooled, training_set

WIND, RAIN, NORTH = "eastward_wind", "total_precipitation_24hr", "northward_wind"
SHARES = (1.0, 3.0)


def other_pair():
    """A pair of another grid and factor, with an output of its own and no statics."""
    pair = synthetic_pair(rows=8, columns=10, factor=2, seed=3)
    fine = pair.fine[[WIND]].rename({WIND: NORTH})
    return replace(
        pair,
        name="other",
        coarse=pair.coarse[[WIND]].rename({WIND: NORTH}).assign({WIND: 2 * pair.coarse[WIND] + 5}),
        fine=fine,
        statics=pair.statics[[]],
    )


def save_mixed(folder, pairs, config, **changes):
    """Write a checkpoint of two pairs of factors 3 and 2, with weights at random."""
    sets = [training_set(one, one.inputs, share) for one, share in zip(pairs, SHARES, strict=True)]
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(8)
        model = build(
            config,
            inputs=(WIND, RAIN, NORTH),
            outputs=(WIND, RAIN, NORTH),
            statics=("orography",),
            factor=(3, 2),
        )
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    save_checkpoint(
        folder,
        model,
        statistics=pooled([statistics(one.part("train")) for one in pairs], SHARES),
        spacing_km=sets[0].spacing_km,
        provenance={"pair": "synthetic + other"},
        sets=sets,
        **changes,
    )
    return folder
