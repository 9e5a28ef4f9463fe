"""Validation during a run: errors on the cores of all tiles, also in physical units."""

import math
from collections.abc import Sequence

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from orbitds.config import LossConfig
from orbitds.data.batch import Sample
from orbitds.model.embed import member_noise
from orbitds.model.interface import DownscalingModel, Prediction
from orbitds.normalize import Normalizer
from orbitds.periods import told
from orbitds.train.mesh import ONE, Mesh
from orbitds.train.objective import score
from orbitds.train.setting import Setting


def validate_all(
    model: DownscalingModel,
    settings: Sequence[Setting],
    shares: Sequence[float],
    loss: LossConfig,
    mesh: Mesh = ONE,
    *,
    at_once: int = 1,
) -> dict[str, float]:
    """Return the errors of all pairs, as ``validate`` does of one.

    The validation error is the mean by the pairs' shares of the steps; the RMSE of the second pair
    and of later ones carries the pair's name.
    """
    found = [validate(model, setting, loss, mesh, at_once=at_once) for setting in settings]
    errors = [one.pop("validation") for one in found]
    total = sum(share * error for share, error in zip(shares, errors, strict=True))
    entry = {"validation": total / sum(shares)}
    for place, (setting, one) in enumerate(zip(settings, found, strict=True)):
        entry |= {(f"{name} of {setting.pair.name}" if place else name): one[name] for name in one}
    return entry


def validate(
    model: DownscalingModel,
    setting: Setting,
    loss: LossConfig,
    mesh: Mesh = ONE,
    *,
    at_once: int = 1,
) -> dict[str, float]:
    """Return the normalised validation error and the RMSE of each output in its unit.

    The validation error is the training loss without a prior; the RMSE is that of the mean where
    the model predicts a distribution. Processes that see other samples in training take turns here
    too, and all of them learn the result.

    Parameters
    ----------
    at_once
        Samples that a process runs through the model together; as many as in training fit.
    """
    model.eval()
    loss = loss.model_copy(update={"tv_weight": 0.0, "tv_weights": {}})
    samples, outputs = setting.validate, setting.pair.outputs
    count, world = len(samples), mesh.data_world
    device = samples.assemble.device
    # loss and its weights; squared errors and their weights by variable
    sums = torch.zeros(2, 1 + len(outputs), dtype=torch.float64, device=device)
    for first in range(0, count, world * at_once):
        # all of them compute as often, since they may share the weights; the surplus does not count
        places = range(first + mesh.data_rank, first + world * at_once, world)
        indices = [min(place, count - 1) for place in places]
        batch = samples.batch(indices)
        with torch.no_grad():  # FSDP gathers weights that a later step differentiates
            predictions = _predictions(model, batch, setting, loss, indices)
            own = slice(sum(place < count for place in places))
            batch, predictions = batch.part(own), [_some(one, own) for one in predictions]
            sums += _errors(predictions, batch, setting, loss)
    if mesh.data_world > 1:
        sums = _merged(sums, mesh)
    (total, *squares), (weight, *weights) = sums.tolist()
    if weight == 0:
        raise ValueError(
            f"Wanted validation data with values, got nothing but missing cells in "
            f"{told(setting.pair.split['validate'])}. Choose another validation period."
        )
    rmse = {
        f"rmse_{name}": math.sqrt(square / cells) if cells else math.nan
        for name, square, cells in zip(outputs, squares, weights, strict=True)
    }
    return {"validation": total / weight, **rmse}


def _errors(
    predictions: list[Prediction], batch: Sample, setting: Setting, loss: LossConfig
) -> Float[Tensor, "2 n"]:
    """Return the sums of a batch: loss and squared errors in physical units, and their weights."""
    if not len(batch.fine):
        return torch.zeros(1, device=batch.fine.device).double()
    inverse = Normalizer(setting.pair.outputs, setting.statistics).inverse
    error, cells = score(predictions, batch, setting, loss)
    members = torch.stack([inverse(prediction.fine.float()) for prediction in predictions])
    # of amounts, not of their logarithms
    miss = (members.mean(dim=0) - inverse(batch.fine)).double()
    weight = batch.weight.double()
    square = torch.where(weight > 0, weight * miss**2, 0.0)
    axes = (0, 2, 3)
    return torch.stack(
        [
            torch.cat([error.detach().double()[None], square.sum(axes)]),
            torch.cat([cells.double()[None], weight.sum(axes)]),
        ]
    )


def _some(prediction: Prediction, samples: slice) -> Prediction:
    fields = (None if field is None else field[samples] for field in prediction)
    return Prediction(*fields)  # pyright: ignore[reportArgumentType]  the first two are there


def _merged(sums: Tensor, mesh: Mesh) -> Tensor:
    """Return the sums of all processes, in the order of their numbers."""
    told = [(mesh.data_rank, sums.cpu())] * dist.get_world_size()
    dist.all_gather_object(told, told[0])
    different = dict(told)  # processes of one sample say the same
    return torch.stack([different[rank] for rank in sorted(different)]).sum(dim=0)


def _predictions(
    model: DownscalingModel,
    batch: Sample,
    setting: Setting,
    loss: LossConfig,
    indices: Sequence[int],
) -> list[Prediction]:
    """Return one prediction, or one for each member, with the same noise at each validation."""
    if loss.kind != "crps":
        return [setting.forward(model, batch)]
    count = len(setting.tiles.tiles)  # one member over all tiles of a time
    times = [str(index // count) for index in indices]
    noise = (member_noise(times, member) for member in range(loss.members))
    return [setting.forward(model, batch, vector.to(batch.coarse.device)) for vector in noise]
