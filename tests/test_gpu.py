"""What the CPU does, a GPU does too."""

import numpy as np
import pytest
import torch
import xarray as xr

from orbitds.config import LossConfig, ModelConfig, OptimConfig, TrainConfig
from orbitds.train.loop import fit

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


def test_inference_agrees(coarse, checkpoint_folder):
    fields = [
        coarse.orbit.downscale(checkpoint_folder, device=device, tiles=tiles)
        for tiles in (None, (2, 3))
        for device in ("cpu", "cuda")
    ]
    for cpu, gpu in (fields[:2], fields[2:]):
        xr.testing.assert_allclose(gpu, cpu, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_training_agrees(pair, tmp_path, dtype):
    losses = {}
    for device in ("cpu", "cuda"):
        config = TrainConfig(
            pair="synthetic",
            model=ModelConfig(width=32, depth=1, decoder_depth=1, correction_width=8, base="delta"),
            loss=LossConfig(),
            optim=OptimConfig(lr=2e-3, warmup_steps=2),
            steps=10,
            batch_size=4,
            validate_every=10,
            device=device,
            dtype=dtype,
        )
        folder = tmp_path / device
        folder.mkdir()
        fit(config, pair, folder)
        lines = (folder / "log.jsonl").read_text().splitlines()
        losses[device] = [float(line.split('"loss": ')[1].split(",")[0]) for line in lines]
    np.testing.assert_allclose(losses["cuda"], losses["cpu"], rtol=2e-2)
