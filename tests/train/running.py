"""A small run, for processes of their own."""

from pathlib import Path

from orbitds.config import ModelConfig, OptimConfig, SaveConfig, TrainConfig
from orbitds.data.synthetic import synthetic_pair
from orbitds.train import loop

# Everything random is on: dropout, skipped blocks and variables, members' noise, mirrors.
CONFIG = TrainConfig.model_validate(
    {
        "pair": "synthetic",
        "model": ModelConfig(
            width=8,
            depth=2,
            decoder_depth=1,
            correction_width=4,
            correction_depth=1,
            position_octaves=2,
            dropout=0.2,
            drop_path=0.2,
            drop_variables=0.2,
        ),
        "loss": {"kind": "crps"},
        "optim": OptimConfig(lr=1e-2, warmup_steps=2),
        "data": {"mirror": ["longitude"]},
        "tiles": {"rows": 2, "columns": 2, "halo_cells": 1},
        "steps": 24,
        "batch_size": 6,
        "accumulate": 2,
        "ema_decay": 0.9,
        "validate_every": 6,
        "save": SaveConfig(every=2),
        "log": {"tensorboard": False},
        "device": "cpu",
    }
)


# What a GPU is for: half precision, and a quadtree with its sums by leaf.
ON_GPU = {
    "device": "cuda",
    "deterministic": True,
    "dtype": "bfloat16",
    "model": CONFIG.model.model_copy(update={"compression": 4.0}),
}


PAIR = synthetic_pair(rows=7, columns=11, factor=3)


def main(folder: Path, device: str) -> None:
    """Train in a folder, as the command does; go on from what is there."""
    loop.open_pair = {"synthetic": PAIR}.__getitem__
    config = CONFIG.model_copy(update=ON_GPU) if device == "cuda" else CONFIG
    loop.run(config, folder, resume=True)
