"""The model of a run, its optimiser and its running mean, over the processes that share them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Shard
from torch.nn.utils import get_total_norm
from torch.optim.swa_utils import get_ema_multi_avg_fn

from orbitds.config import TrainConfig
from orbitds.model.interface import DownscalingModel
from orbitds.train.gradients import GradientSum
from orbitds.train.mesh import Mesh
from orbitds.train.optim import learning_rate, make_optimizer
from orbitds.train.parallel import share_samples
from orbitds.train.shard import (
    blocks_of,
    compile_blocks,
    groups_of,
    is_last_part,
    like,
    local,
    recompute,
    release,
    shard,
)


class Engine(ABC):
    """What the loop asks of an engine."""

    model: DownscalingModel

    @abstractmethod
    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add the gradients of one part of a step; those of all processes are added as well."""

    @abstractmethod
    def step(self, step: int, *, scale: Tensor) -> Tensor:
        """Scale the gradient, clip, update, and return its norm before clipping.

        Parameters
        ----------
        step
            Number of the step, from 0.
        scale
            What the sum of the parts' gradients is multiplied by.
        """

    @abstractmethod
    def averaged(self) -> AbstractContextManager[None]:
        """Let the model be the running mean while the context lasts."""

    @abstractmethod
    def whole(self) -> dict[str, Tensor] | None:
        """Return all weights in host memory in the main process, None in others."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Return all tensors that the next step depends on; filling them restores the run."""

    @abstractmethod
    def restored(self, step: int) -> None:
        """Take up the run after so many steps, once the tensors of ``state`` are filled."""


