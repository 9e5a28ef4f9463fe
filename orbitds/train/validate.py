"""Validation during a run: errors on the cores of all tiles, also in physical units."""

import torch

from orbitds.data.loader import collate
from orbitds.loss import bayesian_tv
from orbitds.metrics import Scores
from orbitds.model.interface import DownscalingModel
from orbitds.normalize import Normalizer
from orbitds.train.setting import Setting
from orbitds.variables import variable


def validate(model: DownscalingModel, setting: Setting, device: torch.device) -> dict[str, float]:
    """Return the normalised validation error and the RMSE of each output in its unit."""
    model.eval()
    samples = setting.validate
    scores = {name: Scores() for name in setting.pair.outputs}
    inverse = Normalizer(setting.pair.outputs, setting.statistics).inverse
    total = weight = 0.0
    for index in range(len(samples)):
        batch = collate([samples[index]]).to(device)
        with torch.inference_mode():
            prediction = setting.forward(model, batch).fine
        error, cells = bayesian_tv(prediction, batch.fine, weight=batch.weight, tv_weight=0.0)
        total += float(error)
        weight += float(cells)
        core = batch.weight[0].cpu()
        truth = torch.where(core > 0, inverse(batch.fine[0].cpu()), torch.nan)
        fine = inverse(prediction[0].float().cpu())
        for place, name in enumerate(setting.pair.outputs):
            scores[name].add(
                fine[place][None], truth[place][None], core[place], variable(name).range
            )
    rmse = {f"rmse_{name}": scores[name].result(1.0)["rmse"] for name in scores}
    return {"validation": total / weight, **rmse}
