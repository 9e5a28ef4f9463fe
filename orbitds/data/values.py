"""The values of a variable: missing, infinite and implausible ones, counted and refused."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

import numpy as np
import xarray as xr

from orbitds.variables import Variable, variable

Missing = Literal["error", "mask"]
# Constants that stand for a missing value in common files: netCDF's, CMIP's, of old formats.
FILL_VALUES = (9.969209968386869e36, 1e20, 1e30, 1e35, -9999.0, -9999.9, -999.0, -99.0, -32767.0,
               -32768.0, 32767.0, 9999.0, -1e20, -1e30, 3.4028234663852886e38,
               -3.4028234663852886e38)  # fmt: skip
# 0 degrees Celsius.
ZERO_C_K = 273.15
# A value that occurs so often among the implausible ones is a constant that was written there.
_OFTEN = 3


@dataclass
class Tally:
    """What is known of a variable's values after some of them; parts add up to the whole."""

    name: str
    cells: int = 0
    missing: int = 0
    infinite: int = 0
    implausible: int = 0
    """Outside the plausible interval, infinite ones included."""
    low: float = np.inf
    high: float = -np.inf
    constants: Counter = field(default_factory=Counter)
    """How often implausible values occur, by value."""

    def add(self, values: np.ndarray) -> np.ndarray | None:
        """Count values; return where they are implausible, None if nowhere."""
        row = variable(self.name)
        self.cells += values.size
        absent = int(np.isnan(values).sum())
        self.missing += absent
        if absent == values.size:
            return None
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        self.low, self.high = min(self.low, low), max(self.high, high)
        if row.plausible[0] <= low and high <= row.plausible[1]:
            return None
        strange = (values < row.plausible[0]) | (values > row.plausible[1])
        self.implausible += int(strange.sum())
        self.infinite += int(np.isinf(values).sum())
        found, counts = np.unique(values[strange], return_counts=True)
        often = np.argsort(counts)[::-1][:8]
        self.constants.update({float(found[k]): int(counts[k]) for k in often})
        return strange

    @property
    def fill(self) -> tuple[float, int] | None:
        """The constant that seems to stand for missing values, and how often it occurs."""
        finite = [(value, n) for value, n in self.constants.most_common() if np.isfinite(value)]
        for value, count in finite:
            if any(np.isclose(value, known, rtol=1e-6) for known in FILL_VALUES):
                return value, count
        if finite and finite[0][1] >= _OFTEN and 2 * finite[0][1] > self.implausible:
            return finite[0]
        return None

    def problem(self, missing: Missing | str) -> str | None:
        """Return why a run would refuse the values, None if it would not."""
        row = variable(self.name)
        # undecoded fill values explain implausible values better than NaN beside them does
        if self.implausible:
            return self._implausible(row)
        if self.missing == self.cells:  # a mask would not help
            return nothing_there(self.name, self.missing, self.cells)
        if self.missing and missing == "error":
            return (
                f"Wanted {self.name} without missing values, got NaN in {self.missing} of "
                f"{self.cells} cells. Fill them, cut the region to valid cells, or declare "
                "`missing: mask`: in the catalog, as --missing mask, or as missing='mask'."
            )
        return None

    def _implausible(self, row: Variable) -> str:
        low, high = row.plausible
        told = (
            f"Wanted {self.name} between {low:g} and {high:g} {row.units}, got "
            f"{self.low:g} to {self.high:g}, outside in {self.implausible} of "
            f"{self.cells} cells. "
        )
        if self.fill is None:
            if row.units == "K" and low <= self.low + ZERO_C_K and self.high + ZERO_C_K <= high:
                return told + "Correct the `units` attribute: they would be plausible in 'degC'."
            return told + "Check the unit and undecoded fill values."
        value, count = self.fill
        return told + (
            f"Check the unit and undecoded fill values: {value:g} {row.units} stands in {count} "
            "of them. Name it in the attribute _FillValue before decoding, or use ds.where."
        )


def nothing_there(name: str, missing: int, cells: int) -> str | None:
    """Return why a run refuses a variable without a single value, None if it has some.

    That of a whole dataset is a mistake, mask or not; a part of one may be all sea.
    """
    if missing < cells:
        return None
    return (
        f"Wanted values of {name}, got NaN in all of {cells} cells. "
        "Check the region, the period and the mask."
    )


def missing_of(ds: xr.Dataset) -> Missing:
    """Return what a dataset that went through the door says of missing values, else an error.

    Other people's files have attributes of this name as well, with fill values in them.
    """
    return "mask" if ds.attrs.get("missing") == "mask" else "error"


def check_missing(missing: str) -> Missing:
    """Return a policy for missing values, or refuse what is none.

    Raises
    ------
    ValueError
        If it is neither ``error`` nor ``mask``.
    """
    if missing not in get_args(Missing):
        raise ValueError(
            f"Wanted missing values to be an 'error' or a 'mask', got {missing!r}. "
            "Choose one of the two."
        )
    return cast("Missing", missing)


def check_values(name: str, values: np.ndarray, *, missing: str = "error") -> None:
    """Refuse values that are missing where none may be, infinite, or implausible.

    Raises
    ------
    ValueError
        With the count, the extremes, and the constant that seems to be a fill value.
    """
    tally = Tally(name)
    tally.add(values)
    problem = tally.problem(missing)
    if problem and (missing == "error" or tally.implausible):  # a block may be all sea
        raise ValueError(problem)
