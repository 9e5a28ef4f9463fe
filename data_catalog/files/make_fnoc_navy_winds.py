"""Make fnoc_navy_winds_2p5deg.nc: monthly near-surface wind with relief and land fraction.

Sources, all free to pass on (see LICENSE-ferret-datasets.txt):

* monthly_navy_winds.cdf and etopo5.cdf of Debian's package ferret-datasets 7.6.0-5,
* the GLOBE land mask of the Python package global-land-mask 1.0.0.

    apt-get download ferret-datasets && dpkg -x ferret-datasets_*.deb unpacked
    pip install global-land-mask==1.0.0
    python make_fnoc_navy_winds.py --output fnoc_navy_winds_2p5deg.nc \
        --ferret-data unpacked/usr/share/ferret-vis/data
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

Array = npt.NDArray[np.float64]

SPACING_DEG = 2.5
LATITUDE_EDGES_DEG = np.linspace(90.0, -90.0, 73)
LONGITUDE_EDGES_DEG = np.arange(145) * SPACING_DEG - SPACING_DEG / 2
MONTHS = pd.date_range("1982-01-01", periods=132, freq="MS")

WIND_ATTRIBUTES = {
    "eastward_wind": "eastward near-surface wind of the FNOC analysis, monthly mean",
    "northward_wind": "northward near-surface wind of the FNOC analysis, monthly mean",
}
ATTRIBUTES = {
    "Conventions": "CF-1.11",
    "title": "FNOC monthly near-surface wind 1982-1992 with relief and land fraction, 2.5 degrees",
    "institution": (
        "U.S. Navy Fleet Numerical Oceanography Center (wind analysis); "
        "NOAA Pacific Marine Environmental Laboratory (distribution with Ferret)"
    ),
    "source": (
        "Wind: monthly_navy_winds.cdf, FNOC operational analysis, as shipped in Debian's "
        "ferret-datasets 7.6.0-5. Relief: ETOPO5 (etopo5.cdf of the same package). "
        "Land: GLOBE 30 arc-second mask of the Python package global-land-mask 1.0.0."
    ),
    "history": (
        "Made by make_fnoc_navy_winds.py. Wind: each two neighbouring rows of the 73 that "
        "include the poles were averaged to 72 rows of cells and stored north to south; "
        "longitude was rolled from 20..377.5 to 0..357.5; mid-month times in hours were decoded "
        "and replaced by the start of the month with its bounds; values were packed in steps of "
        "0.001 m s-1. Relief: values below 0 m were set to 0 m, then averaged by area over each "
        "cell and rounded to 0.1 m. Land: share of each cell's area that is land, rounded to 0.001."
    ),
    "references": (
        "https://ferret.pmel.noaa.gov/Ferret/ ; Debian package ferret-datasets 7.6.0-5 ; "
        "NOAA NGDC (1988): Data Announcement 88-MGG-02, Digital relief of the surface of the "
        "Earth ; GLOBE Task Team (1999): The Global Land One-kilometer Base Elevation (GLOBE) "
        "Digital Elevation Model, version 1.0, NOAA NGDC"
    ),
    "license": (
        "Public domain: data of the United States government, distributed with NOAA PMEL's "
        "Ferret. The notice of the Debian package is in LICENSE-ferret-datasets.txt beside "
        "this file."
    ),
    "comment": (
        "Averaging two rows turns point values at rows -90, -87.5 ... 90 into values of cells "
        "between them; it damps waves along a meridian (by 29 % at a wavelength of 10 degrees, "
        "wholly at 5) and leaves those along a parallel. In the source the row at the north "
        "pole holds one pair of components for all longitudes, so treat the row at 88.75 N with "
        "care. Lakes count as land; land below sea level has relief 0."
    ),
}


def main() -> None:
    """Read the sources, build the dataset, write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ferret-data", type=Path, required=True, help="folder of the .cdf files")
    parser.add_argument("--output", type=Path, required=True, help="NetCDF file to write")
    arguments = parser.parse_args()

    dataset = wind(arguments.ferret_data / "monthly_navy_winds.cdf")
    dataset["orography"] = orography(arguments.ferret_data / "etopo5.cdf")
    dataset["land_sea_mask"] = land_fraction()
    write(describe(dataset), arguments.output)


