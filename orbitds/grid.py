"""Latitude-longitude grids: uniform cells, their refinement, bounds and areas."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import xarray as xr

# Mean Earth radius 6371.0 km (IUGG): one degree of a great circle.
KM_PER_DEGREE = 6371.0 * np.pi / 180
# Coordinates are often stored in float32, good to about 1e-5 degree.
TOLERANCE_CELLS = 1e-3

# Columns close the circle if they miss it by less: rounded coordinates, never a column.
CLOSING_CELLS = 0.03

# Half of a block's cells are half of its area within this share, whichever rows they are in.
TIE = 0.01

# Where the fine cells of a coarse cell lie: around its centre, or from its centre to the north and
# east, as where both grids are points that start at the same corner.
Placement = Literal["around", "northeast"]


@dataclass(frozen=True, eq=False)
class Grid:
    """A uniform grid of cells, rows from north to south, columns from west to east.

    Parameters
    ----------
    latitude_deg
        Centres of the rows, [H], decreasing.
    longitude_deg
        Centres of the columns, [W], increasing; may run beyond 360 where the date line is crossed.
    """

    latitude_deg: np.ndarray
    longitude_deg: np.ndarray

    @classmethod
    def of(cls, ds: xr.Dataset | xr.DataArray) -> "Grid":
        """Return the grid of a dataset with canonical ``latitude`` and ``longitude``."""
        return cls.on(ds["latitude"].values, ds["longitude"].values)

    @classmethod
    def on(cls, latitude_deg: np.ndarray, longitude_deg: np.ndarray) -> "Grid":
        """Return the grid on two axes.

        Raises
        ------
        ValueError
            If they are not uniform, one from north to south and the other from west to east.
        """
        rows = _uniform(latitude_deg, "latitude", -1)
        return cls(rows, _uniform(longitude_deg, "longitude", 1))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.latitude_deg.size, self.longitude_deg.size

    @cached_property
    def spacing_deg(self) -> tuple[float, float]:
        """Height and width of a cell in degrees."""
        return -_step(self.latitude_deg), _step(self.longitude_deg)

    @property
    def spacing_km(self) -> float:
        """North-south distance between neighbouring centres."""
        return self.spacing_deg[0] * KM_PER_DEGREE

    @property
    def periodic(self) -> bool:
        """Whether the columns close the circle of longitude."""
        width = self.spacing_deg[1]
        return bool(abs(self.shape[1] * width - 360) < CLOSING_CELLS * width)

    @cached_property
    def latitude_bounds_deg(self) -> np.ndarray:
        """North and south edge of each row, [H, 2]."""
        half = self.spacing_deg[0] / 2
        return np.stack([self.latitude_deg + half, self.latitude_deg - half], axis=-1)

    @cached_property
    def longitude_bounds_deg(self) -> np.ndarray:
        """West and east edge of each column, [W, 2]."""
        half = self.spacing_deg[1] / 2
        return np.stack([self.longitude_deg - half, self.longitude_deg + half], axis=-1)

    @cached_property
    def area(self) -> np.ndarray:
        """Area of each cell over the mean area, [H, W]: the weight of a cell in every mean."""
        return np.repeat(self.row_area[:, None], self.shape[1], axis=1)

    @cached_property
    def row_area(self) -> np.ndarray:
        """Area of a cell of each row over the mean area, [H]."""
        north, south = np.sin(np.deg2rad(np.clip(self.latitude_bounds_deg, -90, 90))).T
        return (north - south) / np.mean(north - south)

    def crop(self, rows: range, columns: range) -> "Grid":
        """Return the grid of some rows and columns; its spacing is that of the whole."""
        part = type(self)(
            self.latitude_deg[rows.start : rows.stop],
            self.longitude_deg[columns.start : columns.stop],
        )
        part.__dict__["spacing_deg"] = self.spacing_deg  # one row alone would not tell
        return part

    def refine(self, factor: int, placement: Placement = "around") -> "Grid":
        """Return the grid whose ``factor x factor`` children fill each cell.

        The mean of the children's centres is the parent's centre, unless they lie to its northeast.

        Raises
        ------
        ValueError
            If cells reach beyond a pole, so that children would lie outside the globe.
        """
        rows = refine_centres(
            self.latitude_deg, factor, row_placement(self.latitude_deg, placement)
        )
        # children around the centre lie on the globe if the cell does
        outer = self.latitude_bounds_deg if placement == "around" else rows
        if np.abs(outer).max() > 90 + TOLERANCE_CELLS * self.spacing_deg[0]:
            raise ValueError(
                "Wanted rows whose cells end at the poles, got centres from "
                f"{self.latitude_deg[0]:g} to {self.latitude_deg[-1]:g} every "
                f"{self.spacing_deg[0]:g} degrees, whose outer cells reach beyond 90 degrees. "
                f"Drop the {'pole rows' if placement == 'around' else 'row of the north pole'}, or "
                "average neighbouring rows."
            )
        return type(self)(rows, refine_centres(self.longitude_deg, factor, placement))

    def coarsen(self, factor: int) -> "Grid":
        """Return the grid of blocks of ``factor x factor`` cells.

        Raises
        ------
        ValueError
            If rows or columns are no multiples of the factor.
        """
        if self.shape[0] % factor or self.shape[1] % factor:
            raise ValueError(
                f"Wanted rows and columns that are multiples of {factor}, got {self.shape}. "
                "Choose another factor, or cut the region to a multiple."
            )
        rows = self.latitude_deg.reshape(-1, factor).mean(axis=1)
        return type(self)(rows, self.longitude_deg.reshape(-1, factor).mean(axis=1))

    def factor_to(self, fine: "Grid") -> int:
        """Return the whole number of fine cells along the edge of one of these cells.

        Raises
        ------
        ValueError
            If the fine grid is no exact refinement of this one; the message names both.
        """
        factor = round(self.spacing_deg[0] / fine.spacing_deg[0])
        if factor >= 1 and fine.shape == (self.shape[0] * factor, self.shape[1] * factor):
            blocks = fine.coarsen(factor)
            if self.matches(blocks):
                return factor
        raise ValueError(
            f"Wanted a fine grid whose cells divide the coarse cells evenly, got coarse {self} "
            f"and fine {fine}. Regrid one of the two, or cut them to the same region."
        )

    def matches(self, other: "Grid") -> bool:
        """Whether two grids have the same cells, whole turns of longitude aside."""
        if self.shape != other.shape:
            return False
        tolerance = TOLERANCE_CELLS * self.spacing_deg[0] * 10
        turn = (self.longitude_deg - other.longitude_deg + 180) % 360 - 180
        rows = np.abs(self.latitude_deg - other.latitude_deg).max()
        return bool(rows < tolerance and np.abs(turn).max() < tolerance)

    def locate(self, other: "Grid") -> tuple[np.ndarray, np.ndarray] | None:
        """Return the rows and columns of this grid that are the cells of another, if all are."""
        tolerance = TOLERANCE_CELLS * self.spacing_deg[0] * 10
        rows = np.rint((self.latitude_deg[0] - other.latitude_deg) / self.spacing_deg[0])
        east = (other.longitude_deg - self.longitude_deg[0] + tolerance) % 360
        columns = np.rint((east - tolerance) / self.spacing_deg[1])
        rows, columns = rows.astype(int), columns.astype(int)
        inside = (rows >= 0).all() and (rows < self.shape[0]).all()
        if not (inside and (columns >= 0).all() and (columns < self.shape[1]).all()):
            return None
        # the centres of every third cell are those of cells three times as large
        if (np.diff(rows) != 1).any() or (np.diff(columns) % self.shape[1] != 1).any():
            return None
        found = type(self)(self.latitude_deg[rows], self.longitude_deg[columns])
        return (rows, columns) if found.matches(other) else None

    def __str__(self) -> str:
        north, south = self.latitude_deg[[0, -1]]
        west, east = self.longitude_deg[[0, -1]]
        height, width = self.spacing_deg
        return (
            f"{self.shape[0]} x {self.shape[1]} cells of {height:.4g} x {width:.4g} degrees "
            f"(latitude {north:g} to {south:g}, longitude {west:g} to {east:g})"
        )


def refine_centres(centres: np.ndarray, factor: int, placement: Placement = "around") -> np.ndarray:
    """Return the centres of ``factor`` equal children in each cell of a uniform axis."""
    centres = np.asarray(centres, dtype=np.float64)
    step = _step(centres)
    offsets = ((np.arange(factor) + 0.5) / factor - 0.5) * step
    if placement == "northeast":  # the first child in the sense of rising coordinates does not move
        offsets = offsets + (0.5 - 0.5 / factor) * abs(step)
    return (centres[:, None] + offsets).reshape(-1)


def row_placement(latitude_deg: np.ndarray, placement: Placement) -> Placement:
    """Return where the children of rows lie: around the centre if the rows end at both poles."""
    north, south = max(latitude_deg[[0, -1]]), min(latitude_deg[[0, -1]])
    half = (north - south) / (len(latitude_deg) - 1) / 2
    ends = np.abs([north + half - 90, south - half + 90]).max()
    return "around" if ends < TOLERANCE_CELLS * 10 * half else placement


def unwrap_longitude(longitude_deg: np.ndarray) -> np.ndarray:
    """Return longitudes without jumps of a whole turn between neighbours."""
    return np.unwrap(np.asarray(longitude_deg, dtype=np.float64), period=360)


def block_mean(ds: xr.Dataset, factor: int, *, least_valid: float = 1.0) -> xr.Dataset:
    """Return area-weighted means over blocks of ``factor x factor`` cells, lazily.

    Variables without a horizontal grid are dropped. The mean of integers is floating.

    Parameters
    ----------
    least_valid
        Share of a block's area, 0 to 1, that must have values: the mean is over these cells, and a
        block with less is missing. A block without any value is missing at 0 too.
    """
    grid = Grid.of(ds)
    coarse = grid.coarsen(factor)
    fields = [name for name in ds.data_vars if {"latitude", "longitude"} <= set(ds[name].dims)]
    area = xr.DataArray(grid.area[:, 0], dims="latitude")
    # shares of a row in its block, over the columns too: a block's shares sum to one
    total = np.repeat(area.values.reshape(-1, factor).sum(axis=1), factor) * factor
    share = area / total

    def mean(field: xr.DataArray) -> xr.DataArray:
        dtype = np.promote_types(field.dtype, np.float32)
        # float64 inside: float32 sums lose the agreement of a block mean with its children
        weighted = field.drop_vars(["latitude", "longitude"]).astype(np.float64) * share
        total = sums(weighted)
        if least_valid < 1:
            # rounded: the shares of a whole block sum to exactly one, and its mean is as without
            valid = sums(weighted.notnull() * share).round(12)
            enough = (valid > 0) & (valid >= least_valid - TIE)
            total = sums(weighted.fillna(0)) / valid.where(enough)
        return total.transpose(*field.dims).astype(dtype)

    def sums(field: xr.DataArray) -> xr.DataArray:
        return field.coarsen(latitude=factor, longitude=factor).reduce(np.sum)

    result = xr.Dataset({name: mean(ds[name]) for name in fields}, attrs=ds.attrs)
    result = result.assign_coords(
        latitude=("latitude", coarse.latitude_deg, ds["latitude"].attrs),
        longitude=("longitude", coarse.longitude_deg, ds["longitude"].attrs),
    )
    for name in fields:
        result[name].attrs = ds[name].attrs
    return result


def _uniform(centres: np.ndarray, axis: str, sign: int) -> np.ndarray:
    values = np.asarray(centres, dtype=np.float64)
    if values.size < 2:
        raise ValueError(
            f"Wanted at least two cells along {axis}, got {values.size}: the spacing is unknown. "
            "Select a larger region."
        )
    steps = np.diff(values) * sign
    # float32 coordinates near 360 are good to 3e-5 degree, whatever the spacing
    slack = TOLERANCE_CELLS * abs(steps.mean()) + 1e-4
    # asked this way round, NaN is refused too
    if not ((steps > 0).all() and np.abs(steps - steps.mean()).max() <= slack):
        raise ValueError(
            f"Wanted a uniform {axis} axis, got steps between {steps.min():.6g} and "
            f"{steps.max():.6g} degrees. Regrid the data to a regular latitude-longitude grid."
        )
    return values


def _step(centres: np.ndarray) -> float:
    return float(centres[-1] - centres[0]) / (centres.size - 1)
