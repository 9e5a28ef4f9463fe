"""Machines as networks: how long collective operations take by latency and bandwidth.

References
----------
Thakur, Rabenseifner, Gropp (2005), Optimization of collective communication operations in MPICH:
rings; Sanders, Speck, Traeff (2009), Two-tree algorithms for full bandwidth broadcast, reduction
and scan: trees.
"""

import math
from typing import NamedTuple


class Link(NamedTuple):
    """What a process sends and gets through."""

    latency_s: float
    """Of a step of an operation, its start included."""
    bytes_per_s: float
    """Of a process, in each direction."""

    def seconds(self, steps: float, sent: float) -> float:
        """Return the time of so many steps in which a process sends so many bytes in all."""
        return steps * self.latency_s + sent / self.bytes_per_s


class Network(NamedTuple):
    """Hosts of several GPUs, joined by a network that is never congested; and a GPU's memory."""

    name: str
    host: Link
    """Between GPUs of a host."""
    between: Link
    """Between hosts, the share of one GPU, while all of them talk."""
    host_source: str
    source: str
    """Of what is said of links within and between hosts; latencies are assumed."""
    memory_bytes_per_s: float
    """What a GPU reads from its memory and writes to it."""
    per_host: int = 8


def wire(operation: str, processes: int, size: float) -> tuple[float, float]:
    """Return steps of a ring, and the bytes that a process sends.

    Parameters
    ----------
    operation
        As of ``orbitds.train.traffic.Talk``.
    size
        Bytes of the whole tensor.

    Raises
    ------
    ValueError
        If the operation is not known.
    """
    others = processes - 1
    share = others / processes
    ways = {
        "all_gather": (others, share * size),
        "reduce_scatter": (others, share * size),
        "all_reduce": (2 * others, 2 * share * size),
        "all_to_all": (1 if others else 0, share * size),
        "pass_on": (1, size),
    }
    if operation not in ways:
        raise ValueError(f"Wanted one of {sorted(ways)}, got {operation!r}. Correct the name.")
    return ways[operation]


def seconds(
    network: Network, operation: str, size: float, *, processes: int, stride: int = 1
) -> float:
    """Return the time of one operation.

    Parameters
    ----------
    size
        Bytes of the whole tensor.
    processes
        Of the group.
    stride
        Processes from one member of the group to the next: of a group whose members lie on many
        hosts, others on the same hosts talk at the same time.

    Notes
    -----
    Over several hosts each GPU deals with its share of the tensor between hosts, and the shares are
    joined within: two rings, or where a sum is quicker so, a tree between hosts.
    """
    local = max(1, min(processes, network.per_host // stride))
    hosts = -(-processes // local)
    if hosts == 1:
        return network.host.seconds(*wire(operation, processes, size))
    if operation == "pass_on":
        return network.between.seconds(1, size)
    if operation == "all_to_all":
        within = network.host.seconds(1, size * (local - 1) / processes)
        return within + network.between.seconds(hosts - 1, size * (1 - 1 / hosts))
    within = network.host.seconds(*wire(operation, local, size))
    ring = network.between.seconds(*wire(operation, hosts, size / local))
    if operation != "all_reduce":
        return within + ring
    tree = network.between.seconds(2 * math.ceil(math.log2(hosts)), 2 * size / local)
    return within + min(ring, tree)
