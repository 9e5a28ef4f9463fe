"""An engine on DeepSpeed ZeRO, with the checkpoints and states of the one on PyTorch."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch.optim.swa_utils import get_ema_multi_avg_fn

from orbitds.config import TrainConfig
from orbitds.model.interface import DownscalingModel, Prediction
from orbitds.train.engine import Engine
from orbitds.train.mesh import Mesh
from orbitds.train.optim import learning_rate, make_adamw, make_moments
from orbitds.train.shard import compile_blocks, recompute
from orbitds.train.zero import MOMENTS, Weights, import_deepspeed, local_rank, settings_of


class DeepSpeedEngine(Engine):
    """An engine on DeepSpeed: what ``parallel.zero_stage`` says is shared among all processes.

    Weights, gradients and their sums are float32; where the config asks for bfloat16, products
    are computed in it, by autocast as in a run of one process.

    Parameters
    ----------
    model
        A built model; it is changed, and may be called by ``predict`` alone.

    Raises
    ------
    ModuleNotFoundError
        If DeepSpeed is not installed.
    ValueError
        If this process was started neither by torchrun nor by srun.

    Notes
    -----
    Autocast keeps bfloat16 copies of a block's weights from its forward to its backward pass, in
    stage 3 too; with ``checkpointing`` it makes them again.

    References
    ----------
    Rajbhandari et al. 2020, ZeRO: memory optimizations toward training trillion parameter models.
    """

    def __init__(self, model: DownscalingModel, config: TrainConfig, mesh: Mesh) -> None:
        if mesh.grid is None:
            raise ValueError(
                "Wanted processes started by torchrun or srun for parallel.engine deepspeed, got "
                "one started alone. Start it by `torchrun --nproc-per-node 1 train/run.py`, or "
                "take parallel.engine torch."
            )
        device = mesh.grid.device_type
        deepspeed = import_deepspeed(device)
        if config.checkpointing != "none":
            recompute(model, config.checkpointing)
        if config.compile:
            compile_blocks(model)
        self.model, self.mesh, self.config = model, mesh, config
        named = dict(model.named_parameters())
        self.trained = [name for name, weight in named.items() if weight.requires_grad]
        self.weights = Weights(deepspeed, named, mesh, config.parallel.zero_stage)
        self.optimizer = make_adamw(named, config.optim)
        self._predict_by_call()
        with local_rank(device):
            self.engine, self.zero, *_ = deepspeed.initialize(
                model=model, optimizer=self.optimizer, config=settings_of(config, device)
            )
        self._make_moments()
        self.hosts = init_device_mesh("cpu", (mesh.world,)) if mesh.world > 1 else None
        self.average: dict[str, Tensor] = {}
        if config.ema_decay:
            self.average = {name: self.weights.part(name).clone() for name in self.trained}
        self.given: Mapping[str, Tensor] = {}

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add the gradients of one part of a step; see ``Engine``."""
        self.engine.set_gradient_accumulation_boundary(last)
        self.zero.override_loss_scale(1.0)
        # DeepSpeed takes the mean over processes
        self.engine.backward(loss * self.mesh.world, scale_wrt_gas=False)

    def step(self, step: int, *, scale: Tensor) -> Tensor:
        """Scale, clip, update, and return the norm of the gradient before; see ``Engine``.

        Where the gradient is no number the weights stay as they are, and neither is its norm.
        """
        self.given = {}
        missing = torch.tensor(torch.nan)
        total = float(1 / scale)
        if not total > 0:
            return missing
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.config.optim, self.config.steps)
        # gradients are divided by it, then clipped
        self.zero.override_loss_scale(total)
        self.engine.step()
        if not self.engine.was_step_applied():
            return missing
        if self.average:
            # the first weights have no past
            mean_of = get_ema_multi_avg_fn(self.config.ema_decay if step else 0.0)
            parts = [self.weights.part(name) for name in self.average]
            mean_of(list(self.average.values()), parts, step)
        return torch.as_tensor(self.engine.get_global_grad_norm(), dtype=torch.float32)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the model be the running mean while the context lasts, if there is one."""
        for name, mean in self.average.items():
            self.weights.write(name, self.weights.joined(name, mean))
        try:
            yield
        finally:
            # the optimiser has the weights themselves
            for name in self.average:
                self.weights.write(name, self.weights.kept(name))

    def whole(self) -> dict[str, Tensor] | None:
        """Return all weights in host memory in the main process, None in others."""
        gathered = {}
        for name in self.weights.named:
            with self.weights.whole(name) as weight:
                if self.mesh.rank == 0:
                    gathered[name] = weight.to("cpu", copy=True)
        return gathered if self.mesh.rank == 0 else None

    def state(self) -> dict[str, Tensor]:
        """Return weights, moments and running mean by name: copies in host memory.

        Each process has some rows of each. What is written into them holds if ``restored`` is
        called before the next step.
        """
        tensors: dict[str, Tensor] = {}
        for name in self.weights.named:
            with self.weights.whole(name) as weight:
                tensors[f"model.{name}"] = self._rows(weight)
                if self.average and name not in self.average:
                    tensors[f"average.{name}"] = self._rows(weight)
        for name in self.trained:
            for moment in MOMENTS:
                tensors[f"{moment}.{name}"] = self._rows(self.weights.kept(name, moment))
        for name, mean in self.average.items():
            tensors[f"average.{name}"] = self._rows(self.weights.joined(name, mean))
        self.given = tensors
        return tensors

    def restored(self, step: int) -> None:
        """Take up the run after so many steps; see ``Engine``."""
        for name in self.weights.named:
            value = self._filled(f"model.{name}")
            self.weights.write(name, value)
            if name not in self.trained:
                continue
            self.weights.keep(name, value)
            for moment in MOMENTS:
                self.weights.keep(name, self._filled(f"{moment}.{name}"), moment)
            if self.average:
                mean = self._filled(f"average.{name}")
                self.average[name].copy_(self.weights.cut(mean))
        for moments in self.optimizer.state.values():
            moments["step"].fill_(step)
        self.given = {}

    def _predict_by_call(self) -> None:
        """Let ``predict`` be a call of the model, which is what DeepSpeed sees."""
        model, predict = self.model, self.model.predict
        precision: AbstractContextManager = nullcontext()

        def forward(*arguments: object, **told: object) -> Prediction:
            with precision:
                return predict(*arguments, **told)  # pyright: ignore[reportArgumentType]  as given

        def through(coarse: Tensor, **told: object) -> Prediction:
            nonlocal precision
            kind = coarse.device.type
            # DeepSpeed ends an autocast that is not its own, so it begins again inside; a cache
            # would keep copies of weights that stage 3 has let go
            precision = torch.autocast(
                kind,
                dtype=torch.get_autocast_dtype(kind),
                enabled=torch.is_autocast_enabled(kind),
                cache_enabled=False,
            )
            with torch.autocast(kind, enabled=False):
                return self.engine(coarse, **told)

        model.forward = forward  # pyright: ignore[reportAttributeAccessIssue]  what predict gives
        model.predict = through

    def _make_moments(self) -> None:
        """Make the moments of the parts that DeepSpeed has cut."""
        zero, cut = self.zero, self.weights.are_cut
        flat = zero.fp32_partitioned_groups_flat if cut else zero.single_partition_of_fp32_groups
        make_moments(self.optimizer, flat)
        if not cut:
            # as DeepSpeed does after its first step
            zero._lazy_init_hp_params_optimizer_state()

    def _rows(self, whole: Tensor) -> Tensor:
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
