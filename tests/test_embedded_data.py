"""The embedded data against numbers taken from their sources by another way."""

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from orbitds.grid import Grid
from orbitds.resources import share

WINDS = "data_catalog/files/fnoc_navy_winds_2p5deg.nc"
GLOBE = "data_catalog/files/etopo5_globe_0p1deg.nc"
COAST = "data_catalog/files/cartopy/shapefiles/natural_earth/physical/ne_110m_coastline"


@pytest.fixture(scope="module")
def winds():
    with xr.open_dataset(share(WINDS)) as dataset:
        yield dataset.load()


def test_grid_is_exact(winds):
    np.testing.assert_array_equal(winds["latitude"], 88.75 - 2.5 * np.arange(72))
    np.testing.assert_array_equal(winds["longitude"], 2.5 * np.arange(144))
    grid = Grid.of(winds)
    assert grid.periodic
    np.testing.assert_array_equal(winds["latitude_bnds"], grid.latitude_bounds_deg)
    np.testing.assert_array_equal(winds["longitude_bnds"], grid.longitude_bounds_deg)
    assert winds["latitude"].attrs["bounds"] == "latitude_bnds"
    assert winds["longitude"].attrs["bounds"] == "longitude_bnds"


def test_time_is_132_whole_months(winds):
    starts = pd.date_range("1982-01-01", "1993-01-01", freq="MS")
    np.testing.assert_array_equal(winds["time"], starts[:-1])
    np.testing.assert_array_equal(winds["time_bnds"], np.stack([starts[:-1], starts[1:]], axis=1))


@pytest.mark.parametrize(
    ("month", "latitude_deg", "longitude_deg", "eastward", "northward"),
    [
        # Read from monthly_navy_winds.cdf with netCDF4 alone, without decoding or rolling: the mean
        # of UWND (VWND) at TIME number n, FNOCX = longitude or longitude + 360, FNOCY = latitude
        # -1.25 and +1.25; n = 0, 6, 131, 70, 70.
        ("1982-01", 1.25, 0.0, 0.7572336, 2.2961475),
        ("1982-07", 11.25, 55.0, 8.2809224, 7.7986269),
        ("1992-12", -51.25, 90.0, 11.1328926, -1.6507954),
        ("1987-11", 61.25, 357.5, 2.5193238, 0.8888730),
        ("1987-11", -88.75, 20.0, -2.9930738, -3.2824590),
    ],
)
def test_wind_is_that_of_the_source(winds, month, latitude_deg, longitude_deg, eastward, northward):
    cell = winds.sel(latitude=latitude_deg, longitude=longitude_deg).sel(time=month).squeeze()
    # Half a packing step, and what single precision adds to it.
    np.testing.assert_allclose(cell["eastward_wind"], eastward, atol=0.000502)
    np.testing.assert_allclose(cell["northward_wind"], northward, atol=0.000502)


def test_mean_wind_is_that_of_the_source(winds):
    # Means over time and columns of the 73 rows of the source, neighbouring rows averaged,
    # weighted by the difference of the sines of their latitudes.
    area = xr.DataArray(Grid.of(winds).area, dims=("latitude", "longitude"))
    mean = winds[["eastward_wind", "northward_wind"]].weighted(area).mean()
    np.testing.assert_allclose(mean["eastward_wind"], -0.154202, atol=2e-6)
    np.testing.assert_allclose(mean["northward_wind"], -0.026990, atol=2e-6)
    assert float(winds["eastward_wind"].min()) == pytest.approx(-25.137, abs=1e-5)
    assert float(winds["eastward_wind"].max()) == pytest.approx(18.117, abs=1e-5)


def test_monsoon_reverses_between_january_and_july(winds):
    somalia = winds["northward_wind"].sel(latitude=11.25, longitude=52.5)
    by_month = somalia.groupby("time.month").mean()
    np.testing.assert_allclose(by_month.sel(month=[1, 7]), [-4.3, 11.3], atol=0.06)


def test_static_fields(winds):
    area = Grid.of(winds).area
    orography, land = winds["orography"], winds["land_sea_mask"]
    assert float(orography.min()) == 0
    # Area mean over ETOPO5's own nodes, weighted by the cosine of latitude, 0 below sea level.
    assert float((orography * area).mean()) == pytest.approx(235.125, abs=0.01)
    # The highest cell, 32.5-35 N, 86.25-88.75 E in Tibet, from nodes repeated to 2.5 minutes.
    assert float(orography.max()) == pytest.approx(5325.75, abs=0.06)
    assert float(orography.sel(latitude=33.75, longitude=87.5)) == float(orography.max())
    assert float(land.min()) == 0
    assert float(land.max()) == 1
    # The Earth's surface is 29 % land.
    assert float((land * area).mean()) == pytest.approx(0.2890, abs=0.0002)
    # 400 000 random points of the GLOBE mask in each cell; London, Biscay, Java.
    for latitude_deg, longitude_deg, share_of_land in [
        (51.25, 0.0, 0.627),
        (43.75, 357.5, 0.385),
        (-6.25, 107.5, 0.500),
    ]:
        cell = land.sel(latitude=latitude_deg, longitude=longitude_deg)
        assert float(cell) == pytest.approx(share_of_land, abs=0.003)


