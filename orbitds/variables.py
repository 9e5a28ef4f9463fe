"""The vocabulary: one row per variable with its CF name, unit, transform and ranges."""

import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

from orbitds.resources import did_you_mean, read_yaml, share
from orbitds.schema import Frozen, parse

TABLE = "data_catalog/variables.yaml"
# `2m_temperature@-1`: the same variable one time step earlier.
_EARLIER = re.compile(r"(?P<name>.+)@-(?P<steps>[1-9]\d*)")


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
    at_most: str | None = None
    """Variable of the same quantity that this one never exceeds: a daily mean, for its minimum."""
    at_least: str | None = None
    """Variable of the same quantity that this one never falls below."""
    plausible: tuple[float, float]
    """Values outside this interval are taken for a mistake in the data."""
    range: float
    """Fixed data range for PSNR and SSIM."""
    loss_weight: float = 1.0
    """Weight of the variable in the training loss."""
    kind: Literal["state", "flux", "static"] = "state"
    """Whether a value holds at an instant, over a period, or for ever."""
    period: Literal["day", "month"] | None = None
    """What an amount is summed over; None for what is no amount."""
    cell_methods: str | None = None
    """What a value is of its time, in CF's words: an extreme, a sum, a mean; None if any."""
    level_hpa: float | None = None
    """Pressure level, for a row that stands for one level."""
    profiles: tuple[str, ...] = ()
    """Names under which data carry the field on several levels, along a dimension of levels."""
    aliases: tuple[str, ...] = ()
    """Other names under which data sets carry the variable."""

    @property
    def component(self) -> Literal["eastward", "northward"] | None:
        """The direction that a component of a vector points to, which its CF name says."""
        words = (self.standard_name or "").split("_")
        return next((way for way in ("eastward", "northward") if way in words), None)

    @property
    def references(self) -> tuple[str, ...]:
        """The variables that this one is ordered by."""
        return tuple(name for name in (self.at_most, self.at_least) if name is not None)


@cache
def table() -> dict[str, Variable]:
    """Return the shipped vocabulary, by name."""
    found = read_yaml(share(TABLE))
    rows = {
        name: parse(Variable, {"name": name} | row, source=TABLE)
        for written, content in found.items()
        for name, row in _on_levels(written, content).items()
    }
    _check_order(rows)
    return rows


def variable(name: str) -> Variable:
    """Return the row of a variable, by its name or one of its aliases.

    ``2m_temperature@-1``, the variable one time step earlier, has the row of ``2m_temperature``.

    Raises
    ------
    KeyError
        If the name is not in the vocabulary; the message names the nearest one.
    """
    rows = table()
    plain, _ = without_steps(name)
    if plain in rows:
        return rows[plain]
    for row in rows.values():
        if plain in row.aliases:
            return row
    hint = did_you_mean(plain, [*rows, *(alias for row in rows.values() for alias in row.aliases)])
    raise KeyError(
        f"Wanted a variable of data_catalog/variables.yaml, got {name!r}.{hint} "
        "Rename the variable, or add a row for it."
    )


def without_steps(name: str) -> tuple[str, int]:
    """Return the name without its suffix ``@-k``, and k, the time steps that it lies earlier."""
    earlier = _EARLIER.fullmatch(name)
    return (earlier["name"], int(earlier["steps"])) if earlier else (name, 0)


def _on_levels(name: str, row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the row, or the rows of its pressure levels with what differs there."""
    if "levels" not in row:
        return {name: row}
    family = {key: value for key, value in row.items() if key != "levels"}
    short = family.get("aliases", ())
    return {
        f"{name}_{level}": family
        | {
            "long_name": f"{family.get('long_name', name)} at {level} hPa",
            "level_hpa": level,
            "profiles": (name, *short),
            "aliases": tuple(f"{alias}{mark}{level}" for alias in short for mark in ("", "_")),
        }
        | (own or {})
        for level, own in row["levels"].items()
    }


def _check_order(rows: dict[str, Variable]) -> None:
    """Refuse variables that are ordered by what is not there, or is not the same quantity."""
    for row in rows.values():
        for other in row.references:
            if other not in rows:
                raise ValueError(
                    f"{TABLE}: wanted a row that {row.name!r} is ordered by, got {other!r}, which "
                    f"is none.{did_you_mean(other, rows)} Correct the name, or add the row."
                )
            if rows[other].units != row.units:
                raise ValueError(
                    f"{TABLE}: wanted {row.name!r} in the unit of {other!r}, which it is ordered "
                    f"by, got {row.units!r} and {rows[other].units!r}. Change one of the two."
                )
    try:
        TopologicalSorter({row.name: row.references for row in rows.values()}).prepare()
    except CycleError as error:
        raise ValueError(
            f"{TABLE}: wanted variables of which only one names the other in at_most or at_least, "
            f"got the circle {' - '.join(error.args[1])}. Drop one of the two."
        ) from None
