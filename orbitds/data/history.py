"""Earlier times of the inputs as further variables: ``2m_temperature@-1`` is one step before."""

from collections.abc import Sequence
from dataclasses import replace

import xarray as xr

from orbitds.data.door import Entered, enter
from orbitds.data.times import check_unbroken
from orbitds.data.values import Missing
from orbitds.variables import without_steps

MARK = "@-"


def with_earlier(names: Sequence[str], history: int) -> tuple[str, ...]:
    """Return the names of variables now, then one step earlier, and so on ``history`` times."""
    earlier = (f"{name}{MARK}{back}" for back in range(1, history + 1) for name in names)
    return (*names, *earlier)


def steps_back(name: str) -> int:
    """Return how many time steps earlier a variable is taken; 0 for one without the suffix."""
    return without_steps(name)[1]


def base_name(name: str) -> str:
    """Return the name of a variable without the suffix of an earlier time."""
    return without_steps(name)[0]


def join_earlier(ds: xr.Dataset, names: Sequence[str]) -> xr.Dataset:
    """Return a dataset with the variables of some earlier times beside those of now.

    The first times, which have no full history, are left out. Lazy where the data are.

    Parameters
    ----------
    ds
        Canonical, with the variables without suffix.
    names
        Wanted variables, with and without suffix.
    """
    longest = max(map(steps_back, names))
    if not longest:
        return ds
    if ds.sizes["time"] <= longest:
        raise ValueError(
            f"Wanted at least {longest + 1} times for a model that looks {longest} steps back, got "
            f"{ds.sizes['time']}. Give more times before the first one wanted."
        )
    check_unbroken(ds["time"], source="the input")
    now = ds.isel(time=slice(longest, None))
    fields = {}
    for name in names:
        back = steps_back(name)
        earlier = ds[base_name(name)].isel(
            time=slice(longest - back, ds.sizes["time"] - back or None)
        )
        fields[name] = earlier.assign_coords(time=now["time"])
    return xr.Dataset(fields, attrs=ds.attrs).unify_chunks()


def enter_with_earlier(
    ds: xr.Dataset, names: Sequence[str], *, missing: Missing = "error"
) -> Entered:
    """Return what a model looks at in canonical form, earlier times beside those of now.

    Parameters
    ----------
    names
        Wanted variables, with and without suffix.
    missing
        As in :func:`~orbitds.data.door.enter`.

    Raises
    ------
    ValueError
        As ``enter`` does; with a suffix among the names also if steps are left out of the time
        axis, or if there are too few.
    """
    history = max(map(steps_back, names))
    bare = tuple(dict.fromkeys(map(base_name, names)))
    entered = enter(ds, bare, missing=missing, times="unbroken" if history else "any")
    return replace(
        entered, ds=join_earlier(entered.ds, names), layout=entered.layout.without_first(history)
    )
