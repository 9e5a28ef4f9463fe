"""Periods of a split: one, or several in order; both ends are labels of times and included."""

import numpy as np
import pandas as pd

Period = tuple[str, str]
Periods = Period | tuple[Period, ...]


def each(periods: Periods) -> tuple[Period, ...]:
    """Return the periods one by one."""
    if isinstance(periods[0], str):
        start, stop = periods
        return ((str(start), str(stop)),)
    return tuple((start, stop) for start, stop in periods)


def told(periods: Periods) -> str:
    """Return periods for people."""
    return " and ".join(f"{start} to {stop}" for start, stop in each(periods))


def chosen(times: pd.Index, periods: Periods) -> slice | np.ndarray:
    """Return which times lie within: a slice of one period, the places of several.

    Parameters
    ----------
    times
        In their order.
    """
    slices = [times.slice_indexer(start, stop) for start, stop in each(periods)]
    if len(slices) == 1:
        return slices[0]
    places = np.arange(len(times))
    return np.concatenate([places[one] for one in slices])


def overlap(one: Period, other: Period) -> bool:
    """Return whether two periods share a time."""
    (_, end), (later, _) = sorted([one, other])
    # a period's end holds all of its year, month or day: compare to that precision
    return later[: len(end)] <= end
