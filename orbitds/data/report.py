"""What a check of a dataset found, as plain values."""

from orbitds.schema import Frozen


class VariableCheck(Frozen):
    """One wanted variable: where it was found, and what its values are."""

    name: str
    """Name in the vocabulary."""
    found_as: str | None = None
    """The caller's name, with the dimension of its level."""
    units_found: str | None = None
    """Unit of the data, or what the caller states."""
    units: str
    """Unit of the vocabulary, and of all numbers here."""
    minimum: float | None = None
    mean: float | None = None
    """Mean over all cells with a value, by their area."""
    maximum: float | None = None
    cells: int = 0
    """Cells of all times that were read."""
    missing: int = 0
    """Cells that are NaN."""
    infinite: int = 0
    implausible: int = 0
    """Cells outside the plausible interval, infinite ones included."""
    first_place: str | None = None
    """Time, latitude and longitude of the first implausible cell, or of the first missing one."""
    problem: str | None = None
    """Why a run refuses the variable."""
    notes: tuple[str, ...] = ()
    """What a run accepts, but people should know."""


class TimesCheck(Frozen):
    """The time axis."""

    count: int
    first: str | None = None
    last: str | None = None
    calendar: str | None = None
    step: str | None = None
    """Such as ``1 day``, ``1 month``, ``irregular``."""
    missing_steps: int = 0
    """Steps that a regular axis leaves out."""
    gap: tuple[str, str] | None = None
    """The times on both sides of the first gap."""


class GridCheck(Frozen):
    """The grid, with rows from north to south and columns from west to east."""

    rows: int
    columns: int
    spacing_deg: tuple[float, float]
    spacing_km: float
    latitude: tuple[float, float]
    longitude: tuple[float, float]
    periodic: bool


class Unknown(Frozen):
    """A variable of the data that is none of the vocabulary."""

    name: str
    nearest: str | None = None
    """The name of the vocabulary that is most like it."""


class Report(Frozen):
    """What a dataset holds, and whether a run would accept it."""

    variables: tuple[VariableCheck, ...]
    grid: GridCheck | None = None
    times: TimesCheck | None = None
    unknown: tuple[Unknown, ...] = ()
    problems: tuple[str, ...] = ()
    """Why a run refuses the dataset as a whole."""
    notes: tuple[str, ...] = ()

    @property
    def is_accepted(self) -> bool:
        """Whether a run would accept the data."""
        return not self.problems and all(row.problem is None for row in self.variables)
