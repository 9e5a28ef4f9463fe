"""Units: what a caller's values are in, converted to the vocabulary's, or refused."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import numpy as np
import xarray as xr

from orbitds.data.times import DAY_S, cadence, days_in_month
from orbitds.variables import Variable, table

# Standard gravity (CGPM 1901): geopotential over geopotential height.
GRAVITY = 9.80665
# A water column of 1 kg m-2 is 1 mm high at 1000 kg m-3.
WATER_KG_M3 = 1000.0
# Steps this near to the period of an amount are that period.
_SLACK = 0.01
# What data sets write for units that have another spelling.
_SPELLINGS = {
    "(0 - 1)": "1",
    "(0-1)": "1",
    "0-1": "1",
    "fraction": "1",
    "dimensionless": "1",
    "unitless": "1",
    "proportion": "1",
    "Kelvin": "K",
    "deg C": "degC",
    "deg. C": "degC",
    "degrees C": "degC",
    "degrees Celsius": "degC",
    "m of water equivalent": "m",
    "mm of water equivalent": "mm",
    "mm w.e.": "mm",
    "m w.e.": "m",
}
# Words that people write inside a unit, to find the nearest reading of what is none.
_WORDS = {
    "kelvins": "K",
    "mon": "month",
    "mth": "month",
    "dy": "day",
    "hrs": "hour",
    "percentage": "percent",
    "pct": "percent",
    "millimeters": "mm",
    "millimetres": "mm",
    "meters": "m",
    "metres": "m",
    "sec": "s",
    "per": "/",
}
Factor = float | xr.DataArray


def convert(
    field: xr.DataArray,
    row: Variable,
    *,
    time: xr.DataArray | None = None,
    units: str | None = None,
    amounts: Literal["whole", "parts"] = "whole",
) -> xr.DataArray:
    """Return a field in the unit of its row, lazily.

    Besides what pint converts, 1 kg m-2 of water is 1 mm, and 9.80665 m2 s-2 of geopotential are
    1 m. A rate becomes the amount of the row's period: a day, or the month of each time by its own
    calendar.

    Parameters
    ----------
    time
        The times of the field, a scalar for a single map; needed for amounts.
    units
        What the caller states; instead of the attribute ``units``.
    amounts
        ``whole``: an amount is that of the row's period, or refused. ``parts``: it is that of the
        time step, and so is what a rate becomes.

    Raises
    ------
    ValueError
        If there is no unit, it does not convert, or an amount is of another period than the row's.
    """
    given = field.attrs.get("units") if units is None else units
    if given is None:
        raise ValueError(
            f"Wanted {row.name} with its unit, got no `units` attribute. "
            f"State it: ds[{str(field.name)!r}].attrs['units'] = {row.units!r}, if that is it."
        )
    scale, offset, per = _affine(given, row)
    if row.period is not None and amounts == "whole":
        _check_period(field, row, time, per=per, given=str(given))
    if per is not None:
        scale = scale * (_length(row, per, time) if amounts == "whole" else _step(per, time))
    if isinstance(scale, xr.DataArray) or (scale, offset) != (1.0, 0.0):
        # integers would lose what stands behind the point
        dtype = field.dtype if field.dtype.kind == "f" else np.float32
        attributes, dims = field.attrs, field.dims
        field = (field * scale + offset).astype(dtype).transpose(*dims).assign_attrs(attributes)
    return field.assign_attrs(units=row.units)


def _affine(given: object, row: Variable) -> tuple[float, float, str | None]:
    """Return scale, offset, and of a rate the period it is per: a name of pint's."""
    units = str(given)
    found = _try(units, row)
    if found is None:
        near = _nearest(units, row)
        raise ValueError(
            f"Wanted {row.name} in {row.units!r} or a unit that converts to it, got {given!r}. "
            "Correct the `units` attribute, or convert the data."
            + (f" Did you mean {near!r}?" if near else "")
        )
    return found


def _try(units: str, row: Variable) -> tuple[float, float, str | None] | None:
    """Return how a unit becomes the row's, None if it does not."""
    units = _SPELLINGS.get(units.strip(), units)
    if units == row.units:
        return 1.0, 0.0, None
    try:
        return _by_pint(units, row.units, is_amount=row.period is not None)
    except Exception:
        return None


