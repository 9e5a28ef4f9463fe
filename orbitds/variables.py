"""The vocabulary: one row per variable with its CF name, unit, transform and ranges."""

from functools import cache
from typing import Literal

from orbitds.resources import did_you_mean, read_yaml, share
from orbitds.schema import Frozen, parse

TABLE = "data_catalog/variables.yaml"


class Variable(Frozen):
    """What orbitds knows of one physical variable: a row of ``data_catalog/variables.yaml``."""

    name: str
    """Name in orbitds, in checkpoints and in output files."""
    standard_name: str | None = None
    """CF standard name, where there is one."""
    long_name: str
    """Name for people, used on figures."""
    units: str
    """Unit of every physical value of this variable in orbitds, in UDUNITS spelling."""
    transform: Literal["zscore", "log1p"] = "zscore"
    """How values are normalised for the model."""
    minimum: float | None = None
    """Physical lower bound, enforced on output."""
    maximum: float | None = None
    """Physical upper bound, enforced on output."""
    plausible: tuple[float, float]
    """Values outside this interval are taken for a mistake in the data."""
    range: float
    """Fixed data range for PSNR and SSIM."""
    loss_weight: float = 1.0
    """Weight of the variable in the training loss."""
    kind: Literal["state", "flux", "static"] = "state"
    """Whether a value holds at an instant, over a period, or for ever."""
    aliases: tuple[str, ...] = ()
    """Other names under which data sets carry the variable."""


@cache
def table() -> dict[str, Variable]:
    """Return the shipped vocabulary, by name."""
    rows = read_yaml(share(TABLE))
    return {name: parse(Variable, {"name": name} | row, source=TABLE) for name, row in rows.items()}


def variable(name: str) -> Variable:
    """Return the row of a variable, by its name or one of its aliases.

    Raises
    ------
    KeyError
        If the name is not in the vocabulary; the message names the nearest one.
    """
    rows = table()
    if name in rows:
        return rows[name]
    for row in rows.values():
        if name in row.aliases:
            return row
    hint = did_you_mean(name, [*rows, *(alias for row in rows.values() for alias in row.aliases)])
    raise KeyError(
        f"Wanted a variable of data_catalog/variables.yaml, got {name!r}.{hint} "
        "Rename the variable, or add a row for it."
    )
