"""What is done to a built model before it is trained: recompute, compile, shard, in that order."""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from orbitds.config import TrainConfig
from orbitds.model.block import Block
from orbitds.model.compiling import compiled
from orbitds.model.interface import DownscalingModel
from orbitds.train.mesh import Mesh

Recompute = Literal["selective", "full"]
# Blocks are gathered together until they hold so much: less is not worth a call of the network,
# nor what products lose while it waits for other processes.
GATHER_BYTES = 128 * 2**20
# Whole weights of blocks up to this size stay from the forward to the backward pass, more are
# gathered twice: on two H200 that takes 1.6 % more of a step of the 1B size.
KEEP_BYTES = 4 * 2**30


def blocks_of(model: nn.Module) -> list[Block]:
    """Return the transformer blocks of a model."""
    return [module for module in model.modules() if isinstance(module, Block)]


def recompute(model: nn.Module, how: Recompute) -> None:
    """Let the backward pass compute blocks again instead of keeping what is inside them.

    Parameters
    ----------
    how
        ``full``: a block keeps its input alone. ``selective``: also the results of its matrix
        products and of attention, which take the time.
    """
    context = partial(create_selective_checkpoint_contexts, _keep_products)
    chosen: dict = {"context_fn": context} if how == "selective" else {}
    for block in blocks_of(model):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, **chosen)


def compile_blocks(model: nn.Module) -> None:
    """Compile each block by itself."""
    for block in blocks_of(model):
        block.forward = compiled(block.forward)


def shard(model: DownscalingModel, mesh: Mesh, config: TrainConfig) -> None:
    """Share the weights among processes (FSDP2): each block gathers its own when it needs them.

    Blocks compute in bfloat16 where the config says so, from bfloat16 copies of float32 weights;
    their gradients are added up in ``parallel.reduce_dtype``, of weights that are also copied those
    of a batch's parts too. What lies outside of blocks stays in float32, as in autocast.

    References
    ----------
    Zhao et al. 2023, PyTorch FSDP; HSDP where the weights are both copied and shared.
    """
    weights = mesh.weights
    assert weights is not None
    # of a single copy nothing is added up
    over = weights["parts"] if weights.size(0) == 1 else weights
    # on a CPU all lies in host memory as it is
    offloads = config.parallel.offload and weights.device_type != "cpu"
    offload = CPUOffloadPolicy() if offloads else OffloadPolicy()
    of_blocks = MixedPrecisionPolicy(
        param_dtype=getattr(torch, config.dtype),
        reduce_dtype=getattr(torch, config.parallel.reduce_dtype),
        cast_forward_inputs=False,
    )
    blocks = blocks_of(model)
    twice = not stays_whole(count_weights(*blocks), config.dtype)
    for group in groups_of(blocks):
        fully_shard(
            group,
            mesh=over,
            mp_policy=of_blocks,
            offload_policy=offload,
            reshard_after_forward=twice,
        )
    fully_shard(model, mesh=over, offload_policy=offload)
    register_fsdp_forward_method(model, "predict")


def stays_whole(weights: int, dtype: str) -> bool:
    """Return whether so many weights of blocks are gathered once a step, not once each way."""
    return weights * width_of(dtype) <= KEEP_BYTES


def width_of(dtype: str) -> int:
    """Return the bytes of a number of a type, such as ``bfloat16``."""
    return getattr(torch, dtype).itemsize


def count_weights(*modules: nn.Module) -> int:
    """Return how many weights modules have."""
    return sum(weight.numel() for module in modules for weight in module.parameters())


def groups_of(blocks: list[Block]) -> list[list[nn.Module]]:
    """Return runs of blocks that are gathered together."""
    groups: list[list[nn.Module]] = []
    held = 0
    for block in blocks:
        if not groups or held >= GATHER_BYTES:
            groups.append([])
            held = 0
        groups[-1].append(block)
        held += sum(weight.nbytes for weight in block.parameters())
    return groups


def local(tensor: Tensor) -> Tensor:
    """Return this process's part of a tensor; the tensor itself if it is whole."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def like(part: Tensor, whole: Tensor) -> Tensor:
    """Return a tensor whose part in this process is given, laid out as another one."""
    if not isinstance(whole, DTensor):
        return part
    return DTensor.from_local(
        part,
        whole.device_mesh,
        whole.placements,
        run_check=False,
        shape=whole.shape,
        stride=whole.stride(),
    )


def is_last_part(model: FSDPModule, *, last: bool) -> None:
    """Say whether the next backward pass is the last of a step: copies add gradients up then."""
    model.set_requires_all_reduce(last)
    model.set_is_last_backward(last)


def release(model: nn.Module) -> None:
    """Let go of weights that are still whole: the next pass gathers them as they are then."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def _keep_products(
    _context: object, operation: object, *_: object, **__: object
) -> CheckpointPolicy:
    name = str(operation)
    kept = (
        "aten.mm.",
        "aten.addmm.",
        "aten.bmm.",
        "scaled_dot_product",
        "all_to_all",
        "flash_attn",
    )
    if any(word in name for word in kept):
        return CheckpointPolicy.MUST_SAVE
    return CheckpointPolicy.PREFER_RECOMPUTE
