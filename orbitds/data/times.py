"""The time axis of a dataset: in order, each time once, and how far apart."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from orbitds.data.axes import is_dates

DAY_S = 86400
# Months are 28 to 31 days apart, so that steps from here on may be whole months.
_MONTH_S = 28 * DAY_S
# In which units steps are told, the largest first.
_SECONDS = {"day": DAY_S, "hour": 3600, "minute": 60, "second": 1}
_MONTHS = {"year": 12, "month": 1}
_STEPS = {"step": 1}


@dataclass(frozen=True)
class Cadence:
    """How the times of an axis follow each other."""

    label: str
    """The step for people: ``1 day``, ``6 hours``, ``1 month``, ``irregular``."""
    step_s: float
    """Median distance of neighbours in seconds."""
    missing: int = 0
    """Steps that a regular axis leaves out."""
    gap: tuple[str, str] | None = None
    """The times on both sides of the first of them."""

    @property
    def every(self) -> str:
        """The step as it follows the word: every ``day``, every ``6 hours``."""
        return self.label.removeprefix("1 ")


def check_times(time: xr.DataArray) -> None:
    """Refuse times that are no dates, not in order, or there twice.

    Times that are mere numbers without a unit count steps, and pass.

    Raises
    ------
    ValueError
        With the first place and what to do.
    """
    name, units = time.name, str(time.attrs.get("units", ""))
    if time.dtype.kind in "fiu" and " since " in units:
        raise ValueError(
            f"Wanted times as dates, got the numbers {time.values.flat[0]:g}, ... with the unit "
            f"{units!r}. Give them their dates: xr.decode_cf(ds)."
        )
    if time.dtype.kind in "US" or (time.dtype == object and not is_dates(time)):
        raise ValueError(
            f"Wanted times as dates, got text such as {str(time.values.flat[0])!r}. Give it as "
            f"dates: ds.assign_coords({name}=pd.to_datetime(ds[{name!r}])), or rename the axis."
        )
    index = time.to_index()
    if index.hasnans:
        raise ValueError(
            f"Wanted a date at each time, got {int(index.isna().sum())} of {index.size} missing. "
            f"Drop them: ds.dropna({name!r}, subset=[...]) or ds.isel({name}=...)."
        )
    if not index.is_unique:
        twice = index[index.duplicated()]
        raise ValueError(
            f"Wanted each time once, got {len(twice)} of {index.size} times again, the first "
            f"{_text(twice[0])}. Drop them: ds.drop_duplicates({name!r}), if they are the same."
        )
    if not index.is_monotonic_increasing:
        place = int(np.argmax(index[1:] < index[:-1]))
        raise ValueError(
            f"Wanted times in order, got {_text(index[place])} before {_text(index[place + 1])}. "
            f"Change the order: ds.sortby({name!r})."
        )


def check_unbroken(time: xr.DataArray, *, source: str = "the data") -> None:
    """Refuse an axis that leaves out steps: earlier times are then not where they seem.

    Months are a step too, whatever their length; mere numbers may be any step apart.

    Raises
    ------
    ValueError
        With the number of steps left out and the first gap; or as ``check_times``.
    """
    check_times(time)
    if time.size < 2:
        return
    found = cadence(time)
    if found is None:  # numbers that count steps
        steps = np.diff(time.values)
        found = _regular(time, steps, float(np.median(steps)), _STEPS)
    if found.label != "irregular" and not found.missing:
        return
    told = (
        "steps of unequal length"
        if found.gap is None
        else f"{found.missing} left out, the first between {found.gap[0]} and {found.gap[1]}"
    )
    raise ValueError(
        f"Wanted times without gaps in {source} (steps of {found.label}), since earlier ones are "
        f"inputs too, got {told}. Fill the gaps, or select a period without one."
    )


def cadence(time: xr.DataArray) -> Cadence | None:
    """Return how times follow each other; None for fewer than two, or without dates.

    Months, seasons and years are counted by the calendar, whose months are unequal.
    """
    if time.size < 2 or not is_dates(time):
        return None
    seconds = np.diff(_seconds(time))
    median = float(np.median(seconds))
    # the same day of the month, its middle or its last
    if seconds.min() >= _MONTH_S and np.ptp(time.dt.day.values) <= 3:
        months = np.diff(time.dt.year.values * 12 + time.dt.month.values)
        return _regular(time, months, median, _MONTHS)
    return _regular(time, seconds, median, _SECONDS)


def days_in_month(time: xr.DataArray) -> xr.DataArray:
    """Return the length of each time's month in its own calendar, in days.

    Raises
    ------
    ValueError
        If there are no dates.
    """
    if not is_dates(time):
        raise ValueError(
            "Wanted dates, since a monthly amount is a rate times the length of its month, got "
            "none. Give the data a time coordinate, or convert them to amounts."
        )
    return time.dt.days_in_month.drop_vars(str(time.name), errors="ignore")


def span(time: xr.DataArray) -> tuple[str, str]:
    """Return the first and the last time as text."""
    values = time.values.reshape(-1)
    return _text(values[0]), _text(values[-1])


def _regular(
    time: xr.DataArray, steps: np.ndarray, median: float, sizes: dict[str, int]
) -> Cadence:
    step = float(steps.min())
    counts = np.rint(steps / step)
    if np.abs(steps - counts * step).max() > 1e-3 * step or counts.sum() > 2 * counts.size:
        return Cadence("irregular", median)
    label = _label(step, sizes)
    wide = np.flatnonzero(counts > 1)
    if not wide.size:
        return Cadence(label, median)
    gap = _text(time.values[wide[0]]), _text(time.values[wide[0] + 1])
    return Cadence(label, median, int((counts - 1).sum()), gap)


def _label(step: float, sizes: dict[str, int]) -> str:
    smallest = next(reversed(sizes))
    unit = next((unit for unit, size in sizes.items() if step % size == 0), smallest)
    count = step / sizes[unit]
    return f"{count:g} {unit}{'' if count == 1 else 's'}"


def _seconds(time: xr.DataArray) -> np.ndarray:
    """Return seconds since the first time."""
    if time.dtype.kind == "M":
        return (time.values - time.values[0]) / np.timedelta64(1, "s")
    first = time.values[0]
    return np.array([(value - first).total_seconds() for value in time.values])


def _text(value: object) -> str:
    """Return a time as short as it can be told."""
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    return str(value).removesuffix(" 00:00:00")


def months_of(time: xr.DataArray) -> np.ndarray | None:
    """Return calendar months, 1 to 12, of dates in any calendar; None where there are no dates."""
    try:
        return time.dt.month.values
    except (AttributeError, TypeError):
        return None


def labels_of(time: xr.DataArray) -> list[str]:
    """Return the times as text, alike in any resolution and calendar."""
    try:
        return [str(label) for label in time.dt.strftime("%Y-%m-%dT%H:%M:%S").values]
    except (AttributeError, TypeError):
        return [str(value) for value in time.values]
