"""Parameter groups, AdamW, warm-up and cosine decay."""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from orbitds.config import OptimConfig


def make_optimizer(weights: Mapping[str, Tensor], config: OptimConfig) -> torch.optim.AdamW:
    """Return AdamW over weights by name, with its moments already there.

    Parameters
    ----------
    weights
        Leaf tensors, perhaps a process's parts of larger ones; those that need no gradient are
        left out.
    """
    optimizer = make_adamw(weights, config)
    make_moments(optimizer, [part for group in optimizer.param_groups for part in group["params"]])
    return optimizer


def make_adamw(weights: Mapping[str, Tensor], config: OptimConfig) -> torch.optim.AdamW:
    """Return AdamW as ``make_optimizer`` does, without moments; no group is empty."""
    decayed, kept = [], []
    for name, weight in weights.items():
        if not weight.requires_grad:
            continue
        # decay acts on matrices; norms, queries and biases (a row per variable too) have no scale
        # to shrink
        (kept if weight.ndim < 2 or name.endswith("bias") else decayed).append(weight)
    if not decayed and not kept:
        raise ValueError("Wanted weights to train, got none: all are frozen. Shorten `freeze`.")
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        fused=next(iter(weights.values())).device.type == "cuda",
    )


def make_moments(optimizer: torch.optim.AdamW, parts: Iterable[Tensor]) -> None:
    """Make the moments of what the optimiser works on, as AdamW does in its first step.

    So that a state has where to load to before.
    """
    fused = optimizer.defaults["fused"]
    for part in parts:
        optimizer.state[part] = {
            "step": torch.zeros((), device=part.device if fused else "cpu"),
            "exp_avg": torch.zeros_like(part, requires_grad=False),
            "exp_avg_sq": torch.zeros_like(part, requires_grad=False),
        }


def learning_rate(step: int, config: OptimConfig, steps: int) -> float:
    """Return the learning rate of a step, from 0: linear warm-up, then cosine to the final rate."""
    if step < config.warmup_steps:
        return config.lr * ((step + 1) / config.warmup_steps)
    progress = (step - config.warmup_steps) / max(steps - 1 - config.warmup_steps, 1)
    cosine = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
    return config.lr * (config.final_lr_fraction + (1 - config.final_lr_fraction) * cosine)