class TorchEngine(Engine):
    """An engine on PyTorch: FSDP2 where processes share weights, else each has all of them.

    The optimiser works on this process's parts of the weights as plain tensors: AdamW takes each
    number by itself, and so does without the bookkeeping of distributed ones.

    Parameters
    ----------
    model
        A built model, on its device where there is one process, else anywhere; it is changed.
    """

    def __init__(self, model: DownscalingModel, config: TrainConfig, mesh: Mesh) -> None:
        if config.parallel.offload and not mesh.is_shared:
            raise ValueError(
                "Wanted processes that share the weights for parallel.offload, got none: FSDP "
                "keeps shares in host memory. Set parallel.shard to 2 or more, or offload to false."
            )
        share_samples(model, mesh, config.parallel)
        if config.checkpointing != "none":
            recompute(model, config.checkpointing)
        if config.compile:
            compile_blocks(model)
        self.model, self.mesh, self.config = model, mesh, config
        if mesh.is_shared:
            shard(model, mesh, config)
        self.weights = dict(model.named_parameters())
        self.parts = {name: _part(weight) for name, weight in self.weights.items()}
        self.optimizer = make_optimizer(self.parts, config.optim)
        self.average: dict[str, Tensor] = {}
        if config.ema_decay:
            self.average = {name: part.detach().clone() for name, part in self.parts.items()}
        self.sum = None
        if mesh.addends is not None and not mesh.is_shared:
            blocks = groups_of(blocks_of(model))
            dtype = getattr(torch, config.parallel.reduce_dtype)
            self.sum = GradientSum(self.weights.values(), blocks, mesh.addends, dtype=dtype)

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add the gradients of one part of a step; see ``Engine``."""
        if self.sum is not None:
            self.sum.is_last = last
        if isinstance(self.model, FSDPModule):
            is_last_part(self.model, last=last)
            assert self.mesh.addends is not None
            loss = loss * self.mesh.addends.size()  # FSDP takes the mean over processes
        loss.backward()

    def step(self, step: int, *, scale: Tensor) -> Tensor:
        """Scale, clip, update, and return the norm of the gradient before; see ``Engine``."""
        self._gather()
        parts = list(self.parts.values())
        scale = scale.to(parts[0].device)
        norm = self._norm() * scale
        # one pass over the gradients: as if they were scaled first, and clipped then
        clip = self.config.optim.clip
        shrink = (clip / (norm + 1e-6)).clamp(max=1.0) * scale
        self._fill()
        gradients = [part.grad for part in parts if part.grad is not None]
        torch._foreach_mul_(gradients, shrink)  # pyright: ignore[reportPrivateImportUsage]  in all versions
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.config.optim, self.config.steps)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.model.zero_grad(set_to_none=True)
        if self.average:
            # the first weights have no past
            mean_of = get_ema_multi_avg_fn(self.config.ema_decay if step else 0.0)
            mean_of(list(self.average.values()), [part.detach() for part in parts], step)
        return norm

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the model be the running mean while the context lasts, if there is one."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def whole(self) -> dict[str, Tensor] | None:
        """Return all weights in host memory in the main process, None in others."""
        gathered = {}
        for name, weight in self.weights.items():
            full = weight.full_tensor() if isinstance(weight, DTensor) else weight
            if self.mesh.rank == 0:
                gathered[name] = full.detach().to("cpu", copy=True)
        return gathered if self.mesh.rank == 0 else None

    def state(self) -> dict[str, Tensor]:
        """Return weights, moments and running mean by name, laid out as the weights are."""
        self._look()
        tensors: dict[str, Tensor] = {}
        for name, weight in self.weights.items():
            part = self.parts[name]
            tensors[f"model.{name}"] = weight.detach()
            moments = self.optimizer.state.get(part, {})
            for moment in ("exp_avg", "exp_avg_sq"):
                if moment in moments:
                    tensors[f"{moment}.{name}"] = like(moments[moment], weight)
            if self.average:
                tensors[f"average.{name}"] = like(self.average[name], weight)
        return tensors

    def restored(self, step: int) -> None:
        """Take up the run after so many steps; see ``Engine``."""
        for moments in self.optimizer.state.values():
            moments["step"].fill_(step)

    def _gather(self) -> None:
        """Let the optimiser see the gradients of all processes."""
        if self.sum is not None:
            self.sum.finish()
        self._look()

    def _look(self) -> None:
        """Let the optimiser see the weights and gradients of now: FSDP may have moved them."""
        with torch.no_grad():  # a part of a DTensor is then at hand, without a call of autograd
            for name, weight in self.weights.items():
                part = self.parts[name]
                if part is weight:
                    continue
                part.data = local(weight)
                part.grad = None if weight.grad is None else local(weight.grad)

    def _fill(self) -> None:
        """Give a gradient of zero to what the step had no use for, such as heads of other factors.

        So all weights have taken as many steps, and a run that goes on from a state is the same.
        """
        for part in self.parts.values():
            if part.requires_grad and part.grad is None:
                part.grad = torch.zeros_like(part)

    def _norm(self) -> Tensor:
        """Return the norm of the whole gradient, of which this process has a part."""
        tensor = self.mesh.group("tensor")
        gradients = {name: part.grad for name, part in self.parts.items() if part.grad is not None}
        if self.mesh.grid is None:
            return get_total_norm(gradients.values())
        # parts of matrices that processes share, and what each of them has whole
        shared = {name for name in gradients if tensor and _is_shared(self.weights[name])}
        squares = torch.zeros(2, device=self.mesh.grid.device_type)
        for place, cut in enumerate((True, False)):
            # of no gradients the norm lies on the CPU: to take it over is to wait for the device
            if some := [g for n, g in gradients.items() if (n in shared) is cut]:
                squares[place] = get_total_norm(some) ** 2
        if self.mesh.is_shared and self.mesh.weights is not None:
            dist.all_reduce(squares, group=self.mesh.weights["parts"].get_group())
        if tensor is not None:
            dist.all_reduce(squares[:1], group=tensor)
        return squares.sum().sqrt().to(next(iter(gradients.values())).device)

    def _exchange(self) -> None:
        release(self.model)  # after a validation weights are still gathered as they were there
        self._look()
        with torch.no_grad():
            for name, mean in self.average.items():
                kept = mean.clone()
                mean.copy_(self.parts[name])
                self.parts[name].copy_(kept)


def make_engine(model: DownscalingModel, config: TrainConfig, mesh: Mesh) -> Engine:
    """Return the engine that the config asks for; see ``TorchEngine`` and ``DeepSpeedEngine``."""
    if config.parallel.engine == "torch":
        return TorchEngine(model, config, mesh)
    from orbitds.train.deepspeed import DeepSpeedEngine

    return DeepSpeedEngine(model, config, mesh)


def _part(weight: Tensor) -> Tensor:
    if not isinstance(weight, DTensor):
        return weight
    return nn.Parameter(local(weight.detach()), requires_grad=weight.requires_grad)


def _is_shared(weight: Tensor) -> bool:
    """Return whether the axis ``tensor`` cuts a weight."""
    if not isinstance(weight, DTensor):
        return False
    names = weight.device_mesh.mesh_dim_names or ()
    # FSDP of a cut matrix calls its placement a strided shard, which is a Shard too
    return "tensor" in names and isinstance(weight.placements[names.index("tensor")], Shard)
