"""What a checkpoint knows of the place it was trained on: fine statics and climatology."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from orbitds.grid import Grid


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
        """Return the region that ``arrays`` describes."""
        grid = Grid(arrays["latitude_deg"], arrays["longitude_deg"])
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
