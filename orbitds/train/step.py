"""One step of training: the loss of a batch over all processes, its gradient, the update."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from orbitds.config import TrainConfig
from orbitds.data.loader import Loaded
from orbitds.train.engine import Engine
from orbitds.train.masked import hidden_in_step
from orbitds.train.mesh import Mesh
from orbitds.train.objective import objective
from orbitds.train.setting import Setting


@dataclass(frozen=True, eq=False)
class Numbers:
    """What a step says of itself, on its way from the device."""

    step: int
    batches: list[Loaded]
    """Its parts, without their tensors."""
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
    parts: Iterable[Loaded],
    settings: Sequence[Setting],
    config: TrainConfig,
    mesh: Mesh,
    *,
    step: int,
    wants_stop: bool = False,
) -> Numbers:
    """Take one step; nothing waits for the device.

    Parameters
    ----------
    parts
        This process's share of the samples in ``config.accumulate`` parts, of which one at a time
        need be in memory.
    step
        Number of the step, from 1.
    wants_stop
        Whether this process wants the run to stop: all of them learn it.

    Notes
    -----
    The loss is a weighted sum over the batch of all processes, divided by the sum of its weights:
    each fine cell counts by its weight, wherever it was computed. The sum of the weights is known
    after the last part, so gradients are those of the sum until then.
    """
    engine.model.train()
    sums, batches = None, []
    for number, batch in enumerate(parts):
        seed_part(config.seed, step, number, mesh.data_rank)
        setting = settings[batch.pair]
        sample = hidden_in_step(
            batch.sample, config, periodic=setting.wraps(batch.sample), step=step, first=batch.place
        )
        value = objective(engine.model, sample, setting, config.minimised, config.dtype)[0]
        engine.backward(value, last=number + 1 == config.accumulate)
        # loss, its weights, requests to stop; and the loss of this process alone
        told = torch.stack([value.detach(), sample.weight.sum()])
        sums = told if sums is None else sums + told
        batches.append(batch._replace(sample=None))
    assert sums is not None
    own = sums[0]
    # filled in on the device: a copy to it would wait for all that is queued there
    told = torch.cat([sums, sums.new_full((1,), float(wants_stop))])
    if mesh.addends is not None:
        dist.all_reduce(told, group=mesh.addends)
    norm = engine.step(step - 1, scale=1 / told[1])
    values = torch.stack([told[0] / told[1], norm.to(told.device), told[2], own])
    if values.device.type != "cuda":
        return Numbers(step, batches, values, None)
    host = torch.empty_like(values, device="cpu", pin_memory=True)
    host.copy_(values, non_blocking=True)
    return Numbers(step, batches, host, torch.cuda.current_stream(values.device).record_event())


def seed_part(seed: int, step: int, part: int, data_rank: int) -> None:
    """Begin the random numbers of a part of a step: a function of where it stands in the run.

    So a run that goes on after a stop draws what it would have drawn, and processes that share a
    sample draw alike.
    """
    mixed = np.random.SeedSequence([seed, step, part, data_rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(mixed[0]))


def name_batch(numbers: Numbers, settings: Sequence[Setting], *, own_loss: float) -> str:
    """Return which samples a step took, of all processes; those whose loss is not finite if any."""
    names = [
        settings[batch.pair].train.name(index)
        for batch in numbers.batches
        for index in batch.indices
    ]
    told = (np.isfinite(own_loss), names)
    everyone = [told]
    if dist.is_initialized():
        everyone = [told] * dist.get_world_size()
        dist.all_gather_object(everyone, told)
    guilty = [names for is_finite, names in everyone if not is_finite]
    chosen = guilty or [names for _, names in everyone]
    return "; ".join(dict.fromkeys(name for names in chosen for name in names))
