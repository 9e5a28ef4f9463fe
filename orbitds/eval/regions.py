"""Regions to score apart: land and sea, belts of latitude, named boxes, a user's polygons."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from orbitds.data.statics import statics_for
from orbitds.eval.table import EVERYWHERE
from orbitds.grid import Grid
from orbitds.resources import did_you_mean

# Cells with at least this share of land are land.
LAND_SHARE = 0.5
SURFACES = ("land", "sea")
# South and north end in degrees, of cells' centres.
BELTS = {
    "arctic": (60.0, 90.0),
    "northern extratropics": (20.0, 90.0),
    "tropics": (-20.0, 20.0),
    "southern extratropics": (-90.0, -20.0),
    "antarctic": (-90.0, -60.0),
}
# South, north, west and east end; those of WeatherBench 2 (Rasp et al. 2024), and three more.
BOXES = {
    "africa": (-35.0, 37.5, -20.0, 52.5),
    "australia": (-45.0, -12.5, 120.0, 175.0),
    "conus": (24.5, 49.5, -125.0, -66.5),
    "east asia": (25.0, 60.0, 102.5, 150.0),
    "europe": (35.0, 75.0, -12.5, 42.5),
    "north america": (25.0, 60.0, -120.0, -75.0),
    "north atlantic": (25.0, 65.0, -70.0, -20.0),
    "north pacific": (25.0, 60.0, 145.0, 230.0),
    "south america": (-56.0, 13.0, -82.0, -34.0),
}
USUAL = (*SURFACES, *BELTS)
Mask = Bool[np.ndarray, "H W"]
Ring = Float[np.ndarray, "P 2"]


def regions(grid: Grid, names: Sequence[str] | None = None) -> dict[str, Mask]:
    """Return masks of regions by name, the whole grid first.

    A cell belongs to a region by its centre, to land by the share of land of the shipped global
    file.

    Parameters
    ----------
    names
        Names of regions, or paths of GeoJSON files with polygons. By default land, sea and the
        belts of latitude, without those that hold no cell of the grid, or all of them.

    Raises
    ------
    ValueError
        If a name is unknown, a file holds no polygon, or a wanted region no cell.
    """
    found = {EVERYWHERE: np.ones(grid.shape, dtype=bool)}
    for name in USUAL if names is None else names:
        masks = _polygons(Path(name), grid) if _is_path(name) else {name: _named(name, grid)}
        for key, mask in masks.items():
            if names is None and (not mask.any() or mask.all()):
                continue
            if not mask.any():
                raise ValueError(
                    f"Wanted a region with cells of {grid}, got {key!r}, which has none. "
                    "Leave it out, or choose another one."
                )
            if key in found and key != EVERYWHERE:
                raise ValueError(
                    f"Wanted regions of different names, got {key!r} twice. Rename one of the two."
                )
            found[key] = mask
    return found


def inside(
    rings: Sequence[Ring],
    latitude_deg: Float[np.ndarray, "H"],
    longitude_deg: Float[np.ndarray, "W"],
) -> Mask:
    """Return which places of a grid lie within polygons, by the even-odd rule.

    Along each row the crossings of all edges are counted from the west: a place with an odd number
    of them lies inside. Whole turns of longitude make no difference.

    Parameters
    ----------
    rings
        Closed lines of (longitude, latitude), outer borders and holes alike.
    """
    mask = np.zeros((latitude_deg.size, longitude_deg.size), dtype=bool)
    for ring in rings:
        mask ^= _within(ring, latitude_deg, longitude_deg)
    return mask


def _within(ring: Ring, latitude_deg: np.ndarray, longitude_deg: np.ndarray) -> Mask:
    (x1, y1), (x2, y2) = ring[:-1].T, ring[1:].T
    # a place counts once, in whichever turn the ring covers it
    first = ring[:, 0].min()
    columns = first + (longitude_deg - first) % 360
    mask = np.zeros((latitude_deg.size, longitude_deg.size), dtype=bool)
    for row, latitude in enumerate(latitude_deg):
        # half open: an edge that ends in the row's latitude counts with one of its neighbours
        crosses = (y1 > latitude) != (y2 > latitude)
        if crosses.any():
            share = (latitude - y1[crosses]) / (y2[crosses] - y1[crosses])
            places = np.sort(x1[crosses] + share * (x2[crosses] - x1[crosses]))
            mask[row] = np.searchsorted(places, columns, side="right") % 2 == 1
    return mask


def _named(name: str, grid: Grid) -> Mask:
    if name == EVERYWHERE:
        return np.ones(grid.shape, dtype=bool)
    if name in SURFACES:
        land = statics_for(grid, ("land_sea_mask",))["land_sea_mask"].values >= LAND_SHARE
        return land if name == "land" else ~land
    latitude, longitude = grid.latitude_deg, grid.longitude_deg
    if name in BELTS:
        south, north = BELTS[name]
        rows = (latitude >= south) & (latitude <= north)
        return np.repeat(rows[:, None], grid.shape[1], axis=1)
    if name in BOXES:
        south, north, west, east = BOXES[name]
        rows = (latitude >= south) & (latitude <= north)
        return rows[:, None] & ((longitude - west) % 360 < east - west)
    known = (EVERYWHERE, *USUAL, *BOXES)
    raise ValueError(
        f"Wanted a region, one of {list(known)}, got {name!r}.{did_you_mean(name, known)} "
        "For others give a GeoJSON file of polygons, as in `borders.geojson`."
    )


def _is_path(name: str) -> bool:
    return Path(name).suffix.lower() in {".json", ".geojson"}


def _polygons(path: Path, grid: Grid) -> dict[str, Mask]:
    """Return the masks of the features of a GeoJSON file, by name."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        features = list(_features(content))
        masks = {}
        for number, (properties, geometry) in enumerate(features, start=1):
            name = _name(properties, f"{path.stem} {number}" if len(features) > 1 else path.stem)
            mask = masks.get(name, np.zeros(grid.shape, dtype=bool))
            for rings in _shapes(geometry):
                mask = mask | inside(rings, grid.latitude_deg, grid.longitude_deg)
            masks[name] = mask
    except (
        UnicodeDecodeError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        ValueError,
    ) as error:
        raise ValueError(
            f"Wanted GeoJSON with polygons in {path}, got something else "
            f"({type(error).__name__}: {error}). Export it as GeoJSON (RFC 7946) in longitude and "
            "latitude."
        ) from None
    return masks


