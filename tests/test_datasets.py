"""Entries of datasets: what they may say, where their files are found, how they are read."""

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from dask.base import is_dask_collection

from orbitds.datasets import (
    DatasetEntry,
    dataset_entry,
    dataset_names,
    find_files,
    open_entry,
    roots,
    whereabouts,
)
from orbitds.grid import Grid
from orbitds.resources import share
from orbitds.schema import parse
from orbitds.variables import variable

REAL = Path(__file__).parents[1] / "../shared/data"
MEANS = "nclimgrid_us_means"
MINE = {
    "title": "noise",
    "path": "noise.nc",
    "licence": "CC0",
    "citation": "nobody",
    "resolution_deg": 10.0,
    "variables": ["2m_temperature", "total_precipitation_month"],
}


@pytest.fixture
def noise():
    """Five members of one month on three rows and four columns, under names of their own."""
    generator = np.random.default_rng(3)
    dims = ("member", "field", "lat", "lon")
    return xr.Dataset(
        {
            "tas": (dims, generator.normal(10, 5, size=(5, 3, 3, 4)), {"units": "degC"}),
            "rain": (dims, generator.gamma(2, 9, size=(5, 3, 3, 4))),
        },
        coords={
            "member": [1, 2, 3, 5, 8],
            "field": ["warm", "cold", "mild"],
            "lat": ("lat", [10.0, 0, -10], {"units": "degrees_north"}),
            "lon": ("lon", [0.0, 10, 20, 30], {"units": "degrees_east"}),
        },
    )


@pytest.fixture
def mine(tmp_path, noise):
    """Write an entry of one's own beside its data."""
    noise.to_netcdf(tmp_path / "noise.nc")

    def write(**changes):
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(MINE | changes), encoding="utf-8")
        return path

    return write


# --- reading as described ---


def test_names_units_labels_and_dates_are_applied_and_nothing_else(mine, noise):
    entry = mine(
        names={"total_precipitation_month": "rain"},
        units={"total_precipitation_month": "mm", "2m_temperature": "K"},
        select={"member": 5},
        times={"dimension": "field", "dates": ["2001-07-16", "1895-01-16", "2000-04-16"]},
    )
    ds = open_entry(entry)
    assert all(is_dask_collection(field.data) for field in ds.data_vars.values())
    assert set(ds.data_vars) == {"tas", "total_precipitation_month"}
    assert ds["tas"].attrs["units"] == "K", "by its alias"
    assert ds["total_precipitation_month"].attrs["units"] == "mm"
    order = ["1895-01-16", "2000-04-16", "2001-07-16"]
    np.testing.assert_array_equal(ds["time"], np.array(order, dtype="datetime64[ns]"))
    assert ds["tas"].dims == ("time", "lat", "lon")
    np.testing.assert_array_equal(ds["tas"], noise["tas"].values[3, [1, 2, 0]])
    np.testing.assert_array_equal(
        ds["total_precipitation_month"], noise["rain"].values[3, [1, 2, 0]]
    )
    assert ds["lat"].attrs == {"units": "degrees_north"}


def test_an_entry_that_says_nothing_changes_nothing(mine, noise):
    xr.testing.assert_identical(open_entry(mine()).compute(), noise)


def test_blocks_are_those_of_the_entry(mine):
    assert open_entry(mine(chunks={"member": 2}))["tas"].chunks[0] == (2, 2, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"names": {"2m_temperature": "tass"}},
            r"variable 'tass' for 2m_temperature in .*mine.*Did you mean 'tas'\? Correct `names`",
        ),
        (
            {"units": {"total_precipitation_month": "mm"}},
            "Wanted total_precipitation_month in .* to state its unit.*'rain'.*under `names`",
        ),
        ({"select": {"member": 4}}, r"4 along 'member' .*labels \[1, 2, 3, 5, 8\]\. Correct"),
        ({"select": {"level": 850}}, r"850 along 'level' .*dimensions \['member', .*`select`"),
        (
            {"times": {"dimension": "field", "dates": ["2000-01"]}},
            r"Wanted 1 fields along 'field' .*'field': 3.* Correct `times`",
        ),
        (
            {"times": {"dimension": "year", "dates": ["2000-01"]}},
            r"Wanted 1 fields along 'year' .*Correct `times`",
        ),
    ],
)
def test_data_that_are_not_what_the_entry_says_are_refused(mine, changes, message):
    with pytest.raises(ValueError, match=message):
        open_entry(mine(**changes))


