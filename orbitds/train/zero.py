"""DeepSpeed itself: how it is started, and the weights that it has cut."""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from orbitds.config import TrainConfig
from orbitds.train.mesh import Mesh

# Weights of so few numbers are not cut in stage 3: norms and biases are asked for often.
KEPT_WHOLE = 10_000
MOMENTS = ("exp_avg", "exp_avg_sq")


def import_deepspeed(device: str) -> ModuleType:
    """Import DeepSpeed for a kind of device, ``cpu`` or ``cuda``.

    Raises
    ------
    ModuleNotFoundError
        If it is not installed; the message names the extra.
    """
    # it would take a GPU that it finds
    os.environ.setdefault("DS_ACCELERATOR", device)
    try:
        import deepspeed
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Wanted DeepSpeed for parallel.engine deepspeed, got: {error}. "
            "Install it: pip install orbitds[deepspeed]"
        ) from error
    # DeepSpeed 0.19 calls what has another name in torch 2.13
    warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)
    # a kernel for sums in shared memory, which it would compile for a minute
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def settings_of(config: TrainConfig, device: str) -> dict[str, Any]:
    """Return what DeepSpeed calls its config."""
    stage = config.parallel.zero_stage
    zero: dict[str, Any] = {"stage": stage}
    if stage == 3:
        zero["stage3_param_persistence_threshold"] = KEPT_WHOLE
        # DeepSpeed's own linear layer adds its bias in place, also to products that selective
        # checkpointing keeps: gradients would be wrong
        zero["memory_efficient_linear"] = False
    if config.parallel.offload:
        host = {"device": "cpu", "pin_memory": device == "cuda"}
        zero["offload_optimizer"] = host
        if stage == 3:
            zero["offload_param"] = host
    return {
        # wanted, and without effect: it counts samples for its messages
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": config.accumulate,
        "gradient_clipping": config.optim.clip,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }


@contextmanager
def local_rank(device: str) -> Iterator[None]:
    """Tell DeepSpeed the device of this process, which it reads from the environment alone."""
    kept = os.environ.get("LOCAL_RANK")
    os.environ["LOCAL_RANK"] = str(torch.cuda.current_device() if device == "cuda" else 0)
    try:
        yield
    finally:
        if kept is None:
            del os.environ["LOCAL_RANK"]
        else:
            os.environ["LOCAL_RANK"] = kept


class Weights:
    """Weights that DeepSpeed has cut, or will cut: whole ones, and this process's parts.

    A part is flat; parts of all processes are of one size, so that the last ends in zeros.

    Parameters
    ----------
    named
        The weights by name, before DeepSpeed has them.
    stage
        What DeepSpeed cuts: in 3 the weights themselves.
    """

    def __init__(
        self, deepspeed: ModuleType, named: Mapping[str, nn.Parameter], mesh: Mesh, stage: int
    ) -> None:
        self.deepspeed, self.named, self.mesh = deepspeed, dict(named), mesh
        self.are_cut = stage == 3
        self.shapes = {name: weight.shape for name, weight in named.items()}

    @contextmanager
    def whole(self, name: str) -> Iterator[Tensor]:
        """Give the weight that the model computes with, whole in all processes."""
        with self._gathered(name):
            yield self.named[name].detach()

    def write(self, name: str, value: Tensor) -> None:
        """Write the weight that the model computes with."""
        with torch.no_grad(), self._gathered(name, modifier_rank=0):
            self.named[name].data.copy_(value)

    def kept(self, name: str, moment: str | None = None) -> Tensor:
        """Return what the optimiser has of a trained weight, whole: itself, or a moment of it."""
        utils, weight = self.deepspeed.utils, self.named[name]
        if moment is None:
            found = utils.safe_get_full_fp32_param(weight)
        else:
            found = utils.safe_get_full_optimizer_state(weight, moment)
        return found.view(self.shapes[name])

    def keep(self, name: str, value: Tensor, moment: str | None = None) -> None:
        """Give the optimiser a trained weight, or a moment of it."""
        utils, weight = self.deepspeed.utils, self.named[name]
        if self.are_cut:
            # DeepSpeed 0.19 cannot cut a whole one whose last part is shorter than the others
            part = self.cut(value)
            if moment is None:
                utils.safe_set_local_fp32_param(weight, part)
            else:
                utils.safe_set_local_optimizer_state(weight, part, moment)
        elif moment is None:
            utils.safe_set_full_fp32_param(weight, value)
        else:
            utils.safe_set_full_optimizer_state(weight, value, moment)

    def part(self, name: str) -> Tensor:
        """Return this process's part of a trained weight."""
        weight = self.named[name]
        if self.are_cut:
            return self.deepspeed.utils.safe_get_local_fp32_param(weight)
        return self.cut(weight.detach())

    def cut(self, whole: Tensor) -> Tensor:
        """Return this process's part of a whole tensor."""
        world, size = self.mesh.world, -(-whole.numel() // self.mesh.world)
        padded = nn.functional.pad(whole.flatten(), (0, size * world - whole.numel()))
        return padded[size * self.mesh.rank : size * (self.mesh.rank + 1)]

    def joined(self, name: str, part: Tensor) -> Tensor:
        """Return the whole tensor of a weight's shape of which each process has a part."""
        shape = self.shapes[name]
        parts = [torch.empty_like(part) for _ in range(self.mesh.world)]
        dist.all_gather(parts, part.detach().contiguous())
        return torch.cat(parts)[: shape.numel()].view(shape)

    def _gathered(self, name: str, **chosen: int) -> AbstractContextManager:
        return self.deepspeed.zero.GatheredParameters([self.named[name]], **chosen)
