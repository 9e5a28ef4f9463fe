"""A sample shared by several processes: its tokens, its variables, the matrices it meets."""

from orbitds.config import ParallelConfig
from orbitds.model.interface import DownscalingModel
from orbitds.model.reslim import Reslim
from orbitds.model.vit import ViT
from orbitds.train.channel import share_variables
from orbitds.train.mesh import Mesh
from orbitds.train.sequence import share_tokens
from orbitds.train.tensor import share_matrices


def share_samples(model: DownscalingModel, mesh: Mesh, config: ParallelConfig) -> None:
    """Let processes share samples along those axes of a mesh that have several.

    Gradients are then partial sums along ``sequence`` and ``channel``, as ``Mesh`` says, and whole
    along ``tensor``.

    Parameters
    ----------
    model
        Changed in place, on its device, before activation checkpointing, compilation and FSDP.

    Raises
    ------
    ValueError
        If the model cannot be shared so.
    TypeError
        If it is no model that can be shared.
    """
    tensor, channel, sequence = mesh.matrices, mesh.group("channel"), mesh.group("sequence")
    if tensor is channel is sequence is None:
        return
    if not isinstance(model, Reslim | ViT):
        raise TypeError(
            f"Wanted a Reslim or a ViT where processes share a sample, got {type(model).__name__}. "
            "Set parallel.sequence, parallel.channel and parallel.tensor to 1."
        )
    if tensor is not None:  # first: what is left of the heads is what sequences are shared by
        share_matrices(model.trunk, tensor)
    if channel is not None:
        share_variables(model.trunk.aggregate, channel)
    if sequence is not None:
        share_tokens(model.trunk, sequence, by=config.sequence_by)
