"""What a checkpoint knows of the place it was trained on: fine statics and climatology."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from orbitds.grid import Grid
from orbitds.resources import shown

MONTHS = 12


@dataclass(frozen=True, eq=False)
class Region:
    """Fine fields of the training region, in physical units."""

    grid: Grid
    """The fine grid."""
    statics: np.ndarray
    """Static fields, [S, Hf, Wf]."""
    fine_climatology: np.ndarray | None = None
    """Monthly means of the outputs, [12, U, Hf, Wf]."""
    coarse_climatology: np.ndarray | None = None
    """The same on the coarse grid, [12, U, H, W]."""
    offset: tuple[int, int] = (0, 0)
    """Coarse rows and columns of the training grid that lie north and west."""

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Region":
        """Return the region that ``arrays`` describes.

        Raises
        ------
        ValueError
            If the coordinates are no uniform axes from north to south and from west to east.
        """
        grid = Grid.on(arrays["latitude_deg"], arrays["longitude_deg"])
        climatology = arrays.get("fine_climatology"), arrays.get("coarse_climatology")
        return cls(grid, arrays["statics"], *climatology)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return plain arrays by name, for storage."""
        arrays = {
            "latitude_deg": self.grid.latitude_deg,
            "longitude_deg": self.grid.longitude_deg,
            "statics": self.statics.astype(np.float32),
        }
        if self.fine_climatology is not None and self.coarse_climatology is not None:
            arrays["fine_climatology"] = self.fine_climatology.astype(np.float32)
            arrays["coarse_climatology"] = self.coarse_climatology.astype(np.float32)
        return arrays

    def cut(self, fine: Grid, factor: int) -> "Region | None":
        """Return the fields of a grid within the region, or None if it reaches outside."""
        place = self.grid.locate(fine)
        if place is None:
            return None
        rows, columns = place
        offset = int(rows[0]) // factor, int(columns[0]) // factor
        fits = not (rows[0] % factor or columns[0] % factor)
        rows, columns = _in_a_row(rows), _in_a_row(columns)
        fine_climatology = coarse_climatology = None
        if self.fine_climatology is not None and self.coarse_climatology is not None:
            if not fits:
                return None  # the coarse cells lie across those of the training grid
            fine_climatology = self.fine_climatology[..., rows, :][..., columns]
            coarse = self.coarse_climatology[..., _coarse(rows, factor), :]
            coarse_climatology = coarse[..., _coarse(columns, factor)]
        statics = self.statics[:, rows, :][..., columns]
        return replace(
            self,
            grid=fine,
            statics=statics,
            fine_climatology=fine_climatology,
            coarse_climatology=coarse_climatology,
            offset=offset,
        )


def _in_a_row(places: np.ndarray) -> slice | np.ndarray:
    """Return places as a slice, which takes no copy, unless they go on at the other end."""
    first, last = int(places[0]), int(places[-1])
    return slice(first, last + 1) if last - first == places.size - 1 else places


def _coarse(places: slice | np.ndarray, factor: int) -> slice | np.ndarray:
    """Return the coarse cells of fine ones that fill them."""
    if isinstance(places, slice):
        return slice(places.start // factor, places.stop // factor)
    return places[::factor] // factor


def check_shapes(
    shapes: Mapping[str, tuple[int, ...]], *, statics: int, outputs: int, factor: int
) -> None:
    """Refuse arrays that are not those of a region.

    Parameters
    ----------
    shapes
        By name, as of ``Region.arrays``.
    statics, outputs
        Number of static fields and of output variables.
    factor
        Fine cells along the edge of a coarse cell.

    Raises
    ------
    ValueError
        If a name or a shape is another one.
    """
    rows, columns = (shapes.get(f"{axis}_deg", ()) for axis in ("latitude", "longitude"))
    wanted = {"latitude_deg": rows[:1], "longitude_deg": columns[:1]}
    fine = rows[:1] + columns[:1]
    wanted["statics"] = (statics, *fine)
    if any(name.endswith("_climatology") for name in shapes):
        wanted["fine_climatology"] = (MONTHS, outputs, *fine)
        wanted["coarse_climatology"] = (MONTHS, outputs, *(size // factor for size in fine))
    if dict(shapes) != wanted or len(fine) < 2 or any(size % factor for size in fine):
        got = ", ".join(f"{shown(name)} {list(shape)}" for name, shape in list(shapes.items())[:9])
        raise ValueError(
            f"arrays {got}, where {statics} static fields and {outputs} outputs on axes of "
            f"multiples of {factor} cells belong"
        )
