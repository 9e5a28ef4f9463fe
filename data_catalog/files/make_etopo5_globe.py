"""Make etopo5_globe_0p1deg.nc: orography and land fraction of the whole globe, 0.1 degrees.

Sources, all free to pass on (see LICENSE-ferret-datasets.txt):

* etopo5.cdf of Debian's package ferret-datasets 7.6.0-5,
* the GLOBE land mask of the Python package global-land-mask 1.0.0.

    apt-get download ferret-datasets && dpkg -x ferret-datasets_*.deb unpacked
    pip install global-land-mask==1.0.0
    python make_etopo5_globe.py --output etopo5_globe_0p1deg.nc \
        --ferret-data unpacked/usr/share/ferret-vis/data
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.sparse
import xarray as xr

Array = npt.NDArray[np.float64]

ROWS, COLUMNS = 1800, 3600
LATITUDE_EDGES_DEG = np.linspace(90.0, -90.0, ROWS + 1)
LONGITUDE_EDGES_DEG = np.linspace(0.0, 360.0, COLUMNS + 1)

ATTRIBUTES = {
    "Conventions": "CF-1.11",
    "title": "Orography of ETOPO5 and land fraction of GLOBE, global, 0.1 degrees",
    "institution": (
        "NOAA National Geophysical Data Center (relief, land mask); "
        "NOAA Pacific Marine Environmental Laboratory (distribution of the relief with Ferret)"
    ),
    "source": (
        "Relief: ETOPO5, etopo5.cdf of Debian's ferret-datasets 7.6.0-5. "
        "Land: GLOBE 30 arc-second mask of the Python package global-land-mask 1.0.0."
    ),
    "history": (
        "Made by make_etopo5_globe.py. Relief: values below 0 m were set to 0 m, then averaged by "
        "area over each cell and rounded to 1 m. Land: share of each cell's area that is land, "
        "rounded to 0.01."
    ),
    "references": (
        "Debian package ferret-datasets 7.6.0-5 ; "
        "NOAA NGDC (1988): Data Announcement 88-MGG-02, Digital relief of the surface of the "
        "Earth ; GLOBE Task Team (1999): The Global Land One-kilometer Base Elevation (GLOBE) "
        "Digital Elevation Model, version 1.0, NOAA NGDC"
    ),
    "license": (
        "Public domain: data of the United States government. The notice of the Debian package "
        "is in LICENSE-ferret-datasets.txt beside this file."
    ),
    "comment": (
        "ETOPO5's own resolution is 1/12 degree, and parts of it were made from coarser maps. "
        "Lakes count as land; land below sea level has orography 0."
    ),
}


def main() -> None:
    """Read the sources, build the dataset, write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ferret-data", type=Path, required=True, help="folder of etopo5.cdf")
    parser.add_argument("--output", type=Path, required=True, help="NetCDF file to write")
    arguments = parser.parse_args()

    axes = {
        "latitude": ("latitude", 0.5 * (LATITUDE_EDGES_DEG[1:] + LATITUDE_EDGES_DEG[:-1])),
        "longitude": ("longitude", 0.5 * (LONGITUDE_EDGES_DEG[1:] + LONGITUDE_EDGES_DEG[:-1])),
    }
    # float noise of the mean of two edges: 0.15000000000000002
    dataset = xr.Dataset(coords={name: (dim, edge.round(6)) for name, (dim, edge) in axes.items()})
    dataset["orography"] = orography(arguments.ferret_data / "etopo5.cdf")
    dataset["land_sea_mask"] = land_fraction()
    write(describe(dataset), arguments.output)


def orography(path: Path) -> xr.DataArray:
    """Area mean over each cell of ETOPO5's relief, sea floor and depressions set to 0 m.

    ETOPO5's nodes lie on full 5 arc-minutes and include both poles: a node stands for the
    2.5 arc-minutes around it, cut off at the poles.
    """
    step_deg, rows, columns = 1 / 12, 2161, 4320
    with xr.open_dataset(path) as source:
        relief = source["ROSE"].values.astype(float)
    if relief.shape != (rows, columns) or np.isnan(relief).any():
        raise ValueError(f"{path.name}: expected {rows} x {columns} values without gaps")

    # The file's longitudes are off by up to 0.003 degrees (rounding): count nodes instead.
    nodes = np.clip(-90 + (np.arange(rows + 1) - 0.5) * step_deg, -90, 90)
    by_row = overlap(_sine(LATITUDE_EDGES_DEG[::-1]), _sine(nodes))[::-1]
    # half a node lies west of Greenwich: one more turn of nodes, cut where the cells end
    turns = (np.arange(columns + 2) - 0.5) * step_deg
    by_column = overlap(LONGITUDE_EDGES_DEG, turns)
    around = np.concatenate([np.maximum(relief, 0), np.maximum(relief[:, :1], 0)], axis=1)
    mean = by_column @ (by_row @ around).T
    # rounded twice: the first rounding hides in which order a machine adds
    return xr.DataArray(mean.T.round(6).round(0), dims=("latitude", "longitude"))


