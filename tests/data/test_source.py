"""Grids and times of what a store is made from."""

import numpy as np
import pytest
import xarray as xr
import yaml

from orbitds.data.pair import open_pair
from orbitds.data.recipe import Recipe
from orbitds.data.source import open_source
from orbitds.grid import Grid, block_mean

WINDS = "navy_winds_10deg_to_2p5deg"


def test_a_pair_as_it_is_comes_as_it_is():
    source, pair = open_source(Recipe(pair=WINDS)), open_pair(WINDS)
    coarse, fine = source.read(slice(3, 6))
    xr.testing.assert_equal(coarse.compute(), pair.coarse.isel(time=slice(3, 6)).compute())
    xr.testing.assert_equal(fine.compute(), pair.fine.isel(time=slice(3, 6)).compute())
    assert (source.same_product, source.done, len(source.times)) == (True, (), 132)


def test_other_cells_are_regridded():
    """Cells of 2.5 degrees around 0, 2.5, ... become cells of 3 with edges at 0, 3, ..."""
    source = open_source(Recipe(pair=WINDS, resolution_deg=3))
    coarse, fine = source.read(slice(0, 2))
    assert Grid.of(fine).shape == (60, 120)
    assert Grid.of(coarse).shape == (15, 30)
    assert Grid.of(coarse).factor_to(Grid.of(fine)) == 4
    assert Grid.of(source.statics).shape == (60, 120)
    expected = block_mean(fine, 4)
    for name in fine.data_vars:
        np.testing.assert_allclose(coarse[name], expected[name], atol=2e-6)
    assert len(source.done) == 2
    assert "60 x 120 cells of 3 x 3 degrees" in source.done[0]


@pytest.fixture
def two(tmp_path):
    """Two products on unlike grids, with 20 and 15 months of which 10 are common."""
    rng = np.random.default_rng(5)
    for name, rows, columns, start, count in (
        ("fine", 45, 60, "2001-01-01", 20),
        ("coarse", 14, 17, "2001-11-01", 15),
    ):
        latitude = 60 - (np.arange(rows) + 0.5) * 18 / rows
        longitude = (np.arange(columns) + 0.5) * 24 / columns - 7
        xr.Dataset(
            {
                "u": (
                    ("time", "latitude", "longitude"),
                    rng.normal(size=(count, rows, columns)),
                    {"units": "m s-1"},
                )
            },
            {
                "time": xr.date_range(start, periods=count, freq="MS"),
                "latitude": latitude,
                "longitude": longitude,
            },
        ).to_netcdf(tmp_path / f"{name}.nc")
        entry = {"title": name, "path": f"{name}.nc", "licence": "none", "citation": "none"}
        entry |= {"resolution_deg": 1, "variables": ["eastward_wind"]}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(entry), encoding="utf-8")
    entry = {
        "title": "two",
        "fine": f"{tmp_path}/fine.yaml",
        "coarse": f"{tmp_path}/coarse.yaml",
        "inputs": ["eastward_wind"],
        "outputs": ["eastward_wind"],
        "split": {
            "train": ["2001-11", "2002-02"],
            "validate": ["2002-03", "2002-05"],
            "test": ["2002-06", "2002-08"],
        },
    }
    (tmp_path / "pair.yaml").write_text(yaml.safe_dump(entry), encoding="utf-8")
    return tmp_path / "pair.yaml"


# --- regions ------------------------------------------------------------------------------------

REGIONS = {
    "over the date line": {"north": 60, "south": -30, "west": 150, "east": -120},
    "over Greenwich": {"north": 90, "south": 0, "west": -60, "east": 60},
    "around the globe": {"north": 30, "south": -90, "west": 0, "east": 360},
}