def wind(path: Path) -> xr.Dataset:
    """Monthly wind on cells between the source's rows, north to south, 0 to 357.5 degrees east."""
    with xr.open_dataset(path) as source:
        decoded = pd.DatetimeIndex(source["TIME"].values).to_period("M").to_timestamp()
        if not decoded.equals(MONTHS):
            raise ValueError(f"{path.name}: expected months {MONTHS[0]} to {MONTHS[-1]}")
        if not np.array_equal(source["FNOCY"], np.linspace(-90, 90, 73)):
            raise ValueError(f"{path.name}: expected 73 rows from -90 to 90")
        if not np.array_equal(source["FNOCX"], 20 + SPACING_DEG * np.arange(144)):
            raise ValueError(f"{path.name}: expected 144 columns from 20 to 377.5")
        fields = {
            "eastward_wind": source["UWND"].values.astype(float),
            "northward_wind": source["VWND"].values.astype(float),
        }
    columns_from_0 = round(20 / SPACING_DEG)
    result = xr.Dataset(coords=coordinates())
    for name, field in fields.items():
        rows = 0.5 * (field[:, 1:] + field[:, :-1])
        cells = np.roll(rows[:, ::-1], columns_from_0, axis=-1)
        result[name] = (("time", "latitude", "longitude"), cells)
    return result


def coordinates() -> dict[str, tuple[str, npt.ArrayLike]]:
    """Cell centres and month starts."""
    return {
        "time": ("time", MONTHS),
        "latitude": ("latitude", LATITUDE_EDGES_DEG[:-1] - SPACING_DEG / 2),
        "longitude": ("longitude", LONGITUDE_EDGES_DEG[:-1] + SPACING_DEG / 2),
    }


def orography(path: Path) -> xr.DataArray:
    """Area mean over each cell of ETOPO5's relief, sea floor and depressions set to 0 m.

    ETOPO5's nodes lie on full 5 arc-minutes and include both poles: a node stands for the
    2.5 arc-minutes around it, cut off at the poles. Nodes on an edge of a cell belong half to
    each side, hence weights.
    """
    step_deg, rows, columns = 1 / 12, 2161, 4320
    with xr.open_dataset(path) as source:
        relief = source["ROSE"].values.astype(float)
    if relief.shape != (rows, columns) or np.isnan(relief).any():
        raise ValueError(f"{path.name}: expected {rows} x {columns} values without gaps")

    # The file's longitudes are off by up to 0.003 degrees (rounding): count nodes instead.
    node_south = np.clip(-90 + (np.arange(rows) - 0.5) * step_deg, -90, 90)
    node_north = np.clip(-90 + (np.arange(rows) + 0.5) * step_deg, -90, 90)
    by_row = overlap(
        _sine(LATITUDE_EDGES_DEG[1:]), _sine(LATITUDE_EDGES_DEG[:-1]),
        _sine(node_south), _sine(node_north),
    )  # fmt: skip
    node_west = (np.arange(columns) - 0.5) * step_deg
    by_column = sum(
        overlap(LONGITUDE_EDGES_DEG[:-1], LONGITUDE_EDGES_DEG[1:], node_west + turn,
                node_west + step_deg + turn)
        for turn in (-360, 0, 360)
    )  # fmt: skip
    total = by_row.sum(1)[:, None] * by_column.sum(1)
    mean = by_row @ np.maximum(relief, 0) @ by_column.T / total
    return xr.DataArray(mean.round(1), dims=("latitude", "longitude"))


def overlap(low: Array, high: Array, node_low: Array, node_high: Array) -> Array:
    """Length that each interval [low, high] shares with each [node_low, node_high]."""
    upper = np.minimum(high[:, None], node_high)
    lower = np.maximum(low[:, None], node_low)
    return np.maximum(upper - lower, 0)


