"""One step of training: the loss of a batch over all processes, its gradient, the update."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from orbitds.config import TrainConfig
from orbitds.data.batch import Sample
from orbitds.data.loader import Loaded
from orbitds.train.engine import Engine
from orbitds.train.mesh import Mesh
from orbitds.train.objective import objective
from orbitds.train.setting import Setting


@dataclass(frozen=True, eq=False)
class Numbers:
    """What a step says of itself, on its way from the device."""

    step: int
    batch: Loaded
    values: Tensor
    """Loss, norm of the gradient, requests to stop, this process's loss; in host memory."""
    copied: torch.Event | None

    def read(self) -> tuple[float, float, bool, float]:
        """Return loss, norm, whether any process wants to stop, and this process's loss."""
        if self.copied is not None:
            self.copied.synchronize()
        loss, norm, stops, own = self.values.tolist()
        return loss, norm, stops > 0, own


def take_step(
    engine: Engine,
    batch: Loaded,
    setting: Setting,
    config: TrainConfig,
    mesh: Mesh,
    *,
    step: int,
    wants_stop: bool = False,
) -> Numbers:
    """Take one step; nothing waits for the device.

    Parameters
    ----------
    batch
        This process's share of the samples.
    step
        Number of the step, from 1.
    wants_stop
        Whether this process wants the run to stop: all of them learn it.

    Notes
    -----
    The loss is a weighted sum over the batch of all processes, divided by the sum of its weights:
    each fine cell counts by its weight, wherever it was computed.
    """
    sample, device = batch.sample, batch.sample.weight.device
    engine.model.train()
    total_weight = sample.weight.sum()
    _add_up(total_weight, mesh)
    own = torch.zeros((), device=device)
    for number, part in enumerate(_parts(sample, config.accumulate)):
        seed_part(config.seed, step, number, mesh.data_rank)
        value = objective(engine.model, part, setting, config.loss, config.dtype)[0]
        engine.backward(value / total_weight, last=number + 1 == config.accumulate)
        own += value.detach() / total_weight
    norm = engine.step(step - 1)
    told = torch.stack([own, own.new_tensor(float(wants_stop))])
    _add_up(told, mesh)
    values = torch.stack([told[0], norm.to(device), told[1], own])
    if device.type != "cuda":
        return Numbers(step, batch, values, None)
    host = torch.empty_like(values, device="cpu", pin_memory=True)
    host.copy_(values, non_blocking=True)
    return Numbers(step, batch, host, torch.cuda.current_stream(device).record_event())


def seed_part(seed: int, step: int, part: int, data_rank: int) -> None:
    """Begin the random numbers of a part of a step: a function of where it stands in the run.

    So a run that goes on after a stop draws what it would have drawn, and processes that share a
    sample draw alike.
    """
    mixed = np.random.SeedSequence([seed, step, part, data_rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(mixed[0]))


def name_batch(numbers: Numbers, settings: Sequence[Setting], *, own_loss: float) -> str:
    """Return which samples a step took, of all processes; those whose loss is not finite if any."""
    samples = settings[numbers.batch.pair].train
    told = (np.isfinite(own_loss), [samples.name(index) for index in numbers.batch.indices])
    everyone = [told]
    if dist.is_initialized():
        everyone = [told] * dist.get_world_size()
        dist.all_gather_object(everyone, told)
    guilty = [names for is_finite, names in everyone if not is_finite]
    chosen = guilty or [names for _, names in everyone]
    return "; ".join(dict.fromkeys(name for names in chosen for name in names))


def _add_up(values: Tensor, mesh: Mesh) -> None:
    if mesh.addends is not None:
        dist.all_reduce(values, group=mesh.addends)


def _parts(batch: Sample, parts: int) -> Iterator[Sample]:
    """Cut a batch into as many parts everywhere, whatever its size in this process."""
    size = batch.coarse.shape[0]
    for part in range(parts):
        yield batch.part(slice(part * size // parts, (part + 1) * size // parts))
