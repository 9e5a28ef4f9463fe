"""The processes of a run as a grid, whose axes say what they share."""

import math
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from orbitds.config import ParallelConfig
from orbitds.train.launch import Launch

# From the outermost to the innermost: what talks most lies on one host.
AXES = ("replicate", "tiles", "shard", "sequence", "channel", "tensor")
DATA = ("replicate", "tiles", "shard")
"""Axes along which samples differ."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """The processes of a run.

    Along all axes but ``tensor`` gradients are partial, and those of a step are their sum: a
    process divides its weighted sum of the loss by the weights of the whole batch, and by the
    number of processes that compute the same loss (``same``).
    """

    sizes: dict[str, int]
    """Processes along each axis, in the order of ``AXES``."""
    rank: int
    grid: DeviceMesh | None = None
    """All axes; None where one process is alone."""
    sharing: DeviceMesh | None = None
    """Copies of the weights, by the processes that share one, by those that share a matrix."""
    sums: dist.ProcessGroup | None = None
    """The processes over which losses and gradients are added."""

    @property
    def world(self) -> int:
        """Number of processes."""
        return math.prod(self.sizes.values())

    @property
    def data_world(self) -> int:
        """Number of processes, or groups of them, that see different samples."""
        return math.prod(self.sizes[axis] for axis in DATA)

    @property
    def data_rank(self) -> int:
        """Number of this one among those."""
        return self.rank // self.same // self.sizes["tensor"]

    @property
    def same(self) -> int:
        """Processes that compute the same loss, each with a part of the gradient."""
        return self.sizes["sequence"] * self.sizes["channel"]

    def axis(self, name: str) -> DeviceMesh | None:
        """Return one axis; None if it has one process."""
        return None if self.grid is None or self.sizes[name] == 1 else self.grid[name]

    def group(self, name: str) -> dist.ProcessGroup | None:
        """Return the processes along one axis; None if there is one."""
        axis = self.axis(name)
        return None if axis is None else axis.get_group()

    @property
    def weights(self) -> DeviceMesh | None:
        """Copies of the weights by the processes that share one; None if tensor is the only axis.

        Processes that share tokens or channels share the weights as well, since their gradients
        are added like those of other samples.
        """
        if self.sharing is None or self.world == self.sizes["tensor"]:
            return None
        return self.sharing["copies", "parts"]

    @property
    def is_shared(self) -> bool:
        """Whether several processes share a copy of the weights; ``tensor`` does not count."""
        return self.sizes["shard"] * self.same > 1

    @property
    def matrices(self) -> DeviceMesh | None:
        """The processes that share each matrix of the blocks; None if there is one."""
        return None if self.sharing is None or self.sizes["tensor"] == 1 else self.sharing["tensor"]

    @property
    def addends(self) -> dist.ProcessGroup | None:
        """The processes over which losses and gradients are added; None if there is one."""
        return None if self.world == self.sizes["tensor"] else self.sums


ONE = Mesh(dict.fromkeys(AXES, 1), 0)
"""One process alone."""


def make_mesh(config: ParallelConfig, launch: Launch, device: torch.device) -> Mesh:
    """Lay the processes of a run out.

    Raises
    ------
    ValueError
        If the product of the sizes is not their number.
    """
    fixed = {axis: getattr(config, axis) for axis in AXES if axis != "shard"}
    others = math.prod(fixed.values())
    shard = config.shard or max(launch.world // others, 1)
    if shard * others != launch.world:
        told = " x ".join(f"{axis} {size}" for axis, size in {**fixed, "shard": shard}.items())
        raise ValueError(
            f"Wanted as many processes as the product of parallel's sizes, {told} = "
            f"{shard * others}, got {launch.world}. Change the sizes, or start "
            f"{shard * others} processes."
        )
    sizes = {axis: shard if axis == "shard" else fixed[axis] for axis in AXES}
    if launch.master is None:
        return Mesh(sizes, launch.rank)

    def grid(**axes: int) -> DeviceMesh:
        return init_device_mesh(device.type, tuple(axes.values()), mesh_dim_names=tuple(axes))

    # three views of the same processes, for what is added up or shared goes over several axes
    copies = sizes["replicate"] * sizes["tiles"]
    parts = shard * sizes["sequence"] * sizes["channel"]
    tensor = sizes["tensor"]
    return Mesh(
        sizes,
        launch.rank,
        grid(**sizes),
        grid(copies=copies, parts=parts, tensor=tensor),
        grid(sums=copies * parts, tensor=tensor).get_group("sums"),
    )
