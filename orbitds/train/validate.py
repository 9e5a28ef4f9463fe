"""Validation during a run: errors on the cores of all tiles, also in physical units."""

from collections.abc import Sequence
from functools import reduce

import torch
import torch.distributed as dist

from orbitds.config import LossConfig
from orbitds.data.batch import Sample
from orbitds.metrics.errors import Errors
from orbitds.model.embed import member_noise
from orbitds.model.interface import DownscalingModel, Prediction
from orbitds.normalize import Normalizer
from orbitds.periods import told
from orbitds.train.mesh import ONE, Mesh
from orbitds.train.objective import score
from orbitds.train.setting import Setting
from orbitds.variables import variable


def validate_all(
    model: DownscalingModel,
    settings: Sequence[Setting],
    shares: Sequence[float],
    loss: LossConfig,
    mesh: Mesh = ONE,
) -> dict[str, float]:
    """Return the errors of all pairs, as ``validate`` does of one.

    The validation error is the mean by the pairs' shares of the steps; the RMSE of the second pair
    and of later ones carries the pair's name.
    """
    found = [validate(model, setting, loss, mesh) for setting in settings]
    errors = [one.pop("validation") for one in found]
    total = sum(share * error for share, error in zip(shares, errors, strict=True))
    entry = {"validation": total / sum(shares)}
    for place, (setting, one) in enumerate(zip(settings, found, strict=True)):
        entry |= {(f"{name} of {setting.pair.name}" if place else name): one[name] for name in one}
    return entry


def validate(
    model: DownscalingModel, setting: Setting, loss: LossConfig, mesh: Mesh = ONE
) -> dict[str, float]:
    """Return the normalised validation error and the RMSE of each output in its unit.

    The validation error is the training loss without a prior; the RMSE is that of the mean where
    the model predicts a distribution. Processes that see other samples in training take turns here
    too, and all of them learn the result.
    """
    model.eval()
    loss = loss.model_copy(update={"tv_weight": 0.0, "tv_weights": {}})
    samples = setting.validate
    scores = {name: Errors() for name in setting.pair.outputs}
    inverse = Normalizer(setting.pair.outputs, setting.statistics).inverse
    total = weight = 0.0
    count, world = len(samples), mesh.data_world
    for first in range(0, count, world):
        # all of them compute as often, since they may share the weights; the surplus does not count
        index = first + mesh.data_rank
        batch = samples.batch([min(index, count - 1)])
        with torch.no_grad():  # FSDP gathers weights that a later step differentiates
            predictions = _predictions(model, batch, setting, loss, min(index, count - 1))
            error, cells = score(predictions, batch, setting, loss)
        if index >= count:
            continue
        total += float(error)
        weight += float(cells)
        core = batch.weight[0].cpu()
        truth = torch.where(core > 0, inverse(batch.fine[0].cpu()), torch.nan)
        members = torch.stack([prediction.fine[0].float().cpu() for prediction in predictions])
        fine = inverse(members).mean(dim=0)  # of amounts, not of their logarithms
        for place, name in enumerate(setting.pair.outputs):
            scores[name].add(
                fine[place][None], truth[place][None], core[place], variable(name).range
            )
    if mesh.data_world > 1:
        total, weight, scores = _merged(total, weight, scores, mesh)
    if weight == 0:
        raise ValueError(
            f"Wanted validation data with values, got nothing but missing cells in "
            f"{told(setting.pair.split['validate'])}. Choose another validation period."
        )
    rmse = {f"rmse_{name}": scores[name].result(1.0)["rmse"] for name in scores}
    return {"validation": total / weight, **rmse}


def _merged(
    total: float, weight: float, scores: dict[str, Errors], mesh: Mesh
) -> tuple[float, float, dict[str, Errors]]:
    """Return the sums of all processes, in the order of their numbers."""
    told = [(mesh.data_rank, total, weight, scores)] * dist.get_world_size()
    dist.all_gather_object(told, told[0])
    different = {rank: sums for rank, *sums in told}  # processes of one sample say the same
    totals, weights, parts = zip(*(different[rank] for rank in sorted(different)), strict=True)
    merged = {name: reduce(Errors.merge, (part[name] for part in parts)) for name in scores}
    return sum(totals), sum(weights), merged


def _predictions(
    model: DownscalingModel, batch: Sample, setting: Setting, loss: LossConfig, index: int
) -> list[Prediction]:
    """Return one prediction, or one for each member, with the same noise at each validation."""
    if loss.kind != "crps":
        return [setting.forward(model, batch)]
    time = str(index // len(setting.tiles.tiles))  # one member over all tiles of a time
    noise = (member_noise([time], member) for member in range(loss.members))
    return [setting.forward(model, batch, vector.to(batch.coarse.device)) for vector in noise]