# --- what an entry may say ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "gs://bucket/a.zarr"}, "either path or url, got path 'noise.nc' and url 'gs"),
        ({"path": None}, "either path or url, got path None and url None"),
        ({"path": None, "url": "ftp://host/a"}, "url: .*starts with one of"),
        ({"path": None, "url": "https://me:pw@host/a.zarr"}, "address without credentials"),
        ({"names": {"10m_wind_speed": "w"}}, "names of variables of the entry, got '10m_wind_sp"),
        ({"units": {"2m_temperatur": "K"}}, "Did you mean '2m_temperature'"),
        ({"step": "daily"}, r"step: .*`6h`, `1D`.*got 'daily'"),
        ({"step": "0h"}, "step"),
        ({"chunks": {"time": 0}}, "chunks.time"),
        ({"resolution_deg": 0}, "resolution_deg"),
        ({"times": {"dimension": "field"}}, "times.dates"),
        ({"credentials": "mine"}, "credentials: .*'none' or 'environment'"),
        *(
            ({key: "hunter2"}, rf"entry without credentials, got \['{key}'\]")
            for key in ("token", "secret", "aws_secret_access_key", "password", "username", "key")
        ),
    ],
)
def test_entry_that_does_not_fit_is_told(changes, message):
    with pytest.raises(ValueError, match=message) as told:
        parse(DatasetEntry, MINE | changes, source="mine.yaml")
    assert "hunter2" not in str(told.value)


def test_an_address_takes_the_place_of_a_path():
    remote = MINE | {"path": None, "url": "s3://bucket/a.zarr", "credentials": "environment"}
    entry = parse(DatasetEntry, remote, source="mine.yaml")
    assert (entry.path, entry.url, entry.step) == (None, "s3://bucket/a.zarr", None)


# --- where the files are ---


def test_own_folder_first_then_those_of_the_environment(tmp_path, mine, monkeypatch):
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
        (folder / "other.nc").touch()
    (folders[1] / "noise.nc").touch()
    monkeypatch.setenv("ORBITDS_DATA", os.pathsep.join(map(str, folders)))
    path = mine()
    assert roots(path) == [tmp_path, *folders]
    assert roots("fnoc_navy_winds_2p5deg") == [share("data_catalog/files"), *folders]
    entry = dataset_entry(path)
    assert find_files(entry, roots(path)) == [tmp_path / "noise.nc"]
    assert find_files(entry, folders) == [folders[1] / "noise.nc"]
    other = entry.model_copy(update={"path": "other.nc"})
    assert find_files(other, roots(path)) == [folders[0] / "other.nc"]


