"""Daily values of hourly data: sums, means, minima and maxima of whole UTC days."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from orbitds.data.door import enter
from orbitds.data.recipe import Stamp
from orbitds.variables import variable

Method = Literal["sum", "mean", "min", "max"]

DAY = timedelta(days=1)


@dataclass(frozen=True, eq=False)
class Days:
    """Days of an hourly dataset, aggregated when they are asked for.

    A day with a missing time is left out, never made of what remains; a cell with a missing value
    in one of its hours is missing.
    """

    ds: xr.Dataset
    """Canonical, at the times of the source."""
    methods: dict[str, tuple[str, Method]]
    """For each daily variable the one that it is made of, and how."""
    first: dict[str, np.ndarray]
    """For each daily variable the index of the first time of each day, [T]."""
    per_day: int
    """Times in a day."""
    times: pd.Index
    """The days, at 00 UTC, [T]."""
    left_out: tuple[str, ...]
    """Days with a missing time."""

    @classmethod
    def of(
        cls,
        ds: xr.Dataset,
        variables: Sequence[str],
        *,
        stamp: Stamp = "end",
        missing: Literal["error", "mask"] = "error",
    ) -> "Days":
        """Find the whole days of a caller's dataset.

        Parameters
        ----------
        variables
            Names in the vocabulary, as daily values. What the dataset lacks is made of the variable
            that orders it: a minimum (``at_most``) or maximum of the daily mean's hours.
        stamp
            Which end of its period the time of an amount is. Amounts stamped at the end belong to
            the day in which their period lies: ERA5's 01 UTC to 00 UTC of the next day.

        Raises
        ------
        ValueError
            If times are doubled, unsorted, daily or longer apart, or no day is whole; or as
            ``enter``.
        """
        methods = {name: _method(ds, name) for name in variables}
        sources = tuple(dict.fromkeys(source for source, _ in methods.values()))
        entered = enter(ds, sources, missing=missing, amounts="parts").ds
        times = entered.indexes["time"]
        step = _step(times)
        per_day = round(DAY / step)
        starts, known = {}, {}
        for name, (source, _) in methods.items():
            is_amount = variable(source).kind == "flux"
            if is_amount not in known:
                shifted = times - step if is_amount and stamp == "end" else times
                known[is_amount] = _whole_days(shifted, per_day)
            starts[name] = known[is_amount]
        days, first, left_out = _common(starts)
        if not len(days):
            raise ValueError(
                f"Wanted at least one day with all its {per_day} times, got {len(times)} times "
                f"from {times[0]} to {times[-1]} and none. Give longer data."
            )
        return cls(entered, methods, first, per_day, days, left_out)

    def read(self, steps: slice | np.ndarray) -> xr.Dataset:
        """Return some of the days, lazily where the source is lazy."""
        fields = {}
        for name, (source, method) in self.methods.items():
            start = self.first[name][steps]
            field = self.ds[source].isel(time=_times(start, self.per_day))
            if field.chunks is None:
                data = _reduce(field.values, self.per_day, method)
            else:
                data = _reduce_lazily(field.data, self.per_day, method)
            attrs = field.attrs | {"cell_methods": f"time: {_CELL_METHOD[method]}"}
            fields[name] = (field.dims, data, attrs)
        coords = {name: self.ds[name] for name in ("latitude", "longitude")}
        time = ("time", self.times[steps], self.ds["time"].attrs)
        return xr.Dataset(fields, coords=coords | {"time": time}, attrs=self.ds.attrs)


_CELL_METHOD = {"sum": "sum", "mean": "mean", "min": "minimum", "max": "maximum"}


def _method(ds: xr.Dataset, name: str) -> tuple[str, Method]:
    """Return what a daily variable is made of, and how: its row says it."""
    row = variable(name)
    if row.kind == "flux":
        theirs = next((known for known in (row.name, *row.aliases) if known in ds.data_vars), None)
        is_rate = theirs is not None and _is_rate(str(ds[theirs].attrs.get("units", "")))
        # the door makes the amount of a day of a rate: 24 of these do not add up
        return row.name, "mean" if is_rate else "sum"
    has = any(known in ds.data_vars for known in (row.name, *row.aliases))
    if row.at_most is not None:
        return (row.name if has else row.at_most), "min"
    if row.at_least is not None:
        return (row.name if has else row.at_least), "max"
    return row.name, "mean"


def _is_rate(units: str) -> bool:
    from cf_xarray.units import units as registry

    try:
        power = registry.Quantity(1, units).dimensionality.get("[time]", 0)
    except Exception:  # pint lets errors of Python's tokenizer through; the door tells
        return False
    return power == -1


def _step(times: pd.Index) -> timedelta:
    """Return the time between neighbours, of which a day holds a whole number."""
    steps = pd.TimedeltaIndex(times[1:] - times[:-1]).to_numpy()
    step = timedelta(seconds=float(steps.min() / np.timedelta64(1, "s"))) if len(steps) else DAY
    if step <= timedelta(0):
        at = int(np.argmin(steps))
        raise ValueError(
            f"Wanted times that increase, got {times[at]} before {times[at + 1]}. "
            "Sort them and drop doubled ones: ds.sortby('time').drop_duplicates('time')."
        )
    if step >= DAY or DAY % step != timedelta(0):
        found = step if len(steps) else "a single time"
        raise ValueError(
            "Wanted times of which a day holds a whole number, such as hourly or 6-hourly ones, "
            f"got {found}. Leave `aggregate: day` out if the data are daily."
        )
    return step


def _whole_days(times: pd.Index, per_day: int) -> dict[Any, int]:
    """Return the index of the first time of each day; -1 for a day that lacks some."""
    days = times.floor("D")  # pyright: ignore[reportAttributeAccessIssue]  of pandas and cftime
    change = np.flatnonzero(np.asarray(days[1:] != days[:-1])) + 1
    edges = np.concatenate([[0], change, [len(days)]])
    return {
        days[start]: int(start) if stop - start == per_day else -1
        for start, stop in itertools.pairwise(edges)
    }


def _common(
    starts: dict[str, dict[Any, int]],
) -> tuple[pd.Index, dict[str, np.ndarray], tuple[str, ...]]:
    """Return the days that are whole in every variable, where they start, and the others."""
    seen = sorted(set().union(*starts.values()))
    whole = [day for day in seen if all(of.get(day, -1) >= 0 for of in starts.values())]
    first = {name: np.array([of[day] for day in whole]) for name, of in starts.items()}
    left_out = tuple(str(day)[:10] for day in seen if day not in set(whole))
    if whole and not isinstance(whole[0], pd.Timestamp):
        return xr.CFTimeIndex(whole), first, left_out
    return pd.DatetimeIndex(whole), first, left_out


def _times(first: np.ndarray, per_day: int) -> slice | np.ndarray:
    """Return the times of days: a slice where they adjoin, which reads no more than these."""
    if len(first) and (np.diff(first) == per_day).all():
        return slice(int(first[0]), int(first[-1]) + per_day)
    return (first[:, None] + np.arange(per_day)).reshape(-1)


def _reduce(values: np.ndarray, per_day: int, method: Method) -> np.ndarray:
    by_day = values.reshape(-1, per_day, *values.shape[1:])
    dtype = np.promote_types(values.dtype, np.float32)
    if method in ("min", "max"):
        return (np.min if method == "min" else np.max)(by_day, axis=1).astype(dtype)
    total = by_day.sum(axis=1, dtype=np.float64)
    return (total / per_day if method == "mean" else total).astype(dtype)


def _reduce_lazily(data: object, per_day: int, method: Method) -> object:
    import dask.array

    assert isinstance(data, dask.array.Array)
    days = max(1, data.chunks[0][0] // per_day)
    whole = data.rechunk({0: days * per_day})  # pyright: ignore[reportArgumentType]  dask says str
    return whole.map_blocks(
        _reduce,
        per_day,
        method,
        chunks=(tuple(size // per_day for size in whole.chunks[0]), *whole.chunks[1:]),
        dtype=np.promote_types(data.dtype, np.float32),
        meta=np.empty((0, 0, 0), data.dtype),
    )
