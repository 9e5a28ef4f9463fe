"""Maps of fields and of their mean errors, as PNG files (extra: maps)."""

import io
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from orbitds.grid import Grid
from orbitds.resources import share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COASTLINES = "shapefiles/natural_earth/physical/ne_110m_coastline.shp"
Colours = dict[str, Any]  # what pcolormesh takes: cmap, vmin, vmax


def draw_maps(
    coarse: xr.DataArray,
    prediction: xr.DataArray,
    truth: xr.DataArray,
    path: Path,
    *,
    title: str | None = None,
) -> None:
    """Draw one time as four maps: coarse, prediction, truth, and prediction minus truth.

    Parameters
    ----------
    coarse, prediction, truth
        Fields with dimensions latitude (north to south) and longitude (increasing); prediction
        and truth on one grid, the coarse field on its own. Missing cells are drawn in grey.
    path
        The PNG file to write; its folder is made.
    title
        Above the maps; by default the long name of the truth and its time.

    Raises
    ------
    ValueError
        If a field is no map, or prediction and truth differ in grid.
    ImportError
        If cartopy or matplotlib is missing.
    """
    fields = {"coarse": coarse, "prediction": prediction, "truth": truth}
    grids = {name: _grid(field, name) for name, field in fields.items()}
    if not grids["prediction"].matches(grids["truth"]):
        raise ValueError(
            f"Wanted prediction and truth on one grid, got prediction {grids['prediction']} and "
            f"truth {grids['truth']}. Regrid one of the two, or cut them to the same region."
        )
    # Plain arrays: xarray would align coordinates that differ in their last digit to nothing.
    error = truth.copy(data=prediction.values.astype(float) - truth.values)
    panels = {"{}, {} x {} cells".format(n, *grids[n].shape): field for n, field in fields.items()}
    colours = [field_colours(truth)] * 3 + [error_colours([error])]
    panels[f"prediction minus truth\n{_moments_text(error, 'RMSE')}"] = error
    _draw(panels, colours, path, title or _caption(truth))


def draw_bias(bias: Mapping[str, xr.DataArray], path: Path, *, title: str | None = None) -> None:
    """Draw mean errors side by side, one map per method, all on one scale symmetric about 0.

    Parameters
    ----------
    bias
        Mean of prediction minus truth by the name of the method, dimensions as in `draw_maps`.
    path, title
        As in `draw_maps`; the title begins with "mean error" by default.

    Raises
    ------
    ValueError, ImportError
        As `draw_maps`, and if there is no field.
    """
    if not bias:
        raise ValueError("Wanted the mean error of at least one method, got none. Name a method.")
    panels = {f"{name}\n{_moments_text(field, 'RMS')}": field for name, field in bias.items()}
    fields = list(bias.values())
    caption = f"mean error: {_caption(fields[0])}"
    _draw(panels, [error_colours(fields)] * len(fields), path, title or caption)


def error_maps(
    bias: Mapping[str, xr.DataArray], rmse: Mapping[str, xr.DataArray], *, title: str
) -> bytes:
    """Return mean errors and, below them, root mean square errors of methods, as a small PNG.

    Parameters
    ----------
    bias, rmse
        By the name of the method, the same methods in both; dimensions as in `draw_maps`.

    Raises
    ------
    ValueError, ImportError
        As `draw_bias`.
    """
    panels = {f"{name}: mean error\n{_moments_text(x, 'RMS')}": x for name, x in bias.items()}
    sizes = {f"{name}: RMSE": field for name, field in rmse.items()}
    largest = float(np.percentile(_finite(list(rmse.values())), 99)) or 1.0
    one = {"cmap": "YlGnBu", "vmin": 0.0, "vmax": largest}
    colours = [error_colours(list(bias.values()))] * len(bias) + [one] * len(rmse)
    drawn = _figure(panels | sizes, colours, title, across=len(bias))
    drawn.set_dpi(64)
    # both brought by matplotlib; a palette makes a third of the size, and maps have few colours
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas, small = FigureCanvasAgg(drawn), io.BytesIO()
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    Image.fromarray(pixels).quantize(192).save(small, format="PNG", optimize=True)
    return small.getvalue()