def overlap(edges: Array, parts: Array) -> scipy.sparse.csr_array:
    """Share of each interval between rising edges that lies between each two of `parts`."""
    shares = scipy.sparse.lil_array((edges.size - 1, parts.size - 1))
    for row, (low, high) in enumerate(itertools.pairwise(edges)):
        first = np.searchsorted(parts, low, "right") - 1
        stop = np.searchsorted(parts, high, "left")
        inner = np.clip(parts[first : stop + 1], low, high)
        shares[row, first:stop] = np.diff(inner) / (high - low)
    return shares.tocsr()


def land_fraction() -> xr.DataArray:
    """Share of each cell's area that the 30 arc-second GLOBE mask calls land."""
    from global_land_mask import globe

    per_degree = 120
    per_cell = round(360 / COLUMNS * per_degree)
    # Centres of the mask's own cells: every cell is asked once, and none lies on an edge.
    longitude = (np.arange(360 * per_degree) + 0.5) / per_degree
    longitude = (longitude + 180) % 360 - 180
    fraction = np.empty((ROWS, COLUMNS))
    for row, north in enumerate(LATITUDE_EDGES_DEG[:-1]):
        edges = north - np.arange(per_cell + 1) / per_degree
        centres = 0.5 * (edges[1:] + edges[:-1])
        land = globe.is_land(centres[:, None], longitude[None, :])
        by_column = land.reshape(per_cell, COLUMNS, per_cell).mean(-1)
        fraction[row] = np.average(by_column, axis=0, weights=-np.diff(_sine(edges)))
    return xr.DataArray(fraction.round(6).round(2), dims=("latitude", "longitude"))


def describe(dataset: xr.Dataset) -> xr.Dataset:
    """Add bounds and CF attributes."""
    for name, edges, axis, units in (
        ("latitude", LATITUDE_EDGES_DEG, "Y", "degrees_north"),
        ("longitude", LONGITUDE_EDGES_DEG, "X", "degrees_east"),
    ):
        bounds = np.stack([edges[:-1], edges[1:]], axis=1).round(6)
        dataset[f"{name}_bnds"] = ((name, "bnds"), bounds)
        dataset[name].attrs = {
            "standard_name": name,
            "long_name": name,
            "units": units,
            "axis": axis,
            "bounds": f"{name}_bnds",
        }
    dataset["orography"].attrs = {
        "standard_name": "surface_altitude",
        "long_name": "orography: relief of ETOPO5 with values below 0 set to 0",
        "units": "m",
        "cell_methods": "area: mean",
    }
    dataset["land_sea_mask"].attrs = {
        "standard_name": "land_area_fraction",
        "long_name": "share of land in the cell, 1 land, 0 sea",
        "units": "1",
    }
    dataset.attrs = ATTRIBUTES
    return dataset


def write(dataset: xr.Dataset, path: Path) -> None:
    """Write full metres and percent, compressed; nothing in the file depends on the clock."""
    compressed = {"zlib": True, "complevel": 9, "shuffle": True, "chunksizes": (300, 600)}
    encoding: dict[str, dict[str, object]] = {
        name: {"_FillValue": None, "zlib": True} for name in dataset.variables
    }
    # A scale and a fill value, of which there is none, make readers unpack to single precision.
    metres, percent = ("int16", 1, np.int16(-(2**15))), ("uint8", 0.01, np.uint8(255))
    for name, (dtype, scale, fill) in {"orography": metres, "land_sea_mask": percent}.items():
        packed = {"dtype": dtype, "scale_factor": np.float32(scale), "_FillValue": fill}
        encoding[name] |= compressed | packed
    # Renamed when whole: a reader that has the old file open neither blocks nor sees a part.
    part = path.with_suffix(".part")
    dataset.to_netcdf(part, engine="netcdf4", format="NETCDF4", encoding=encoding)
    part.replace(path)


def _sine(latitude_deg: Array) -> Array:
    return np.sin(np.deg2rad(latitude_deg))


if __name__ == "__main__":
    main()
