"""Make the 110 m coastline that cartopy draws, so that maps need no network.

Source: Natural Earth's land polygons (public domain) as TopoJSON in the npm package
world-atlas 2.0.2. The result lies where cartopy looks below its `pre_existing_data_dir`.

    npm pack world-atlas@2.0.2 && tar -xf world-atlas-2.0.2.tgz
    pip install pyshp
    python make_coastlines.py --topojson package/land-110m.json --output .
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapefile

Line = npt.NDArray[np.float64]  # points x (longitude, latitude), degrees

PLACE = Path("cartopy/shapefiles/natural_earth/physical/ne_110m_coastline")
WGS84 = (
    'GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,298.257223563]],'
    'PRIMEM["Greenwich",0.0],UNIT["Degree",0.017453292519943295]]'
)
# Half a step of the file's quantization: closer points are the same point.
TOLERANCE_DEG = 0.002


def main() -> None:
    """Read the TopoJSON, cut the lines, write the shapefile."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--topojson", type=Path, required=True, help="land-110m.json")
    parser.add_argument("--output", type=Path, required=True, help="folder that gets cartopy/")
    arguments = parser.parse_args()

    topology = json.loads(arguments.topojson.read_text(encoding="utf-8"))
    lines = [piece for line in coast_arcs(topology) for piece in cut(line)]
    write(lines, arguments.output / PLACE)


def coast_arcs(topology: dict[str, Any]) -> Iterator[Line]:
    """Decode the arcs that bound one polygon; an arc of two polygons is no coast."""
    uses = Counter(_arc_numbers([g["arcs"] for g in topology["objects"]["land"]["geometries"]]))
    scale, translate = (np.asarray(topology["transform"][k]) for k in ("scale", "translate"))
    for number, arc in enumerate(topology["arcs"]):
        if uses[number] == 1:
            yield np.cumsum(np.asarray(arc), axis=0) * scale + translate


def cut(line: Line) -> list[Line]:
    """Split a line where it crosses the date line and drop edges that are no coast.

    Edges along -180, 180 and -90 close the polygons of the source; they are not coasts.
    """
    pieces: list[list[Line]] = [[]]
    for start, end in pairwise(line):
        for low, high in _within_map(start, end):
            if _is_seam(low, high):
                continue
            if not pieces[-1] or not np.allclose(pieces[-1][-1], low, atol=TOLERANCE_DEG):
                pieces.append([low])
            pieces[-1].append(high)
    return [np.asarray(piece) for piece in pieces if piece]


def write(lines: list[Line], path: Path) -> None:
    """Write .shp, .shx, .dbf and .prj; nothing in the files depends on the clock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with shapefile.Writer(str(path), shapeType=shapefile.POLYLINE) as writer:
        writer.field("featurecla", "C", size=16)
        for line in lines:
            writer.line([line.tolist()])
            writer.record("Coastline")
    table = bytearray(path.with_suffix(".dbf").read_bytes())
    table[1:4] = bytes((118, 5, 21))  # Natural Earth 4.1.0, 21 May 2018, not the day of the run
    path.with_suffix(".dbf").write_bytes(table)
    path.with_suffix(".prj").write_text(WGS84, encoding="ascii")


def _arc_numbers(nested: Any) -> Iterator[int]:
    """Numbers of the arcs in nested rings; ~n stands for arc n in reverse."""
    if isinstance(nested, int):
        yield nested if nested >= 0 else ~nested
        return
    for part in nested:
        yield from _arc_numbers(part)


def _within_map(start: Line, end: Line) -> list[tuple[Line, Line]]:
    """One edge as one or two edges that do not leave -180..180."""
    step = end[0] - start[0]
    if abs(step) <= 180:
        return [(start, end)]
    seam = 180.0 if step < 0 else -180.0
    unwrapped = end + np.array([2 * seam, 0])
    share = 0.0 if unwrapped[0] == start[0] else (seam - start[0]) / (unwrapped[0] - start[0])
    latitude = start[1] + share * (end[1] - start[1])
    halves = [
        (start, np.array([seam, latitude])),
        (np.array([-seam, latitude]), end),
    ]
    return [(low, high) for low, high in halves if not np.allclose(low, high)]


def _is_seam(low: Line, high: Line) -> bool:
    along_date_line = (
        abs(abs(low[0]) - 180) < TOLERANCE_DEG and abs(low[0] - high[0]) < TOLERANCE_DEG
    )
    along_pole = max(low[1], high[1]) < -90 + TOLERANCE_DEG
    return bool(along_date_line or along_pole)


if __name__ == "__main__":
    main()
