"""The charts of a report: spectra, quantiles, time series and ranks of one variable."""

import re

import numpy as np
import xarray as xr

from orbitds.eval.chart import Axis, Line, line_chart, years_of
from orbitds.eval.html import STYLES

# Methods that others make superfluous in a picture.
_LEFT_OUT = ("nearest", "bicubic")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_RIVALS = ("bilinear", "delta change")


def spelled(units: str) -> str:
    """Return a unit with its powers raised: m s⁻¹ of ``m s-1``."""
    return re.sub(
        r"(?<=[A-Za-z])-?\d+(?![\w(])", lambda found: found.group().translate(_RAISED), units
    )


def chosen(part: xr.Dataset, own: str) -> list[str]:
    """Return the methods to draw: what the report is about, its rivals, then others."""
    names = [str(name) for name in part["method"].values]
    first = [own, *(name for name in _RIVALS if name in names and name != own)]
    others = [name for name in names if name not in (*first, *_LEFT_OUT)]
    return [*first, *others][:STYLES]


def spectra(part: xr.Dataset, own: str) -> str | None:
    """Return the mean power of each wavenumber, of the truth and the methods."""
    if "spectrum" not in part:
        return None
    x = part["wavenumber"].values
    lines = [Line("truth", x, part["spectrum_truth"].values, "truth")]
    lines += _of_methods(part, "spectrum", x, own)
    return line_chart(
        lines,
        Axis("wavenumber (cycles per degree)", "log"),
        Axis("power", "log"),
        alt=f"Spectra of {_named(lines)}: {part['long_name'].item()}",
    )


def quantile_quantile(part: xr.Dataset, own: str) -> str | None:
    """Return the quantiles of the methods over those of the truth."""
    if "quantile" not in part:
        return None
    x = part["quantile_truth"].values
    lines = _of_methods(part, "quantile", x, own)
    units = spelled(part["units"].item())
    return line_chart(
        lines,
        Axis(f"truth ({units})"),
        Axis(f"method ({units})"),
        alt=f"Quantiles of {_named(lines)} over those of the truth: {part['long_name'].item()}",
        equal=True,
    )


def series(part: xr.Dataset, own: str) -> str | None:
    """Return the area means over time of the truth and of what the report is about."""
    if "time_series" not in part:
        return None
    x = years_of(part["time"].values)
    lines = [
        Line("truth", x, part["time_series_truth"].values, "truth"),
        Line(own, x, part["time_series"].sel({"method": own}).values, "m0"),
    ]
    return line_chart(
        lines,
        Axis("time", "year"),
        Axis(f"area mean ({spelled(part['units'].item())})"),
        alt=f"Area means over time of {_named(lines)}: {part['long_name'].item()}",
    )


def errors_over_time(part: xr.Dataset, own: str) -> str | None:
    """Return the area means of the methods over time, less those of the truth."""
    if "time_series" not in part:
        return None
    x = years_of(part["time"].values)
    errors = part["time_series"] - part["time_series_truth"]
    lines = _of_methods(part.assign(error=errors), "error", x, own)
    return line_chart(
        lines,
        Axis("time", "year"),
        Axis(f"minus truth ({spelled(part['units'].item())})"),
        alt=f"Area means over time of {_named(lines)}, less the truth: {part['long_name'].item()}",
    )


def ranks(part: xr.Dataset, own: str) -> str | None:
    """Return the share of each rank of the truth among the members, where there are members."""
    if "rank_histogram" not in part:
        return None
    x = part["rank"].values.astype(float)
    lines = [Line("flat", x, np.full(x.size, 1 / x.size), "truth")]
    lines += [Line(own, x, part["rank_histogram"].sel({"method": own}).values, "m0")]
    if not np.isfinite(lines[1].y).any():
        return None
    return line_chart(
        lines,
        Axis("members below the truth"),
        Axis("share"),
        alt=f"Rank histogram of {own}: {part['long_name'].item()}",
    )


def _of_methods(part: xr.Dataset, name: str, x: np.ndarray, own: str) -> list[Line]:
    return [
        Line(method, x, part[name].sel({"method": method}).values, f"m{place}")
        for place, method in enumerate(chosen(part, own))
    ]


def _named(lines: list[Line]) -> str:
    return ", ".join(line.label for line in lines)
