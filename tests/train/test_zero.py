"""What DeepSpeed is told, and tensors cut as it cuts them."""

import os
import sys
from dataclasses import replace

import pytest
import torch

from orbitds.config import OptimConfig, TrainConfig
from orbitds.train.mesh import ONE
from orbitds.train.zero import Weights, import_deepspeed, local_rank, settings_of


def config_of(**parallel):
    return TrainConfig(
        pair="synthetic",
        accumulate=4,
        optim=OptimConfig(clip=0.3),
        parallel={"engine": "deepspeed", **parallel},
    )


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_settings_hold_stage_parts_and_clipping(stage):
    told = settings_of(config_of(zero_stage=stage), "cpu")
    assert told["zero_optimization"]["stage"] == stage
    assert told["gradient_accumulation_steps"] == 4
    assert told["gradient_clipping"] == 0.3
    assert not any("offload" in key for key in told["zero_optimization"])


@pytest.mark.parametrize(
    ("stage", "kept"), [(1, {"offload_optimizer"}), (3, {"offload_optimizer", "offload_param"})]
)
def test_offloaded_are_moments_and_cut_weights(stage, kept):
    told = settings_of(config_of(zero_stage=stage, offload=True), "cuda")["zero_optimization"]
    assert {key for key in told if "offload" in key} == kept
    assert all(told[key] == {"device": "cpu", "pin_memory": True} for key in kept)


def test_absence_names_the_extra(monkeypatch):
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install orbitds\[deepspeed\]"):
        import_deepspeed("cpu")


@pytest.mark.parametrize("before", [None, "3"])
def test_the_environment_is_as_it_was(monkeypatch, before):
    if before is None:
        monkeypatch.delenv("LOCAL_RANK", raising=False)
    else:
        monkeypatch.setenv("LOCAL_RANK", before)
    with local_rank("cpu"):
        assert os.environ["LOCAL_RANK"] == "0"
    assert os.environ.get("LOCAL_RANK") == before


@pytest.mark.parametrize("world", [1, 2, 5])
@pytest.mark.parametrize("shape", [(3, 5), (2,), (7, 1, 3)])
def test_parts_in_a_row_are_the_whole_and_zeros(world, shape):
    whole = torch.randn(shape)
    sizes = ONE.sizes | {"shard": world}
    parts = [
        Weights(torch, {}, replace(ONE, sizes=sizes, rank=rank), 3).cut(whole)
        for rank in range(world)
    ]
    assert len({part.shape for part in parts}) == 1
    row = torch.cat(parts)
    torch.testing.assert_close(row[: whole.numel()].view(shape), whole)
    assert not row[whole.numel() :].any()
    assert len(row) - whole.numel() < world
