"""Line charts as inline SVG, without a plotting library: for the report, in light and in dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

import numpy as np
from jaxtyping import Float

# Of the drawing, in its own units: the page scales it to the width that there is.
WIDTH, HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 12, 46
_LEGEND_LINE, _LEGEND_COLUMNS = 17, 3
# Points of a line at most; beyond it, means of so many neighbours.
LONGEST_LINE = 400

Scale = Literal["linear", "log", "year"]


@dataclass(frozen=True)
class Line:
    """One curve of a chart."""

    label: str
    x: Float[np.ndarray, " N"]
    y: Float[np.ndarray, " N"]
    style: str
    """Class of the style sheet: ``truth``, or ``m0``, ``m1``, ... of the methods."""


@dataclass(frozen=True)
class Axis:
    """What one axis of a chart shows."""

    label: str
    scale: Scale = "linear"


def line_chart(
    lines: Sequence[Line], x: Axis, y: Axis, *, alt: str, equal: bool = False
) -> str | None:
    """Return a chart as SVG; None where no line has two points that can be drawn.

    Values that are not finite, or not above zero on a logarithmic axis, leave a gap.

    Parameters
    ----------
    alt
        What the chart shows, for those who cannot see it.
    equal
        Whether both axes have one range, with the line of equal values.
    """
    whole = [_shortened(line) for line in lines]
    found = [(line, _drawable(line, x.scale, y.scale)) for line in whole]
    found = [(line, mask) for line, mask in found if mask.sum() > 1]
    if not found:
        return None
    low_high = [
        _range(np.concatenate([getattr(line, axis)[mask] for line, mask in found]))
        for axis in ("x", "y")
    ]
    if equal:
        low_high = [(min(r[0] for r in low_high), max(r[1] for r in low_high))] * 2
    height = HEIGHT + _LEGEND_LINE * -(-len(found) // _LEGEND_COLUMNS)
    across = _Mapping(*low_high[0], x.scale, float(_LEFT), float(WIDTH - _RIGHT))
    up = _Mapping(
        *low_high[1], y.scale, float(HEIGHT - _BOTTOM), float(_TOP), 0.0 if equal else 0.04
    )
    parts = [_frame(across, up, x, y)]
    if equal:
        ends = [(across(value), up(value)) for value in low_high[0]]
        parts.append(_path(ends, "equal"))
    for line, mask in found:
        parts += [_path(run, f"line {line.style}") for run in _runs(line, mask, across, up)]
    parts += [_legend(number, line) for number, (line, _) in enumerate(found)]
    return (
        f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {height}" '
        f'aria-label="{escape(alt)}"><title>{escape(alt)}</title>{"".join(parts)}</svg>'
    )


def years_of(times: np.ndarray) -> Float[np.ndarray, " N"]:
    """Return dates of any calendar as decimal years."""
    if times.dtype.kind == "M":
        start = times.astype("datetime64[Y]")
        length = (start + 1).astype("datetime64[D]") - start.astype("datetime64[D]")
        gone = (times - start.astype(times.dtype)) / np.timedelta64(1, "D")
        return start.astype(int) + 1970 + gone / (length / np.timedelta64(1, "D"))
    return np.array([t.year + (t.month - 1 + (t.day - 1) / 31) / 12 for t in times], float)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round values within a range, about as many as asked for."""
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(nice for nice in (1, 2, 2.5, 5, 10) if nice * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


class _Mapping:
    """From values to places on the drawing."""

    def __init__(
        self, low: float, high: float, scale: Scale, start: float, stop: float, margin: float = 0.0
    ) -> None:
        self.scale = scale
        low, high = (math.log10(low), math.log10(high)) if scale == "log" else (low, high)
        spare = margin * (high - low)
        self.low, self.high, self.start, self.stop = low - spare, high + spare, start, stop

    def __call__(self, value: float) -> float:
        value = math.log10(value) if self.scale == "log" else value
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Return values to mark, and their text."""
        if self.scale == "log":
            return _log_ticks(self.low, self.high)
        if self.scale == "year" and self.high - self.low < 4:
            step = 1 if self.high - self.low < 0.6 else 3 if self.high - self.low < 1.7 else 6
            first, last = math.ceil(self.low * 12 / step), math.floor(self.high * 12 / step)
            months = [number * step for number in range(first, last + 1)]
            return [(month / 12, f"{month // 12}-{month % 12 + 1:02d}") for month in months]
        ticks = nice_ticks(self.low, self.high)
        if self.scale == "year":
            return [(tick, f"{tick:.0f}") for tick in ticks if tick == round(tick)]
        return [(tick, f"{tick:.6g}") for tick in ticks]


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    wide = high - low > 1.5
    every = max(1, math.ceil((high - low) / 6))
    found = []
    for power in range(math.floor(low), math.ceil(high) + 1):
        for digit in (1,) if wide else (1, 2, 5):
            place = power + math.log10(digit)
            if low - 1e-9 <= place <= high + 1e-9 and (power % every == 0 or not wide):
                found.append((digit * 10.0**power, f"{digit * 10.0**power:.4g}"))
    return found


def _shortened(line: Line) -> Line:
    count = len(line.x)
    if count <= LONGEST_LINE:
        return line
    edges = np.linspace(0, count, LONGEST_LINE + 1).astype(int)[:-1]
    sizes = np.diff(np.append(edges, count))
    x, y = (np.add.reduceat(values, edges) / sizes for values in (line.x, line.y))
    return Line(line.label, x, y, line.style)


def _drawable(line: Line, *scales: Scale) -> np.ndarray:
    mask = np.ones(len(line.x), dtype=bool)
    for values, scale in zip((line.x, line.y), scales, strict=True):
        mask &= np.isfinite(values) & ((values > 0) | (scale != "log"))
    return mask


def _range(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if high - low > 1e-12 * max(abs(low), abs(high)):
        return low, high
    return (low - 0.5 * abs(low), high + 0.5 * abs(high)) if low else (-0.5, 0.5)


def _runs(
    line: Line, mask: np.ndarray, across: _Mapping, up: _Mapping
) -> list[list[tuple[float, float]]]:
    """Return the places of neighbours that can be drawn, a list for each run of them."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y, good in zip(line.x, line.y, mask, strict=True):
        if good:
            runs[-1].append((across(float(x)), up(float(y))))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if len(run) > 1]


