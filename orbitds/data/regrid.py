"""Conservative regridding: the area that cells of two grids share."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.sparse import csr_array

from orbitds.data.values import missing_of
from orbitds.grid import TIE, TOLERANCE_CELLS, Grid, block_mean

# A cell has a value where at least this share of it has, and is covered at all.
LEAST_SHARE = 0.5


def overlap(source_edges: np.ndarray, target_edges: np.ndarray) -> csr_array:
    """Return the length that each target interval shares with each source interval, [N, M].

    Parameters
    ----------
    source_edges, target_edges
        Edges of adjoining intervals, increasing, [M + 1] and [N + 1].
    """
    count = target_edges.size - 1
    first = np.searchsorted(source_edges, target_edges[:-1], side="right") - 1
    last = np.searchsorted(source_edges, target_edges[1:], side="left")
    rows, columns, lengths = [], [], []
    for step in range(max(0, int((last - first).max(initial=0)))):
        at = first + step
        inside = (at >= 0) & (at < source_edges.size - 1)
        row, column = np.arange(count)[inside], at[inside]
        shared = np.minimum(target_edges[row + 1], source_edges[column + 1])
        shared -= np.maximum(target_edges[row], source_edges[column])
        present = shared > 0
        rows.append(row[present])
        columns.append(column[present])
        lengths.append(shared[present])
    if not rows:
        return csr_array((count, source_edges.size - 1))
    place = np.concatenate(rows), np.concatenate(columns)
    return csr_array((np.concatenate(lengths), place), shape=(count, source_edges.size - 1))


@dataclass(frozen=True, eq=False)
class Regridder:
    """Means over the cells of another grid, weighted by the area shared.

    On a sphere the area shared by two cells of latitude and longitude is a product, so two small
    matrices say it all. Rows that reach beyond a pole end there; longitudes go round the globe.
    """

    rows: csr_array
    """Difference of the sine of latitude that rows share, [h, H]."""
    columns: csr_array
    """Degrees of longitude that columns share, [w, W]."""
    area: Float[np.ndarray, "h w"]
    """Area of the target cells, in the same measure."""

    @classmethod
    def between(cls, source: Grid, target: Grid) -> "Regridder":
        """Return the regridder from one grid to another."""
        south, north = (_row_edges(grid) for grid in (source, target))
        west, east = (_column_edges(grid) for grid in (source, target))
        columns = sum(
            (overlap(west + turn, east) for turn in (-720.0, -360.0, 360.0, 720.0)),
            start=overlap(west, east),
        )
        area = np.diff(north)[:, None] * np.diff(east)[None, :]
        return cls(overlap(south, north), csr_array(columns), area)

    def __call__(
        self, fields: Float[np.ndarray, "*B H W"], *, least_valid: float = LEAST_SHARE
    ) -> Float[np.ndarray, "*B h w"]:
        """Return the means; a cell is missing where the source grid covers less than half of it.

        Parameters
        ----------
        least_valid
            Share, 0 to 1, of what is covered of a cell that must have values; see ``block_mean``.
        """
        flat = fields.reshape(-1, *fields.shape[-2:])
        result = np.empty((len(flat), *self.area.shape), np.promote_types(fields.dtype, np.float32))
        whole = self._sum(np.ones(fields.shape[-2:]))
        outside = whole < (LEAST_SHARE - TOLERANCE_CELLS) * self.area
        for mean, field in zip(result, flat, strict=True):
            absent = np.isnan(field)
            # float64 inside, as block_mean
            total = self._sum(np.where(absent, 0.0, field).astype(np.float64))
            valid = self._sum((~absent).astype(np.float64)) if absent.any() else whole
            if least_valid < 1:
                short = valid < (least_valid - TIE) * whole
            else:
                short = self._sum(absent.astype(np.float64)) > 0
            mean[...] = np.where(
                short | outside, np.nan, total / np.where(valid > 0, valid, np.nan)
            )
        return result.reshape(*fields.shape[:-2], *self.area.shape)

    def _sum(self, field: np.ndarray) -> np.ndarray:
        return (self.columns @ (self.rows @ field).T).T


def regrid(ds: xr.Dataset, target: Grid, *, least_valid: float = LEAST_SHARE) -> xr.Dataset:
    """Return a canonical dataset on another grid by conservative means, lazily.

    A whole number of cells makes block means; anything else is weighted by the area shared.

    Parameters
    ----------
    least_valid
        Share of a cell, 0 to 1, that must have values where the dataset declares missing ones;
        where it does not, a missing value makes the cell missing.
    """
    least = least_valid if missing_of(ds) == "mask" else 1.0
    source = Grid.of(ds)
    if source.matches(target):
        coordinates = _coordinates(ds, target)
        return ds.assign_coords(coordinates)
    if (factor := _whole(source, target)) is not None:
        means = block_mean(ds, factor, least_valid=least)
        return means.assign_coords(_coordinates(ds, target))
    mean = Regridder.between(source, target)
    fields = {
        name: xr.apply_ufunc(
            mean,
            _whole_fields(ds[name]),
            kwargs={"least_valid": least},
            input_core_dims=[["latitude", "longitude"]],
            output_core_dims=[["latitude", "longitude"]],
            exclude_dims={"latitude", "longitude"},
            dask="parallelized",
            dask_gufunc_kwargs={
                "output_sizes": dict(zip(("latitude", "longitude"), target.shape, strict=True))
            },
            output_dtypes=[np.promote_types(ds[name].dtype, np.float32)],
            keep_attrs=True,
        )
        for name in ds.data_vars
    }
    return xr.Dataset(fields, attrs=ds.attrs).assign_coords(_coordinates(ds, target))


def cell_grid(source: Grid, spacing_deg: float, *, multiple: int = 1) -> Grid:
    """Return cells of a width, counted from the north pole and Greenwich, that a grid covers.

    Points that include both poles, such as the 721 rows of ERA5, so become cells that end there.

    Parameters
    ----------
    multiple
        Rows and columns come in whole groups of this many: the factor to a coarser grid.

    Raises
    ------
    ValueError
        If the source is smaller than one group of cells.
    """
    group = spacing_deg * multiple
    slack = TOLERANCE_CELLS * spacing_deg
    north, south = (float(edge) for edge in _row_edges_deg(source)[[0, -1]])
    if source.periodic:
        west, east = 0.0, 360.0
    else:
        west, east = (float(edge) for edge in _column_edges(source)[[0, -1]])
    low, high = np.ceil((90 - north - slack) / group), np.floor((90 - south + slack) / group)
    left, right = np.ceil((west - slack) / group), np.floor((east + slack) / group)
    shape = round((high - low) * multiple), round((right - left) * multiple)
    if min(shape) < 2 or (source.periodic and abs((right - left) * group - 360) > slack):
        raise ValueError(
            f"Wanted cells of {spacing_deg:g} degrees in groups of {multiple} that fit into the "
            f"data, got {source}. Choose another width or factor."
        )
    return Grid(
        90 - low * group - (np.arange(shape[0]) + 0.5) * spacing_deg,
        left * group + (np.arange(shape[1]) + 0.5) * spacing_deg,
    )


def _whole(source: Grid, target: Grid) -> int | None:
    """Return the whole number of source cells along the edge of a target cell, if it is one."""
    try:
        return target.factor_to(source)
    except ValueError:
        return None


def _whole_fields(field: xr.DataArray) -> xr.DataArray:
    return field.chunk(latitude=-1, longitude=-1) if field.chunks else field


def _coordinates(ds: xr.Dataset, target: Grid) -> Mapping[str, tuple]:
    return {
        "latitude": ("latitude", target.latitude_deg, ds["latitude"].attrs),
        "longitude": ("longitude", target.longitude_deg, ds["longitude"].attrs),
    }


def _row_edges_deg(grid: Grid) -> np.ndarray:
    bounds = grid.latitude_bounds_deg
    return np.clip(np.append(bounds[:, 0], bounds[-1, 1]), -90, 90)


def _row_edges(grid: Grid) -> np.ndarray:
    """Return the edges of the rows in the sine of latitude, turned so that they increase."""
    return -np.sin(np.deg2rad(_row_edges_deg(grid)))


def _column_edges(grid: Grid) -> np.ndarray:
    bounds = grid.longitude_bounds_deg
    return np.append(bounds[:, 0], bounds[-1, 1])