def _features(content: dict) -> Iterator[tuple[dict, dict]]:
    """Yield properties and geometry of each feature."""
    if content["type"] == "FeatureCollection":
        for feature in content["features"]:
            yield from _features(feature)
    elif content["type"] == "Feature":
        yield content.get("properties") or {}, content["geometry"]
    else:
        yield {}, content


def _shapes(geometry: dict) -> Iterator[list[Ring]]:
    """Yield the rings of each polygon."""
    kind = geometry["type"]
    if kind == "GeometryCollection":
        for part in geometry["geometries"]:
            yield from _shapes(part)
        return
    if kind not in {"Polygon", "MultiPolygon"}:
        raise ValueError(f"a {kind}, which has no inside")
    polygons = [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]
    for polygon in polygons:
        yield [_closed(ring) for ring in polygon]


def _closed(ring: list) -> Ring:
    """Return a ring that ends where it starts, heights left out."""
    points = np.array([point[:2] for point in ring], dtype=np.float64)
    if len(points) < 3 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError(f"a ring of {len(points)} points")
    if np.abs(points[:, 1]).max() > 90:
        raise ValueError(f"a latitude of {np.abs(points[:, 1]).max():g}")
    return points if (points[0] == points[-1]).all() else np.vstack([points, points[:1]])


def _name(properties: dict, otherwise: str) -> str:
    found = next((properties[key] for key in ("name", "NAME", "id") if properties.get(key)), None)
    return str(otherwise if found is None else found)