def _path(places: Sequence[tuple[float, float]], style: str) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline class="{style}" points="{points}"/>'


def _frame(across: _Mapping, up: _Mapping, x: Axis, y: Axis) -> str:
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts = [f'<path class="axis" d="M{_LEFT},{_TOP}V{bottom}H{right}"/>']
    for value, text in across.ticks():
        at = f"{across(value):.1f}"
        parts.append(f'<path class="grid" d="M{at},{_TOP}V{bottom}"/>')
        parts.append(f'<text x="{at}" y="{bottom + 16}" text-anchor="middle">{text}</text>')
    for value, text in up.ticks():
        at = up(value)
        parts.append(f'<path class="grid" d="M{_LEFT},{at:.1f}H{right}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{text}</text>')
    middle = (_LEFT + right) / 2, (_TOP + bottom) / 2
    parts.append(
        f'<text x="{middle[0]}" y="{bottom + 36}" text-anchor="middle">{escape(x.label)}</text>'
    )
    parts.append(
        f'<text transform="translate(13 {middle[1]}) rotate(-90)" text-anchor="middle">'
        f"{escape(y.label)}</text>"
    )
    return "".join(parts)


def _legend(number: int, line: Line) -> str:
    row, column = divmod(number, _LEGEND_COLUMNS)
    x = 10 + column * (WIDTH - 20) / _LEGEND_COLUMNS
    y = HEIGHT + 4 + row * _LEGEND_LINE
    return (
        f'<path class="line {line.style}" d="M{x:.0f},{y}h24"/>'
        f'<text x="{x + 29:.0f}" y="{y + 4}">{escape(line.label)}</text>'
    )
