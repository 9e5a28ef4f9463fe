"""One block of times: read, checked, summed up for the statistics."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import dask.base
import numpy as np
import xarray as xr

from orbitds.data.door import check_values
from orbitds.data.source import Source
from orbitds.data.stats import Moments
from orbitds.data.store import GROUPS
from orbitds.data.values import missing_of
from orbitds.grid import Grid
from orbitds.variables import variable


@dataclass(frozen=True, eq=False)
class Block:
    """The values of a block, by group: ``coarse`` and ``fine``."""

    values: dict[str, np.ndarray]
    """[T, V, H, W] in float32, physical."""
    names: dict[str, tuple[str, ...]]
    area: dict[str, np.ndarray]
    missing: dict[str, int]
    """Missing values by ``group/variable``, where there are any."""

    def moments(self, chosen: np.ndarray) -> dict[str, Moments]:
        """Return the sums of some of the times, [T]; of the fine data where both have it."""
        found: dict[str, Moments] = {}
        for group in GROUPS:
            for place, name in enumerate(self.names[group]):
                found[name] = Moments()
                found[name].add(self.values[group][chosen, place], self.area[group])
        return found


def read_block(source: Source, steps: slice, *, workers: int) -> Block:
    """Read a block of times into memory and check its values.

    Raises
    ------
    ValueError
        If values are missing where none may be, or implausible; the message says where first.
    """
    datasets = dict[str, xr.Dataset](zip(GROUPS, source.read(steps), strict=True))
    names = {group: tuple(map(str, ds.data_vars)) for group, ds in datasets.items()}
    values = {
        group: np.empty((ds.sizes["time"], len(ds), *_plane(ds)), np.float32)
        for group, ds in datasets.items()
    }
    fields = {(group, name): ds[name] for group, ds in datasets.items() for name in names[group]}
    for together in _groups({key: field.data for key, field in fields.items()}):
        read = dask.base.compute(
            *(fields[key].data for key in together), scheduler="threads", num_workers=workers
        )
        for (group, name), data in zip(together, read, strict=True):
            values[group][:, names[group].index(name)] = data
    missing = {}
    for (group, name), field in fields.items():
        data = values[group][:, names[group].index(name)]
        _check(name, data, field, missing_of(datasets[group]))
        if count := int(np.isnan(data).sum()):
            missing[f"{group}/{name}"] = count
    area = {group: Grid.of(ds).area for group, ds in datasets.items()}
    return Block(values, names, area, missing)


def _plane(ds: xr.Dataset) -> tuple[int, int]:
    return ds.sizes["latitude"], ds.sizes["longitude"]


def _groups(arrays: dict[Any, Any]) -> Iterable[list[Any]]:
    """Return the keys of arrays in groups that read the same data: these are computed together.

    Others one after another, so that memory holds the chunks of a single variable.
    """
    groups: list[tuple[set[str], list[Any]]] = []
    for key, array in arrays.items():
        roots = _roots(array)
        shared = [group for group in groups if group[0] & roots]
        groups = [group for group in groups if not group[0] & roots]
        keys = [theirs for _, members in shared for theirs in members]
        groups.append((roots.union(*(theirs for theirs, _ in shared)), [*keys, key]))
    return [keys for _, keys in groups]


def _roots(array: Any) -> set[str]:  # noqa: ANN401  numpy or dask
    """Return the layers of a lazy array's graph that depend on no other: what it reads."""
    if not dask.base.is_dask_collection(array):
        return set()
    graph = array.__dask_graph__()
    return {name for name, needed in graph.dependencies.items() if not needed}


def _check(name: str, data: np.ndarray, field: xr.DataArray, missing: str) -> None:
    try:
        check_values(name, data, missing=missing)
    except ValueError as error:
        low, high = variable(name).plausible
        wrong = (data < low) | (data > high)
        if missing == "error":
            wrong |= np.isnan(data)
        step, row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"{error} The first is at {str(field['time'].values[step])[:19]}, latitude "
            f"{float(field['latitude'][row]):g}, longitude {float(field['longitude'][column]):g}."
        ) from error