@pytest.fixture
def globe(tmp_path):
    """Cells of 10 degrees every 6 hours of 3 days, a tenth of them missing; and its entry."""
    rng = np.random.default_rng(6)
    values = rng.normal(280, 3, size=(12, 18, 36)).astype(np.float32)
    values[:, rng.random((18, 36)) < 0.1] = np.nan
    ds = xr.Dataset(
        {"t2m": (("time", "latitude", "longitude"), values, {"units": "K"})},
        {
            "time": xr.date_range("2001-01-01", periods=12, freq="6h"),
            "latitude": 85.0 - 10 * np.arange(18),
            "longitude": 5.0 + 10 * np.arange(36),
        },
    )
    ds.to_netcdf(tmp_path / "fine.nc")

    def describe(**told):
        entry = {"title": "fine", "path": "fine.nc", "licence": "none", "citation": "none"}
        entry |= {"resolution_deg": 10, "variables": ["2m_temperature"], "missing": "mask"}
        (tmp_path / "fine.yaml").write_text(yaml.safe_dump(entry), encoding="utf-8")
        days = [f"2001-01-0{day}" for day in (1, 2, 3)]
        entry = {
            "title": "globe",
            "fine": f"{tmp_path}/fine.yaml",
            "coarse": {"coarsen": 3},
            "inputs": ["2m_temperature"],
            "outputs": ["2m_temperature"],
            "split": {
                part: [day, day]
                for part, day in zip(("train", "validate", "test"), days, strict=True)
            },
        }
        path = tmp_path / "globe.yaml"
        path.write_text(yaml.safe_dump(entry | told), encoding="utf-8")
        return str(path)

    return describe


@pytest.mark.parametrize("where", REGIONS)
@pytest.mark.parametrize("least_valid", [0.3, 1.0])
def test_a_region_of_made_cells_is_that_of_the_cells_themselves(globe, where, least_valid):
    name = globe(region=REGIONS[where], coarse={"coarsen": 3, "least_valid": least_valid})
    pair = open_pair(name)
    source = open_source(Recipe(pair=name, resolution_deg=10))
    for got, wanted in zip(source.read(slice(2, 7)), (pair.coarse, pair.fine), strict=True):
        xr.testing.assert_allclose(got, wanted.isel(time=slice(2, 7)))
    xr.testing.assert_allclose(source.statics, pair.statics)
    gaps = np.isnan(pair.coarse["2m_temperature"]).mean()
    assert gaps > 0.3 if least_valid == 1 else gaps == 0
    assert "kept to the region: fine " in source.done[-1]


@pytest.mark.parametrize("where", REGIONS)
@pytest.mark.parametrize("told", [{"aggregate": "day"}, {}])
def test_cells_at_the_border_of_a_region_know_what_lies_beyond(globe, where, told):
    options = {"resolution_deg": None if told else 7.5}
    whole = open_source(Recipe(pair=globe(**told), **options))
    part = open_source(Recipe(pair=globe(region=REGIONS[where], **told), **options))
    for got, wanted in zip(part.read(slice(0, 2)), whole.read(slice(0, 2)), strict=True):
        rows, columns = Grid.of(wanted).locate(Grid.of(got))
        assert rows.size < wanted.sizes["latitude"]
        for name in got.data_vars:
            expected = wanted[name].isel(latitude=rows, longitude=columns)
            np.testing.assert_array_equal(got[name], expected)
    assert Grid.of(part.statics).matches(Grid.of(part.read(slice(0, 1))[1]))


def test_a_factor_regrids_the_coarse_product(two):
    source = open_source(Recipe(pair=str(two), factor=5))
    coarse, fine = source.read(slice(4, 8))
    assert [str(time)[:7] for time in coarse["time"].values] == [
        "2002-03",
        "2002-04",
        "2002-05",
        "2002-06",
    ]
    assert coarse.indexes["time"].equals(fine.indexes["time"])
    assert len(source.times) == 10
    assert Grid.of(coarse).shape == (9, 12)
    theirs = xr.open_dataset(two.parent / "coarse.nc")["u"].sel(time="2002-03")[0]
    weights = [Grid.of(ds).area[:, 0] for ds in (coarse, theirs)]
    means = [
        np.average(field.mean("longitude"), weights=weight)
        for field, weight in zip((coarse["eastward_wind"][0], theirs), weights, strict=True)
    ]
    assert means[0] == pytest.approx(means[1], rel=1e-6)
    assert source.same_product is False


def test_grids_that_do_not_nest_are_refused(two):
    with pytest.raises(ValueError, match="divide the coarse cells evenly"):
        open_source(Recipe(pair=str(two), resolution_deg=0.4))


def test_two_factors_are_refused():
    with pytest.raises(ValueError, match=r"one factor, got 3 and the pair's own 4.*--factor out"):
        open_source(Recipe(pair=WINDS, factor=3))


def test_no_common_time_is_refused(two):
    path = two.parent / "coarse.nc"
    ds = xr.open_dataset(path).load()
    ds.close()
    later = ds.assign_coords(time=xr.date_range("2020-01-01", periods=15, freq="MS"))
    later.to_netcdf(path)
    with pytest.raises(ValueError, match=r"times that both.*2020-01-01.*calendars"):
        open_source(Recipe(pair=str(two), factor=5))
