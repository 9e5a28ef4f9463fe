"""A small run in a process of its own: python tests/train/running.py FOLDER [--resume] [--gpu]."""

import sys
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


def main(folder: str, *flags: str) -> None:
    """Train in a folder, as the command does."""
    pair = synthetic_pair(rows=7, columns=11, factor=3)
    loop.open_pair = {"synthetic": pair}.__getitem__
    config = CONFIG.model_copy(update=ON_GPU) if "--gpu" in flags else CONFIG
    print("ready", flush=True)  # noqa: T201  whoever started it waits for this line
    loop.run(config, Path(folder), resume="--resume" in flags)


if __name__ == "__main__":
    main(*sys.argv[1:])