def land_fraction() -> xr.DataArray:
    """Share of each cell's area that the 30 arc-second GLOBE mask calls land."""
    from global_land_mask import globe

    per_degree = 120
    per_cell = round(SPACING_DEG * per_degree)
    # Centres of the mask's own cells: every cell is asked once, and none lies on an edge.
    longitude = LONGITUDE_EDGES_DEG[0] + (np.arange(360 * per_degree) + 0.5) / per_degree
    longitude = (longitude + 180) % 360 - 180
    fraction = np.empty((72, 144))
    for row, north in enumerate(LATITUDE_EDGES_DEG[:-1]):
        edges = north - np.arange(per_cell + 1) / per_degree
        centres = 0.5 * (edges[1:] + edges[:-1])
        land = globe.is_land(centres[:, None], longitude[None, :])
        by_column = land.reshape(per_cell, 144, per_cell).mean(-1)
        fraction[row] = np.average(by_column, axis=0, weights=-np.diff(_sine(edges)))
    return xr.DataArray(fraction.round(3), dims=("latitude", "longitude"))


def describe(dataset: xr.Dataset) -> xr.Dataset:
    """Add bounds and CF attributes."""
    next_month = MONTHS + pd.offsets.MonthBegin(1)
    dataset["time_bnds"] = (("time", "bnds"), np.stack([MONTHS, next_month], axis=1))
    for name, edges in {"latitude": LATITUDE_EDGES_DEG, "longitude": LONGITUDE_EDGES_DEG}.items():
        dataset[f"{name}_bnds"] = ((name, "bnds"), np.stack([edges[:-1], edges[1:]], axis=1))
    for name, (axis, units) in {
        "time": ("T", None),
        "latitude": ("Y", "degrees_north"),
        "longitude": ("X", "degrees_east"),
    }.items():
        dataset[name].attrs = {
            "standard_name": name,
            "long_name": "start of the month" if name == "time" else name,
            "axis": axis,
            "bounds": f"{name}_bnds",
        } | ({"units": units} if units else {})
    dataset["time"].attrs["units_metadata"] = "leap_seconds: none"
    for name, long_name in WIND_ATTRIBUTES.items():
        dataset[name].attrs = {
            "standard_name": name,
            "long_name": long_name,
            "units": "m s-1",
            "cell_methods": "time: mean",
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
    """Write packed wind and compressed static fields; nothing in the file depends on the clock."""
    compressed = {"zlib": True, "complevel": 9, "shuffle": True}
    encoding: dict[str, dict[str, object]] = {
        name: {"_FillValue": None} for name in dataset.variables if name not in WIND_ATTRIBUTES
    }
    for name in WIND_ATTRIBUTES:
        # A scale in single precision makes readers unpack to single precision.
        step, largest = np.float32(0.001), np.iinfo(np.int16).max
        if float(abs(dataset[name]).max()) >= step * largest:
            raise ValueError(f"{name} does not fit into 16 bits in steps of {step}")
        encoding[name] = compressed | {
            "dtype": "int16",
            "scale_factor": step,
            "_FillValue": np.int16(-largest - 1),
            "chunksizes": (12, 72, 144),
        }
    for name in ("orography", "land_sea_mask"):
        encoding[name] |= compressed | {"dtype": "float32"}
    for name in ("time", "time_bnds"):
        encoding[name] |= {
            "dtype": "int32",
            "units": "days since 1982-01-01 00:00:00",
            "calendar": "standard",
        }
    # Renamed when whole: a reader that has the old file open neither blocks nor sees a part.
    part = path.with_suffix(".part")
    dataset.to_netcdf(part, engine="netcdf4", format="NETCDF4", encoding=encoding)
    part.replace(path)


def _sine(latitude_deg: Array) -> Array:
    return np.sin(np.deg2rad(latitude_deg))


if __name__ == "__main__":
    main()
