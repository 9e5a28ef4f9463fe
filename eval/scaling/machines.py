"""The machines that predictions are made for."""

from collections.abc import Mapping
from typing import Any

from scaling.network import Link, Network, wire
from scaling.probe import fit

from orbitds.train.speed import peak_of

# Of what data sheets say of memory and NVLink, assumed.
REACHED = 0.8
H200 = Network(
    "H200, InfiniBand",
    Link(20e-6, REACHED * 450e9),
    Link(20e-6, 50e9),
    "within a host NVLink, 450 GB/s each way (data sheet), of which 0.8 is assumed to be reached",
    "one 400 Gbit/s adapter a GPU as in a DGX H200",
    REACHED * 4.8e12,
)
FRONTIER = Network(
    "Frontier",
    Link(20e-6, 50e9),
    Link(20e-6, 12.5e9),
    "50 to 100 GB/s between GPUs of a node, Frontier User Guide of OLCF",
    "four links of 25 GB/s for the 8 GPUs of a node, likewise",
    REACHED * 1.6e12,  # of half an MI250X
)


def with_host(network: Network, measured: Mapping[str, Any]) -> Network:
    """Return a network with the host's link as timed; as stated where nothing was."""
    points = [
        (*wire(row["operation"], row["processes"], row["bytes"]), row["s"])
        for row in measured.get("probe", ())
        if "s" in row
    ]
    if not points:
        return network
    return network._replace(
        name=f"{measured['device']}, InfiniBand",
        host=Link(*fit(points)),
        host_source="within a host fitted to timed collectives",
    )


def slower_than_measured(name: str) -> float:
    """Return how much longer a device computes than an H200, at the same share of its peak."""
    own, other = peak_of("H200", "bfloat16"), peak_of(name, "bfloat16")
    assert own is not None
    if other is None:
        raise ValueError(
            f"Wanted a device whose peak is known, got {name!r}. Add it to speed.PEAK."
        )
    return own / other
