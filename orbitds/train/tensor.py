"""Tensor parallelism: processes share each matrix of the blocks and of the decoder."""

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    parallelize_module,
)

from orbitds.model.block import Block
from orbitds.model.trunk import Trunk


def share_matrices(trunk: Trunk, axis: DeviceMesh) -> None:
    """Let the processes along an axis share the matrices of the trunk, in pairs.

    Of each pair the first is cut by its outputs, whole heads in attention, and the second by its
    inputs, so that they talk once a pair. Norms, embeddings and the aggregation over variables stay
    whole. What the processes return is the same, and so are the gradients of whole weights.

    Parameters
    ----------
    trunk
        Changed in place, before its weights are sharded by FSDP: the matrices become ``DTensor``,
        with the values that the first process has. All processes are to be given the same samples
        and random numbers.

    Raises
    ------
    ValueError
        If heads or widths cannot be cut into equal parts.
    """
    processes = axis.size()
    for block in trunk.blocks:
        assert isinstance(block, Block)
        first = block.mlp[0]
        assert isinstance(first, nn.Linear)
        heads = block.query_key_value.out_features // (3 * block.head_width)
        for what, count in (("heads", heads), ("hidden units of a block", first.out_features)):
            if count % processes:
                raise ValueError(
                    f"Wanted a parallel.tensor that divides the {count} {what}, got {processes}. "
                    "Change it, or model.heads, model.width and model.mlp_ratio."
                )
        plan: dict[str, ParallelStyle] = {
            "query_key_value": ColwiseParallel(),
            "project": RowwiseParallel(),
            "mlp.0": ColwiseParallel(),
            "mlp.2": RowwiseParallel(),
        }
        parallelize_module(block, axis, plan)
    parallelize_module(trunk.decode, axis, _pairs(trunk.decode.hidden))


def _pairs(hidden: nn.Sequential) -> dict[str, ParallelStyle]:
    """Return how the decoder's linear layers pair up; the last one, if alone, stays whole."""
    layers = [f"hidden.{place}" for place in range(0, len(hidden), 2)] + ["paint"]
    plan: dict[str, ParallelStyle] = {}
    for first, second in zip(layers[::2], layers[1::2], strict=False):
        plan |= {first: ColwiseParallel(), second: RowwiseParallel()}
    return plan