@cache
def _by_pint(units: str, wanted: str, *, is_amount: bool) -> tuple[float, float, str | None]:
    """Return scale, offset and period; raises one of many errors where units do not convert."""
    from cf_xarray.units import units as pint_units

    registry: Any = pint_units

    def magnitude(quantity: Any) -> float:  # noqa: ANN401  pint's
        return float(quantity.to(wanted).magnitude)

    found, aim = registry.Quantity(1.0, units), registry.Unit(wanted)
    if found.is_compatible_with(aim):
        zero, one = (magnitude(registry.Quantity(value, units)) for value in (0.0, 1.0))
        return one - zero, zero, None
    if not is_amount:
        gravity, length = registry.Quantity(GRAVITY, "m s-2"), {"[length]": 1}
        if aim.dimensionality == length:
            return magnitude(found / gravity), 0.0, None
        if found.dimensionality == length:
            return magnitude(found * gravity), 0.0, None
        raise ValueError(units)
    if "[mass]" in found.dimensionality:
        found = found / registry.Quantity(WATER_KG_M3, "kg m-3")
    if found.dimensionality == {"[length]": 1}:
        return magnitude(found), 0.0, None
    per = "month" if "month" in str(found.units) else "day"
    return magnitude(found * registry.Quantity(1.0, per)), 0.0, per


def _length(row: Variable, per: str, time: xr.DataArray | None) -> Factor:
    """Return how often the period of a rate fits into that of the row."""
    if per == row.period:
        return 1.0
    if row.period == "month":
        if time is None:
            raise ValueError(
                f"Wanted the dates of {row.name}, since a month's amount is a rate times its "
                "length, got none. Give the data a time coordinate, or convert them to amounts."
            )
        return days_in_month(time).astype(np.float64)
    raise ValueError(
        f"Wanted {row.name}, which is summed over a {row.period}, got a rate per {per}. "
        f"Give daily data, or name the variable of a {per}: {_of_period(row, per) or 'none known'}."
    )


def _step(per: str, time: xr.DataArray | None) -> float:
    """Return how many of the periods of a rate a time step is."""
    found = None if time is None or time.ndim == 0 else cadence(time)
    if found is None or per != "day":
        raise ValueError(
            "Wanted a rate and at least two dates, to know the amount of each step, got a rate per "
            f"{per} {'without dates' if found is None else f'every {found.every}'}. "
            "Give more times."
        )
    return found.step_s / DAY_S


def _check_period(
    field: xr.DataArray, row: Variable, time: xr.DataArray | None, *, per: str | None, given: str
) -> None:
    """Refuse amounts whose time step is not what the row is summed over."""
    found = None if time is None or time.ndim == 0 else cadence(time)
    if found is None:  # a single time says nothing of its step
        return
    shortest, longest = (1, 1) if row.period == "day" else (28, 31)
    step_days = found.step_s / DAY_S
    if step_days < shortest * (1 - _SLACK):
        raise ValueError(
            f"Wanted {row.name}, which is summed over a {row.period}, got {field.name!r} in "
            f"{given!r} every {found.every}. Prepare the data, which sums them up: orbitds prepare."
        )
    # a rate holds over any step, and a name of the vocabulary says itself what it is summed over
    is_told = per is not None or field.name == row.name
    if step_days > longest * (1 + _SLACK) and not is_told:
        raise ValueError(
            f"Wanted {row.name}, which is summed over a {row.period}, got {field.name!r} in "
            f"{given!r} every {found.every}, but not the period that it is of. State it if it is a "
            f"mean rate: ds[{str(field.name)!r}].attrs['units'] = '{given} {row.period}-1'. Rename "
            f"it if it is of one {row.period}: ds.rename({{{str(field.name)!r}: {row.name!r}}})."
        )


def _nearest(units: str, row: Variable) -> str | None:
    """Return the reading of what is no unit that would convert, if there is one."""
    plain = re.sub(r"[(\[].*", "", units).strip()
    words = re.sub(r"[A-Za-z]+", lambda word: _WORDS.get(word[0].lower(), word[0]), plain)
    for guess in (plain, plain.split(",")[0], plain.split(";")[0], words, words.replace("/ ", "/")):
        if guess and guess != units and _try(guess, row) is not None:
            return guess
    return None


def _of_period(row: Variable, period: str) -> str:
    """Name the variables of the same quantity over another period."""
    same = [
        other.name
        for other in table().values()
        if other.period == period and _stem(other) == _stem(row)
    ]
    return ", ".join(same)


def _stem(row: Variable) -> str:
    """Return a name without its last word, the period."""
    return row.name.rpartition("_")[0]


def units_of(stated: Mapping[str, str] | None, name: str, theirs: str) -> str | None:
    """Return what a caller states of a variable, under our name or the caller's."""
    return None if stated is None else stated.get(name, stated.get(theirs))
