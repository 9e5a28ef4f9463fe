"""Parameter groups, AdamW, warm-up and cosine decay."""

import math

import torch
from torch import nn

from orbitds.config import OptimConfig


def make_optimizer(
    model: nn.Module, config: OptimConfig, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return AdamW of all weights that are not frozen, and its schedule.

    The rate rises linearly, then falls by a cosine to the final one.
    """
    decayed, kept = [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        # decay acts on matrices; norms, queries and biases (a row per variable too) have no scale
        # to shrink
        (kept if parameter.ndim < 2 or name.endswith("bias") else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2))

    def fraction(step: int) -> float:
        if step < config.warmup_steps:
            return (step + 1) / config.warmup_steps
        progress = (step - config.warmup_steps) / max(steps - 1 - config.warmup_steps, 1)
        cosine = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
        return config.final_lr_fraction + (1 - config.final_lr_fraction) * cosine

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, fraction)
