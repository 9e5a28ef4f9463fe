"""The beginning of a small run, in one process or in several: its data, its settings, its model."""

from dataclasses import replace

import numpy as np
import torch

from orbitds.config import ModelConfig, OptimConfig, TilesConfig
from orbitds.data.synthetic import synthetic_pair
from orbitds.model.build import build
from orbitds.train import loop
from orbitds.train.mesh import make_mesh
from orbitds.train.mixture import Scope
from orbitds.train.setting import prepare_all
from orbitds.train.start import begin
from tests.mixed import other_pair

TINY = ModelConfig(
    width=12,
    depth=2,
    heads=2,
    decoder_depth=1,
    correction_width=4,
    correction_depth=1,
    position_octaves=2,
)
# An odd field cut into tiles of unequal cores; odd shares of samples.
BASE = {
    "pair": "synthetic",
    "model": TINY,
    "tiles": TilesConfig(rows=2, columns=3, halo_cells=2),
    "batch_size": 7,
    "steps": 3,
    "validate_every": 2,
    "optim": OptimConfig(lr=1e-3, warmup_steps=0, clip=0.5),
    "device": "cpu",
}


def pair_with_gaps():
    """Global fields with targets missing here and there: another share of each time."""
    pair = synthetic_pair(rows=7, columns=11, factor=3)
    missing = (
        np.arange(pair.fine.sizes["latitude"])
        < ((np.arange(pair.fine.sizes["time"]) * 5) % 20)[:, None]
    )
    holes = pair.fine.eastward_wind.copy(
        data=np.broadcast_to(missing[:, :, None], pair.fine.eastward_wind.shape)
    )
    return replace(pair, fine=pair.fine.where(~holes).assign_attrs(missing="mask"))


def pairs_of(config):
    """As many pairs as a config asks for."""
    return [pair_with_gaps(), other_pair()][: len(config.mixture)]


def begun(config, launch, device):
    """Settings, mesh and model of a run whose weights are such that no gradient is zero."""
    mesh = make_mesh(config.parallel, launch, device)
    settings = prepare_all(config, pairs_of(config), device)
    scope = Scope.of(settings)
    torch.manual_seed(5)
    model = build(
        config.architecture,
        inputs=scope.inputs,
        outputs=scope.outputs,
        statics=scope.statics,
        factor=scope.factors,
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    begin(model, config)
    return settings, mesh, model


def parts_of(config, settings, mesh, *, first=0):
    """Parts of a process's shares of the steps, one after another, from after so many steps."""
    return loop._batches(config, settings, mesh, first=first)
