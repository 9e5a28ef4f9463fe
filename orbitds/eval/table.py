"""The table of scores: the dataset that holds them.

This module is the contract between who scores and who reports.
"""

from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np
import xarray as xr

from orbitds.eval.metric import METRICS
from orbitds.variables import variable

SEASONS = ("all", "DJF", "MAM", "JJA", "SON")
# Every table has this region, the whole of the evaluated grid; others follow it.
EVERYWHERE = "all"
SCALARS = ("value", "low", "high")
PROBABILITIES = (
    0.0001, 0.001, 0.003, 0.01, 0.025, 0.05, 0.1, 0.16, 0.25, 0.32, 0.5,
    0.68, 0.75, 0.84, 0.9, 0.95, 0.975, 0.99, 0.997, 0.999, 0.9999,
)  # fmt: skip
# Points of a time series at most; beyond it, means of so many neighbouring times.
LONGEST_SERIES = 4000
# How a variable is called that is scored as log1p of its amounts.
LOGARITHM = "log1p({})"


def blank(
    variables: list[str],
    methods: list[str],
    regions: list[str],
    *,
    curves: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Return a table of scores without values: NaN throughout.

    Parameters
    ----------
    variables
        Names of the vocabulary, or those within ``log1p(...)``.
    methods
        What was scored, the prediction first.
    regions
        Names of regions; the first one is ``all``.
    curves
        Coordinates of the curves and maps: ``wavenumber`` (cycles per degree of latitude),
        ``probability``, ``rank``, ``time``, ``latitude``, ``longitude``; a curve or map whose
        coordinates are not there is left out.

    Returns
    -------
    xarray.Dataset
        ``value``, ``low`` and ``high`` (the 95 % interval of a bootstrap over blocks of time) on
        (variable, method, region, season, metric), float64, NaN where undefined. ``spectrum`` on
        (variable, method, wavenumber), ``quantile`` on (variable, method, probability) and
        ``time_series``, area means, on (variable, method, time), each with a ``..._truth`` without
        method; ``rank_histogram`` on (variable, method, rank), shares; ``bias_map`` and
        ``rmse_map`` on (variable, method, latitude, longitude), float32. Coordinates beside the
        dimensions: ``units`` and ``long_name`` of variables, ``title`` and ``better`` of metrics.

    Notes
    -----
    ``method`` is also an argument of xarray's ``sel``: select with ``sel({"method": name})``.
    """
    coords: dict[str, Any] = {
        "variable": variables,
        "method": methods,
        "region": regions,
        "season": list(SEASONS),
        "metric": list(METRICS),
        "units": ("variable", [units_of(name) for name in variables]),
        "long_name": ("variable", [long_name_of(name) for name in variables]),
        "title": ("metric", [metric.title for metric in METRICS.values()]),
        "better": ("metric", [metric.better for metric in METRICS.values()]),
    } | dict(curves or {})
    ds = xr.Dataset(coords=coords, attrs={"orbitds_version": metadata.version("orbitds")})
    dims = ("variable", "method", "region", "season", "metric")
    for name in SCALARS:
        ds[name] = _empty(ds, dims)
    for name, axes in _CURVES.items():
        if set(axes) <= set(ds.dims):
            ds[name] = _empty(ds, axes, np.float32 if "latitude" in axes else np.float64)
    return ds


_CURVES = {
    "spectrum": ("variable", "method", "wavenumber"),
    "spectrum_truth": ("variable", "wavenumber"),
    "quantile": ("variable", "method", "probability"),
    "quantile_truth": ("variable", "probability"),
    "rank_histogram": ("variable", "method", "rank"),
    "time_series": ("variable", "method", "time"),
    "time_series_truth": ("variable", "time"),
    "bias_map": ("variable", "method", "latitude", "longitude"),
    "rmse_map": ("variable", "method", "latitude", "longitude"),
}


def plain_name(name: str) -> tuple[str, bool]:
    """Return the name in the vocabulary, and whether values are those of ``log1p``."""
    head, tail = LOGARITHM.split("{}")
    if name.startswith(head) and name.endswith(tail):
        return name[len(head) : -len(tail)], True
    return name, False


def units_of(name: str) -> str:
    """Return the unit of a variable of the table: ``log1p(mm)`` for ``log1p(...)``."""
    plain, is_logarithm = plain_name(name)
    units = variable(plain).units
    return LOGARITHM.format(units) if is_logarithm else units


def long_name_of(name: str) -> str:
    """Return the name for people of a variable of the table."""
    plain, is_logarithm = plain_name(name)
    long_name = variable(plain).long_name
    return f"logarithm of 1 + {long_name}" if is_logarithm else long_name


def _empty(ds: xr.Dataset, dims: tuple[str, ...], dtype: type = np.float64) -> xr.DataArray:
    shape = tuple(ds.sizes[dim] for dim in dims)
    return xr.DataArray(np.full(shape, np.nan, dtype), dims=dims)
