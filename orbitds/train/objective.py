"""What a run minimises: from a model and a batch to the weighted sum of the loss."""

from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor

from orbitds import loss
from orbitds.config import LossConfig
from orbitds.data.batch import Sample
from orbitds.model.interface import DownscalingModel, Prediction
from orbitds.train.setting import Setting


def objective(
    model: DownscalingModel,
    batch: Sample,
    setting: Setting,
    config: LossConfig,
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> tuple[Tensor, Tensor]:
    """Return the weighted sum of the loss over a batch, and the sum of the weights."""
    autocast = (
        torch.autocast(batch.coarse.device.type, dtype=torch.bfloat16)
        if dtype == "bfloat16"
        else nullcontext()
    )
    count = config.members if config.kind == "crps" else 1
    with autocast:
        predictions = [setting.forward(model, batch) for _ in range(count)]
    return score(predictions, batch, setting, config)


def score(
    predictions: list[Prediction], batch: Sample, setting: Setting, config: LossConfig
) -> tuple[Tensor, Tensor]:
    """Return the weighted sum of the loss of predictions, one for each member, and the weights.

    Where it is balanced by the base, the square error of an output is divided by that of its base,
    and the weights are not: so the loss is the share of the base's error that is left.
    """
    if setting.divisors is not None:
        weight = batch.weight / setting.divisors
        total, _ = _score(predictions, batch._replace(weight=weight), setting, config)
        return total, batch.weight.sum()
    return _score(predictions, batch, setting, config)


def _score(
    predictions: list[Prediction], batch: Sample, setting: Setting, config: LossConfig
) -> tuple[Tensor, Tensor]:
    first, truth = predictions[0], {"target": batch.fine, "weight": batch.weight}
    fine = first.fine.float()
    if config.kind == "mse":
        return loss.square_error(fine, **truth)
    if config.kind == "l1":
        return loss.absolute_error(fine, **truth)
    if config.kind == "gaussian":
        assert first.log_variance is not None
        return loss.gaussian(fine, first.log_variance, **truth)
    if config.kind == "crps":
        return loss.fair_crps(torch.stack([p.fine.float() for p in predictions]), **truth)
    names = setting.pair.outputs
    weights = [config.tv_weights.get(name, config.tv_weight) for name in names]
    return loss.bayesian_tv(
        fine,
        **truth,
        tv_weight=torch.tensor(weights, device=fine.device) if config.tv_weights else weights[0],
        tv_diagonal=config.tv_diagonal,
        base=first.base if config.tv_of == "residual" else None,
        periodic=setting.wraps(batch),
    )
