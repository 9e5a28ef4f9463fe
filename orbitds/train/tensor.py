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

Pairs = tuple[tuple[str, str], ...]
# The matrices of a block that belong together, by name.
BLOCK_PAIRS: Pairs = (("query_key_value", "project"), ("mlp.0", "mlp.2"))


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
        parallelize_module(block, axis, _plan(BLOCK_PAIRS))
    parallelize_module(trunk.decode, axis, _plan(decoder_pairs(trunk.decode.hidden)))


def decoder_pairs(hidden: nn.Sequential) -> Pairs:
    """Return how the decoder's linear layers pair up; the last one, if alone, stays whole."""
    layers = [f"hidden.{place}" for place in range(0, len(hidden), 2)] + ["paint"]
    return tuple(zip(layers[::2], layers[1::2], strict=False))


def _plan(pairs: Pairs) -> dict[str, ParallelStyle]:
    plan: dict[str, ParallelStyle] = {}
    for first, second in pairs:
        plan |= {first: ColwiseParallel(), second: RowwiseParallel()}
    return plan