def test_pattern_finds_its_files_in_order(tmp_path, mine):
    for name in ("era5/2002.nc", "era5/2001.nc", "era5/notes.txt", "other/2003.nc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    entry = dataset_entry(mine(path="era5/*.nc"))
    assert [path.name for path in find_files(entry, [tmp_path])] == ["2001.nc", "2002.nc"]


def test_absent_files_are_told_with_the_way_to_get_them(mine, tmp_path, monkeypatch):
    monkeypatch.setenv("ORBITDS_DATA", str(tmp_path / "data"))
    path = mine(path="absent.nc", access="Ask nobody.")
    with pytest.raises(FileNotFoundError) as told:
        open_entry(path)
    text = str(told.value)
    assert "Wanted absent.nc (noise), got no such file in" in text
    assert str(tmp_path / "data") in text
    assert "Ask nobody. Copy it there, or set ORBITDS_DATA" in text


@pytest.mark.parametrize("path", ["../secret.nc", "../*.nc", "/secret.nc", "link.nc", "l*.nc"])
def test_nothing_outside_a_folder_is_opened(tmp_path, monkeypatch, path):
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "secret.nc").touch()
    (folder / "link.nc").symlink_to(tmp_path / "secret.nc")
    entry = parse(DatasetEntry, MINE | {"path": path}, source="mine.yaml")
    for folders in ([folder], [tmp_path / "nowhere", folder]):
        with pytest.raises(ValueError, match=r"Wanted a path inside .*leaves it"):
            find_files(entry, folders)


def test_whereabouts(monkeypatch, tmp_path):
    monkeypatch.delenv("ORBITDS_DATA", raising=False)
    assert whereabouts("fnoc_navy_winds_2p5deg") == "shipped"
    assert whereabouts("era5_0p25deg_arco") == "network"
    assert whereabouts("terraclimate_bali") == "absent"
    (tmp_path / "bali_terraclimate.nc").touch()
    monkeypatch.setenv("ORBITDS_DATA", f"{os.pathsep}{tmp_path}")
    assert whereabouts("terraclimate_bali") == "here"


# --- the shipped entries ---


@pytest.mark.parametrize("name", dataset_names())
def test_shipped_entry_is_of_one_piece(name):
    entry = dataset_entry(name)
    assert len(set(entry.variables)) == len(entry.variables)
    theirs = [entry.names.get(field, field) for field in entry.variables]
    assert len(set(theirs)) == len(theirs)
    periods = {variable(field).period for field in entry.variables} - {None}
    if entry.step == "1ME":
        assert periods <= {"month"}
    if entry.step == "1D":
        assert periods <= {"day"}
    if entry.url:
        assert "orbitds[cloud]" in entry.access
    registry = pytest.importorskip("cf_xarray.units").units
    for field, units in entry.units.items():
        registry.Quantity(1.0, units).to(variable(field).units)


@pytest.mark.skipif(not REAL.is_dir(), reason="the files for building and testing are not here")
@pytest.mark.parametrize(
    ("name", "steps", "rows", "columns"),
    [
        ("nclimgrid_us_means", 6, 596, 1385),
        ("eobs_bavaria_0p1_monthly", 852, 33, 48),
        ("wfde5_bavaria_0p5_monthly", 492, 6, 10),
        ("chirps_java_0p05_monthly", 480, 75, 224),
        ("imerg_java_0p1_monthly", 247, 38, 113),
        ("wfde5_europe_0p5_monthly", 492, 72, 101),
        ("ewembi_germany_0p5_daily", 13_880, 15, 18),
        ("terraclimate_bali", 804, 24, 35),
    ],
)
def test_real_data_are_what_their_entry_says(monkeypatch, name, steps, rows, columns):
    monkeypatch.setenv("ORBITDS_DATA", str(REAL))
    entry = dataset_entry(name)
    with open_entry(name) as ds:
        for field in entry.variables:
            found = [one for one in (field, *variable(field).aliases) if one in ds.data_vars]
            assert len(found) == 1
            assert is_dask_collection(ds[found[0]].data)
            assert ds[found[0]].attrs["units"]
        first, last = entry.period or ("", "")
        assert ds.sel(time=slice(first, last)).sizes["time"] == ds.sizes["time"] == steps
        assert ds.sel(time=slice(first, first)).sizes["time"] >= 1
        assert ds.sel(time=slice(last, last)).sizes["time"] >= 1
        assert ds.indexes["time"].is_unique
        assert ds.indexes["time"].is_monotonic_increasing
        ours = ds.rename(lat="latitude", lon="longitude").sortby("latitude", ascending=False)
        grid = Grid.of(ours)
        assert (ds.sizes["lat"], ds.sizes["lon"]) == (rows, columns)
        assert grid.spacing_deg == pytest.approx((entry.resolution_deg,) * 2, rel=1e-4)
        some = ds.isel(time=[0, -1])[list(ds.data_vars)].load()
        assert bool(some.isnull().any().to_array().any()) == (entry.missing == "mask")


@pytest.mark.skipif(not REAL.is_dir(), reason="the files for building and testing are not here")
def test_mean_fields_of_the_us_have_dates_in_their_periods(monkeypatch):
    monkeypatch.setenv("ORBITDS_DATA", str(REAL))
    with open_entry(MEANS) as ds, xr.open_dataset(REAL / str(dataset_entry(MEANS).path)) as raw:
        dates = dataset_entry(MEANS).times.dates
        labels = raw["field"].values.tolist()
        told = dict(zip(dates, labels, strict=True))
        assert told["2006-07-02"] == "annual mean 1991-2020"
        assert told["2006-01-15"] == "DJF mean 1991-2020"
        assert told["2006-01-16"] == "January mean 1991-2020"
        assert told["2006-01-01"] == "1 January mean 2006-2020"
        assert told["1895-01-16"] == "January 1895"
        assert told["1895-02-15"] == "February 1895"
        place = {"lat": 300, "lon": 700}
        for date, label in told.items():
            theirs = raw["tavg"].isel(place | {"field": labels.index(label)})
            assert float(ds["tavg"].isel(place).sel(time=date)) == float(theirs)