def moments(field: xr.DataArray) -> tuple[float, float]:
    """Return mean and root mean square over the cells that hold a value, weighted by area."""
    area = xr.DataArray(_grid(field, "an error field").area, dims=field.dims)
    mean, square = (float((field**n).weighted(area).mean()) for n in (1, 2))
    return mean, square**0.5


def field_colours(field: xr.DataArray) -> Colours:
    """Colour map and range: about 0 where both signs matter, from 0 for amounts, else free."""
    values = _finite([field])
    # The outermost half percent must not decide what the eye can tell apart.
    low, high = np.percentile(values, [0.5, 99.5]).tolist()
    largest = max(-low, high)
    if min(-low, high) > 0.1 * largest:
        return {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
    if values.min() >= 0 and low <= 0.1 * high:
        return {"cmap": "YlGnBu", "vmin": 0.0, "vmax": high or 1.0}
    return {"cmap": "YlOrRd", "vmin": low, "vmax": high if high > low else low + 1}


def error_colours(errors: list[xr.DataArray]) -> Colours:
    """Colour map and range of error fields: one for all, symmetric about 0."""
    largest = float(np.percentile(np.abs(_finite(errors)), 99)) or 1.0
    return {"cmap": "PuOr_r", "vmin": -largest, "vmax": largest}


def columns_from(west_deg: float, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges, in degrees, and the numbers of the columns of a map that begins at west.

    A closed circle begins one column early and ends with it: no gap where the map cuts a cell.
    """
    edges = np.append(grid.longitude_bounds_deg[:, 0], grid.longitude_bounds_deg[-1, 1])
    if not grid.periodic:
        return edges + 360 * np.round((west_deg - edges[0]) / 360), np.arange(edges.size - 1)
    inside = (edges[:-1] - west_deg) % 360
    number = np.arange(inside.argmin() - 1, inside.argmin() + edges.size - 1) % (edges.size - 1)
    start = west_deg + inside.min() - grid.spacing_deg[1]
    return start + np.arange(number.size + 1) * grid.spacing_deg[1], number


def _draw(panels: dict[str, xr.DataArray], colours: list[Colours], path: Path, title: str) -> None:
    figure = _figure(panels, colours, title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=130)


def _figure(
    panels: dict[str, xr.DataArray], colours: list[Colours], title: str, across: int | None = None
) -> "Figure":
    """Draw the panels, by heading, in the frame of the last one; ``across`` of them in a row."""
    try:
        from cartopy.crs import PlateCarree
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"Wanted cartopy for maps, got: {error}. Install it: pip install orbitds[maps]"
        ) from error
    grid = Grid.of(list(panels.values())[-1])
    west = -180.0 if grid.periodic else float(grid.longitude_bounds_deg[0, 0])
    width = grid.shape[1] * grid.spacing_deg[1]
    north, south = np.clip(grid.latitude_bounds_deg[[0, -1], [0, 1]], -90, 90)
    # Regional maps are true to shape at their middle; wide ones keep equal degrees.
    stretch = 1.0 if width > 180 else 1 / np.cos(np.deg2rad(min(abs(north + south) / 2, 75)))
    place, size = _layout(len(panels), (north - south) * stretch / width, across)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize=15)
    # Drawn in the projection's own coordinates, cells need no wrapping and leave no seam.
    projection = PlateCarree(central_longitude=west + width / 2)
    for number, ((heading, field), scale) in enumerate(zip(panels.items(), colours, strict=True)):
        axes: Any = figure.add_subplot(*place, number + 1, projection=projection)
        bounds = np.clip(Grid.of(field).latitude_bounds_deg, -90, 90)
        edges, columns = columns_from(west, Grid.of(field))
        values = np.ma.masked_invalid(field.values)[:, columns]
        x, y = edges - west - width / 2, [*bounds[:, 0], bounds[-1, 1]]
        mesh = axes.pcolormesh(x, y, values, **scale)
        axes.add_geometries(_coast(), PlateCarree(), facecolor="none", edgecolor="0.15", lw=0.7)
        _graticule(axes, (west, west + width), (south, north))
        axes.set(xlim=(-width / 2, width / 2), ylim=(south, north), aspect=stretch, fc="0.85")
        axes.set_title(heading, fontsize=12)
        bar = axes.inset_axes((1.02, 0, 0.03, 1))
        figure.colorbar(mesh, cax=bar, label=_units(field), extend="both")
    return figure


def _graticule(
    axes: "Axes", longitudes: tuple[float, float], latitudes: tuple[float, float]
) -> None:
    """Draw and label meridians and parallels.

    As the ticks of plain axes: cartopy's own gridlines take half the time of a whole figure, for
    what curved projections want.
    """
    from cartopy.mpl.ticker import (
        LatitudeFormatter,
        LatitudeLocator,
        LongitudeFormatter,
        LongitudeLocator,
    )

    for axis, (low, high), locator, formatter, middle in (
        (axes.xaxis, longitudes, LongitudeLocator(), LongitudeFormatter(), sum(longitudes) / 2),
        (axes.yaxis, latitudes, LatitudeLocator(), LatitudeFormatter(), 0.0),
    ):
        # Not in the corners, where the labels of both would meet.
        edge = 0.01 * (high - low)
        marks = [x for x in locator.tick_values(low, high) if low + edge < x < high - edge]
        axis.set_ticks([mark - middle for mark in marks])
        axis.set_major_formatter(formatter)
        axis.set_visible(True)
    axes.tick_params(length=0)
    axes.grid(visible=True, linewidth=0.4, color="0.6")


@cache
def _coast() -> list[Any]:
    """Return the coastlines of the world; drawn once, cartopy knows them projected."""
    from cartopy.io.shapereader import Reader

    # Read here: cartopy's own `coastlines` would look in the user's folder and download.
    return list(Reader(share("data_catalog/files/cartopy") / COASTLINES).geometries())


def _layout(
    panels: int, ratio: float, across: int | None = None
) -> tuple[tuple[int, int], tuple[float, float]]:
    """Rows and columns of panels, and the size in inches, for maps of this height over width."""
    inches, usual = (6.5, 2) if ratio < 1.3 else (3.5, 4)
    across = across or usual
    columns, rows = min(panels, across), -(-panels // across)
    height = inches * min(max(ratio, 0.25), 3.0)
    return (rows, columns), (columns * (inches + 1.4), rows * (height + 0.7) + 0.4)


def _grid(field: xr.DataArray, name: str) -> Grid:
    if field.dims != ("latitude", "longitude"):
        raise ValueError(
            f"Wanted {name} with dimensions ('latitude', 'longitude'), got {field.dims}. "
            "Select one time, or take the mean over time."
        )
    return Grid.of(field)


def _finite(fields: list[xr.DataArray]) -> np.ndarray:
    """Return the values of all cells that hold one, in double precision; 0 where none does."""
    values = np.concatenate([field.values.ravel() for field in fields]).astype(np.float64)
    return values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1)


def _caption(field: xr.DataArray) -> str:
    name = str(field.attrs.get("long_name", field.name or ""))
    return f"{name}, {str(field['time'].values)[:10]}" if "time" in field.coords else name


def _units(field: xr.DataArray) -> str:
    units = str(field.attrs.get("units", ""))
    return "" if units == "1" else re.sub(r"(?<=[A-Za-z])(-?\d+)", r"$^{\1}$", units)


def _moments_text(error: xr.DataArray, name: str) -> str:
    mean, rms = moments(error)
    digits = int(np.clip(2 - np.floor(np.log10(rms)), 0, 9)) if rms > 0 else 1
    return f"{name} {rms:.{digits}f}, mean {mean:+.{digits}f} {_units(error)}"