def test_no_gaps_and_canonical_layout(winds):
    for name in ("eastward_wind", "northward_wind"):
        assert winds[name].dims == ("time", "latitude", "longitude")
        assert winds[name].dtype == np.float32
        assert winds[name].attrs["standard_name"] == name
        assert winds[name].attrs["units"] == "m s-1"
        assert winds[name].attrs["cell_methods"] == "time: mean"
    assert winds["orography"].dims == winds["land_sea_mask"].dims == ("latitude", "longitude")
    assert winds["orography"].attrs["standard_name"] == "surface_altitude"
    assert winds["land_sea_mask"].attrs["standard_name"] == "land_area_fraction"
    assert winds["land_sea_mask"].attrs["units"] == "1"
    assert not winds.isnull().any().to_array().any()


def test_file_is_small_packed_and_explains_itself():
    assert share(WINDS).stat().st_size < 6e6
    with netCDF4.Dataset(share(WINDS)) as file:
        assert file.Conventions == "CF-1.11"
        told = ("title", "institution", "source", "history", "references", "license", "comment")
        assert set(told) <= set(file.ncattrs())
        for name in ("eastward_wind", "northward_wind"):
            assert file[name].dtype == np.int16
            assert file[name].scale_factor == np.float32(0.001)
            assert file[name]._FillValue == -32768
    notice = share("data_catalog/files/LICENSE-ferret-datasets.txt").read_text(encoding="utf-8")
    assert "Redistributions of source code must retain this notice" in notice


def test_coastlines_stay_on_the_map_and_on_the_coast():
    shapefile = pytest.importorskip("shapefile")
    with shapefile.Reader(str(share(COAST))) as reader:
        lines = [np.asarray(shape.points) for shape in reader.shapes()]
    assert len(lines) == 128
    steps = [np.abs(np.diff(line, axis=0)) for line in lines]
    # A line that crosses the map would have a step near 360 degrees.
    assert max(step[:, 0].max() for step in steps) < 10
    for line, step in zip(lines, steps, strict=True):
        on_seam = np.isclose(np.abs(line[:, 0]), 180) | (line[:, 1] < -89.9)
        assert not (on_seam[1:] & on_seam[:-1] & (step[:, 0] < 0.01)).any()
    everything = np.concatenate(lines)
    assert np.abs(everything[:, 0]).max() <= 180
    # Cape Agulhas, the southern end of Africa.
    africa = everything[(everything[:, 0] > 15) & (everything[:, 0] < 35)]
    africa = africa[africa[:, 1] > -60]
    np.testing.assert_allclose(africa[:, 1].min(), -34.82, atol=0.05)


@pytest.fixture(scope="module")
def globe():
    with xr.open_dataset(share(GLOBE)) as dataset:
        yield dataset.load()


def test_globe_of_statics_is_exact_small_and_whole(globe):
    np.testing.assert_allclose(globe["latitude"], 89.95 - 0.1 * np.arange(1800), atol=1e-9)
    np.testing.assert_allclose(globe["longitude"], 0.05 + 0.1 * np.arange(3600), atol=1e-9)
    grid = Grid.of(globe)
    assert grid.periodic
    np.testing.assert_allclose(globe["latitude_bnds"], grid.latitude_bounds_deg, atol=1e-6)
    np.testing.assert_allclose(globe["longitude_bnds"], grid.longitude_bounds_deg, atol=1e-6)
    assert share(GLOBE).stat().st_size < 9e6
    with netCDF4.Dataset(share(GLOBE)) as file:
        assert file.Conventions == "CF-1.11"
        assert file["orography"].dtype == np.int16
        assert file["land_sea_mask"].dtype == np.uint8
    for name in ("orography", "land_sea_mask"):
        assert not globe[name].isnull().any()
        assert globe[name].dtype == np.float32
    assert globe["orography"].min() == 0
    assert globe["land_sea_mask"].min() == 0
    assert globe["land_sea_mask"].max() == 1


@pytest.mark.parametrize(
    ("south", "west", "height", "land"),
    [
        # One-degree boxes by their south-western corner. Heights: the 13 x 13 nodes of etopo5.cdf,
        # read with netCDF4 alone, negative ones as 0, those on the edge half, by the cosine of
        # latitude. Land: 60 x 60 points of global-land-mask.
        (28, 86, 5708.97, 1.0),
        (46, 10, 1978.71, 1.0),
        (-8, 110, 294.05, 0.988),
        (-80, 0, 2702.84, 1.0),
        (0, 200, 0.0, 0.0),
        (51, 359, 83.74, 1.0),
    ],
)
def test_statics_are_those_of_the_sources(globe, south, west, height, land):
    box = globe.sel(latitude=slice(south + 1, south), longitude=slice(west, west + 1))
    assert box["orography"].shape == (10, 10)
    weighted = box.weighted(np.cos(np.deg2rad(box["latitude"]))).mean()
    assert float(weighted["orography"]) == pytest.approx(height, abs=0.1)
    assert float(weighted["land_sea_mask"]) == pytest.approx(land, abs=0.003)


def test_mean_height_and_land_of_the_globe(globe):
    weighted = globe.weighted(np.cos(np.deg2rad(globe["latitude"]))).mean()
    # the mean of etopo5.cdf's nodes above zero by the cosine of latitude
    assert float(weighted["orography"]) == pytest.approx(235.126, abs=0.01)
    # 148.9 million square kilometres of land, of 510.1
    assert float(weighted["land_sea_mask"]) == pytest.approx(0.292, abs=0.004)
