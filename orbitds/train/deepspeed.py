"""An engine on DeepSpeed ZeRO: the verbs of ``Engine``, its checkpoints and its states."""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import ModuleType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch.optim.swa_utils import get_ema_multi_avg_fn

from orbitds.config import TrainConfig
from orbitds.model.interface import DownscalingModel, Prediction
from orbitds.train.engine import Engine
from orbitds.train.mesh import Mesh
from orbitds.train.optim import learning_rate, make_optimizer
from orbitds.train.shard import compile_blocks, recompute

# Weights of so few numbers are not shared in stage 3: norms and biases are asked for often.
KEPT_WHOLE = 10_000
MOMENTS = ("exp_avg", "exp_avg_sq")


class DeepSpeedEngine(Engine):
    """An engine on DeepSpeed: what ``parallel.zero_stage`` says is shared among all processes.

    Weights, gradients and their sums are float32; where the config asks for bfloat16, products
    are computed in it, by autocast as in a run of one process.

    Parameters
    ----------
    model
        A built model; it is changed, and called by ``predict`` alone.

    Raises
    ------
    ModuleNotFoundError
        If DeepSpeed is not installed.
    ValueError
        If this process was started without torchrun and srun.

    Notes
    -----
    In stage 3 autocast keeps bfloat16 copies of the weights from the forward to the backward pass,
    unless ``checkpointing`` is ``full``.

    References
    ----------
    Rajbhandari et al. 2020, ZeRO: memory optimizations toward training trillion parameter models.
    """

    def __init__(self, model: DownscalingModel, config: TrainConfig, mesh: Mesh) -> None:
        if mesh.grid is None:
            raise ValueError(
                "Wanted processes started by torchrun or srun for the engine deepspeed, got one "
                "started alone. Start it by `torchrun --nproc-per-node 1 train/run.py`, or take "
                "parallel.engine torch."
            )
        self.deepspeed = _deepspeed(mesh.grid.device_type)
        self.model, self.mesh, self.config = model, mesh, config
        if config.checkpointing != "none":
            recompute(model, config.checkpointing)
        if config.compile:
            compile_blocks(model)
        self.weights = dict(model.named_parameters())
        self.shapes = {name: weight.shape for name, weight in self.weights.items()}
        self.trained = {n: weight for n, weight in self.weights.items() if weight.requires_grad}
        self._give_up_predict()
        self.optimizer = make_optimizer(self.weights, config.optim)
        # moments are made for the parts that DeepSpeed cuts
        self.optimizer.state.clear()
        groups = self.optimizer.param_groups
        groups[:] = [group for group in groups if group["params"]]
        with _local_rank(mesh.grid.device_type):
            self.engine, self.zero, *_ = self.deepspeed.initialize(
                model=model,
                optimizer=self.optimizer,
                config=_settings(config, mesh.grid.device_type),
            )
        self._make_moments()
        self.hosts = init_device_mesh("cpu", (mesh.world,)) if mesh.world > 1 else None
        self.average: dict[str, Tensor] = {}
        if config.ema_decay:
            self.average = {name: self._part(name).clone() for name in self.trained}
        self.given: Mapping[str, Tensor] = {}

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add the gradients of one part of a step; see ``Engine``."""
        self.engine.set_gradient_accumulation_boundary(last)
        self.zero.override_loss_scale(1.0)
        # DeepSpeed takes the mean over processes
        self.engine.backward(loss * self.mesh.world, scale_wrt_gas=False)

    def step(self, step: int, *, scale: Tensor) -> Tensor:
        """Scale, clip, update, and return the norm of the gradient before; see ``Engine``."""
        self.given = {}
        missing = torch.tensor(torch.nan)
        total = float(1 / scale)
        if not total > 0:
            return missing
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.config.optim, self.config.steps)
        # gradients are divided by it before they are clipped
        self.zero.override_loss_scale(total)
        self.engine.step()
        if not self.engine.was_step_applied():  # a gradient that is no number
            return missing
        if self.average:
            # the first weights have no past
            mean_of = get_ema_multi_avg_fn(self.config.ema_decay if step else 0.0)
            parts = [self._part(name) for name in self.average]
            mean_of(list(self.average.values()), parts, step)
        return torch.as_tensor(self.engine.get_global_grad_norm(), dtype=torch.float32)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the model be the running mean while the context lasts, if there is one."""
        for name, mean in self.average.items():
            self._write(name, self._joined(mean, name))
        try:
            yield
        finally:
            # the optimiser has the weights themselves
            for name in self.average:
                self._write(name, self._moment(name))

    def whole(self) -> dict[str, Tensor] | None:
        """Return all weights in host memory in the main process, None in others."""
        gathered = {}
        for name, weight in self.weights.items():
            with self._gathered(name):
                if self.mesh.rank == 0:
                    gathered[name] = weight.detach().to("cpu", copy=True)
        return gathered if self.mesh.rank == 0 else None

    def state(self) -> dict[str, Tensor]:
        """Return weights, moments and running mean by name, in host memory, cut by first axes.

        They are copies: they hold until the next step.
        """
        tensors: dict[str, Tensor] = {}
        for name, weight in self.weights.items():
            with self._gathered(name):
                tensors[f"model.{name}"] = self._cut(weight.detach())
                if self.config.ema_decay and name not in self.average:
                    tensors[f"average.{name}"] = self._cut(weight.detach())
            if name in self.trained:
                for moment in MOMENTS:
                    tensors[f"{moment}.{name}"] = self._cut(self._moment(name, moment))
        for name, mean in self.average.items():
            tensors[f"average.{name}"] = self._cut(self._joined(mean, name))
        self.given = tensors
        return tensors

    def restored(self, step: int) -> None:
        """Take up the run after so many steps; see ``Engine``."""
        for name in self.weights:
            value = self._filled(f"model.{name}")
            self._write(name, value)
            if name in self.trained:
                self._give(name, value)
                for moment in MOMENTS:
                    self._give(name, self._filled(f"{moment}.{name}"), moment)
            if name in self.average:
                self.average[name].copy_(self._own(self._filled(f"average.{name}")))
        for moments in self.optimizer.state.values():
            moments["step"].fill_(step)
        self.given = {}

    @property
    def _shares_weights(self) -> bool:
        return self.config.parallel.zero_stage == 3

    def _give_up_predict(self) -> None:
        """Let ``predict`` go through DeepSpeed, which knows modules by their call alone."""
        model, predict = self.model, self.model.predict
        precision: AbstractContextManager = nullcontext()

        def forward(*arguments: object, **told: object) -> Prediction:
            with precision:
                return predict(*arguments, **told)  # pyright: ignore[reportArgumentType]

        def through(coarse: Tensor, **told: object) -> Prediction:
            nonlocal precision
            device = coarse.device.type
            # DeepSpeed ends an autocast that is not its own: it begins again inside; its cache of
            # weights would keep what stage 3 lets go
            precision = torch.autocast(
                device,
                dtype=torch.get_autocast_dtype(device),
                enabled=torch.is_autocast_enabled(device),
                cache_enabled=False,
            )
            with torch.autocast(device, enabled=False):
                return self.engine(coarse, **told)

        model.forward = forward
        model.predict = through

    def _make_moments(self) -> None:
        """Make the moments, as AdamW does in its first step: a state has where to load to."""
        zero = self.zero
        flat = (
            zero.fp32_partitioned_groups_flat
            if self._shares_weights
            else zero.single_partition_of_fp32_groups
        )
        fused = self.optimizer.defaults["fused"]
        for part in flat:
            self.optimizer.state[part] = {
                "step": torch.zeros((), device=part.device if fused else "cpu"),
                **{moment: torch.zeros_like(part, requires_grad=False) for moment in MOMENTS},
            }
        if not self._shares_weights:
            # as DeepSpeed does after its first step
            zero._lazy_init_hp_params_optimizer_state()

    def _gathered(self, name: str) -> AbstractContextManager:
        """Let a weight be whole in all processes."""
        return self.deepspeed.zero.GatheredParameters([self.weights[name]])

    def _write(self, name: str, value: Tensor) -> None:
        """Write what the model computes with."""
        weight = self.weights[name]
        with (
            torch.no_grad(),
            self.deepspeed.zero.GatheredParameters([weight], modifier_rank=0),
        ):
            weight.data.copy_(value)

    def _moment(self, name: str, moment: str | None = None) -> Tensor:
        """Return what the optimiser has of a weight, whole: a moment, or the weight itself."""
        utils, weight = self.deepspeed.utils, self.weights[name]
        if moment is None:
            return utils.safe_get_full_fp32_param(weight).view(self.shapes[name])
        return utils.safe_get_full_optimizer_state(weight, moment).view(self.shapes[name])

    def _give(self, name: str, value: Tensor, moment: str | None = None) -> None:
        """Give the optimiser a weight or its moment."""
        utils, weight = self.deepspeed.utils, self.weights[name]
        key = [] if moment is None else [moment]
        if self._shares_weights:
            # of a whole one DeepSpeed 0.19 cannot cut a last part that is shorter than the others
            what = "fp32_param" if moment is None else "optimizer_state"
            getattr(utils, f"safe_set_local_{what}")(weight, self._own(value), *key)
        else:
            what = "fp32_param" if moment is None else "optimizer_state"
            getattr(utils, f"safe_set_full_{what}")(weight, value, *key)

    def _part(self, name: str) -> Tensor:
        """Return this process's part of a trained weight, flat."""
        weight = self.weights[name]
        if self._shares_weights:
            return self.deepspeed.utils.safe_get_local_fp32_param(weight)
        return self._own(weight.detach())

    def _own(self, whole: Tensor) -> Tensor:
        """Cut this process's part out of a whole tensor; parts are flat and of one size."""
        size = -(-whole.numel() // self.mesh.world)
        padded = nn.functional.pad(whole.flatten(), (0, size * self.mesh.world - whole.numel()))
        return padded[size * self.mesh.rank : size * (self.mesh.rank + 1)]

    def _joined(self, part: Tensor, name: str) -> Tensor:
        """Return the whole of which each process has a flat part."""
        shape = self.shapes[name]
        parts = [torch.empty_like(part) for _ in range(self.mesh.world)]
        dist.all_gather(parts, part.detach().contiguous())
        return torch.cat(parts)[: shape.numel()].view(shape)

    def _cut(self, whole: Tensor) -> Tensor:
        """Return a copy in host memory, of which each process has some rows."""
        if self.hosts is None:
            return whole.to("cpu", copy=True)
        parts = whole.chunk(self.mesh.world)
        part = parts[self.mesh.rank] if self.mesh.rank < len(parts) else whole[:0]
        return DTensor.from_local(
            part.to("cpu", copy=True),
            self.hosts,
            [Shard(0)],
            run_check=False,
            shape=whole.shape,
            stride=whole.stride(),
        )

    def _filled(self, name: str) -> Tensor:
        tensor = self.given[name]
        full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        return full.to(self.engine.device)


def _settings(config: TrainConfig, device: str) -> dict[str, Any]:
    """Return what DeepSpeed calls a config."""
    stage = config.parallel.zero_stage
    zero: dict[str, Any] = {"stage": stage}
    if stage == 3:
        zero["stage3_param_persistence_threshold"] = KEPT_WHOLE
    if config.parallel.offload:
        host = {"device": "cpu", "pin_memory": device == "cuda"}
        zero["offload_optimizer"] = host
        if stage == 3:
            zero["offload_param"] = host
    return {
        # DeepSpeed counts samples for its messages alone
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": config.accumulate,
        "gradient_clipping": config.optim.clip,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }


def _deepspeed(device: str) -> ModuleType:
    """Import DeepSpeed for a kind of device."""
    # it would take a GPU that it finds, and compile
    os.environ.setdefault("DS_ACCELERATOR", device)
    try:
        import deepspeed
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Wanted DeepSpeed for parallel.engine deepspeed, got: {error}. "
            "Install it: pip install orbitds[deepspeed]"
        ) from error
    # DeepSpeed 0.19 calls what torch 2.13 calls otherwise
    warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)
    # a kernel for sums in shared memory, which it would compile for a minute
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


@contextmanager
def _local_rank(device: str) -> Iterator[None]:
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
