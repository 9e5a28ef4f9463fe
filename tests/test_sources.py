"""Opening files, patterns and addresses: the same values whatever the format, lazily."""

import builtins
import functools
import http.server
import json
import pickle
import re
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from dask.base import is_dask_collection

from orbitds import catalog, sources
from orbitds.sources import address, check_address, open_address, open_file, open_files

SHAPE = (3, 5, 7)


@pytest.fixture(scope="module")
def noise():
    """Three days, rows from north to south, some of it missing."""
    values = np.random.default_rng(1).normal(280, 9, size=SHAPE).astype(np.float32)
    values[1, 2, 3] = np.nan
    return xr.Dataset(
        {"2m_temperature": (("time", "latitude", "longitude"), values, {"units": "K"})},
        coords={
            "time": np.array(["2001-02-27", "2001-02-28", "2001-03-01"], dtype="datetime64[ns]"),
            "latitude": np.linspace(20, -20, SHAPE[1]),
            "longitude": np.arange(0.0, 10.0 * SHAPE[2], 10),
        },
    )


def written(ds, store, **how):
    """Write a Zarr store without the warnings that its writing brings, and return where it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of consolidated metadata, which Zarr 3 does not specify
        ds.to_zarr(store, **how)
    return store


@pytest.fixture
def served(tmp_path):
    """Serve a folder over HTTP, and return its address and the log of what was asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    handler = functools.partial(Handler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


# --- files ---


@pytest.mark.parametrize("format_", ["NETCDF3_CLASSIC", "NETCDF3_64BIT", "NETCDF4"])
def test_netcdf_of_each_format(noise, tmp_path, format_):
    noise.to_netcdf(tmp_path / "noise.nc", format=format_)
    with open_file(tmp_path / "noise.nc") as ds:
        assert is_dask_collection(ds["2m_temperature"].data)
        xr.testing.assert_equal(ds.compute(), noise)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("consolidated", [True, False])
def test_zarr_of_each_format(noise, tmp_path, zarr_format, consolidated):
    one = {"2m_temperature": {"chunks": (1, *SHAPE[1:])}}
    how = {"zarr_format": zarr_format, "consolidated": consolidated, "encoding": one}
    written(noise, tmp_path / "noise", **how)
    ds = open_file(tmp_path / "noise", chunks={"time": 2})
    assert ds["2m_temperature"].chunks == ((2, 1), (5,), (7,))
    xr.testing.assert_equal(ds.compute(), noise)


def test_grib_by_its_name_and_by_its_content(tmp_path):
    grib = pytest.importorskip("cfgrib.xarray_to_grib")
    rows, columns = np.linspace(20, -20, 5), np.arange(0.0, 70, 10)
    times = np.array(["2001-02-28T06", "2001-03-01T06"], dtype="datetime64[ns]")
    values = np.random.default_rng(2).normal(280, 9, size=(2, 5, 7)).astype(np.float32)
    field = xr.DataArray(
        values,
        dims=("time", "latitude", "longitude"),
        coords={"time": times, "latitude": rows, "longitude": columns},
        attrs={"GRIB_shortName": "2t", "GRIB_gridType": "regular_ll", "units": "K"},
    )
    paths = [tmp_path / "era5.grib", tmp_path / "era5"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cfgrib's writer is an experiment of its authors
        with paths[0].open("wb") as file:
            grib.canonical_dataarray_to_grib(field, file)
    paths[1].write_bytes(paths[0].read_bytes())
    for path in paths:
        with open_file(path) as ds:
            assert is_dask_collection(ds["t2m"].data)
            assert ds["t2m"].attrs["units"] == "K"
            np.testing.assert_allclose(ds["t2m"], values, atol=0.01)  # packed by GRIB
            np.testing.assert_array_equal(ds["latitude"], rows)
            np.testing.assert_array_equal(ds["time"], times)
    assert sorted(tmp_path.iterdir()) == sorted(paths), "no index beside the user's data"


def test_broken_grib_is_refused(tmp_path):
    pytest.importorskip("cfgrib")
    (tmp_path / "era5.grib").write_bytes(b"GRIB" + bytes(60))
    with pytest.raises(ValueError, match=r"Wanted a GRIB file, got .*era5\.grib.*is complete"):
        open_file(tmp_path / "era5.grib")


def test_missing_extra_is_named(tmp_path, noise, monkeypatch):
    (tmp_path / "era5.grb2").write_bytes(b"GRIB")
    absent = {"cfgrib", "aiohttp", "s3fs", "gcsfs", "h5netcdf"}

    def without(name, *args, **kwargs):
        if name in absent:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return builtins.__import__(name, *args, **kwargs)

    monkeypatch.setattr(sources, "import_module", without)
    with pytest.raises(ImportError, match=r"cfgrib to open .*era5\.grb2.*'orbitds\[grib\]'"):
        open_file(tmp_path / "era5.grb2")
    for url, client in {
        "gs://bucket/a.zarr": "aiohttp",
        "s3://bucket/a.zarr": "s3fs",
        "https://host/a.zarr": "aiohttp",
    }.items():
        with pytest.raises(ImportError, match=rf"Wanted {client} to open {url}.*orbitds\[cloud\]"):
            open_address(url)
    with pytest.raises(ImportError, match=r"Wanted gcsfs .*orbitds\[cloud\]"):
        open_address("gs://bucket/a.zarr", credentials="environment")


def test_objects_in_a_store_cannot_run_code(tmp_path):
    marker = tmp_path / "ran"

    class Payload:
        def __reduce__(self):
            return (Path.touch, (marker,))

    store = tmp_path / "evil.zarr"
    (store / "x").mkdir(parents=True)
    (store / ".zgroup").write_text('{"zarr_format": 2}', encoding="utf-8")
    array = {"zarr_format": 2, "shape": [3], "chunks": [3], "dtype": "<f8", "order": "C"}
    array |= {"compressor": None, "filters": [{"id": "pickle", "protocol": 5}], "fill_value": 0}
    (store / "x" / ".zarray").write_text(json.dumps(array), encoding="utf-8")
    (store / "x" / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["x"]}', encoding="utf-8")
    (store / "x" / "0").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ValueError, match=r"Wanted .* Zarr store, got .*evil\.zarr"):
        open_file(store).load()
    assert not marker.exists()


# --- patterns ---


def test_files_are_joined_along_time_whatever_their_order(noise, tmp_path):
    relief = xr.DataArray(np.arange(35.0).reshape(5, 7), dims=("latitude", "longitude"))
    paths = [tmp_path / f"{name}.nc" for name in "bca"]
    for path, time in zip(paths, ([0], [1], [2]), strict=True):
        noise.assign(orography=relief).isel(time=time).to_netcdf(path)
    with open_files(paths) as ds, catalog.open_dataset(f"{tmp_path}/?.nc") as same:
        assert is_dask_collection(ds["2m_temperature"].data)
        assert ds["orography"].dims == ("latitude", "longitude")
        xr.testing.assert_equal(ds[["2m_temperature"]].compute(), noise)
        xr.testing.assert_equal(same.compute(), ds.compute())


def test_a_file_for_each_variable_makes_one_dataset(noise, tmp_path):
    noise.to_netcdf(tmp_path / "t.nc")
    other = (noise + 1).rename({"2m_temperature": "2m_temperature_max"})
    other.to_netcdf(tmp_path / "x.nc")
    with open_files([tmp_path / "t.nc", tmp_path / "x.nc"]) as ds:
        xr.testing.assert_equal(ds.compute(), noise.merge(other))


def test_files_of_another_grid_or_given_twice_are_refused(noise, tmp_path):
    noise.isel(time=[0, 1]).to_netcdf(tmp_path / "a.nc")
    for name, wrong in {
        "grid": noise.isel(time=[2], latitude=slice(1, None)),
        "overlap": noise.isel(time=[1, 2]),
    }.items():
        wrong.to_netcdf(tmp_path / f"{name}.nc")
        with pytest.raises(ValueError, match=rf"follow each other .*{name}\.nc, which do not fit"):
            open_files([tmp_path / "a.nc", tmp_path / f"{name}.nc"])


def test_pattern_that_matches_nothing_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"got '.*/\*\.nc', which does not exist"):
        catalog.open_dataset(tmp_path / "*.nc")


# --- addresses ---


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("consolidated", [True, False])
def test_store_in_memory(noise, zarr_format, consolidated):
    pytest.importorskip("fsspec")
    url = f"memory://noise{zarr_format}{consolidated}.zarr"
    written(noise, url, zarr_format=zarr_format, consolidated=consolidated, mode="w")
    ds = open_address(url)
    assert is_dask_collection(ds["2m_temperature"].data)
    xr.testing.assert_equal(ds.compute(), noise)
    xr.testing.assert_equal(catalog.open_dataset(Path(url)).compute(), noise)  # memory:/noise...


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_store_over_http_is_read_by_the_block(noise, tmp_path, served, zarr_format):
    pytest.importorskip("aiohttp")
    url, asked = served
    one = {"2m_temperature": {"chunks": (1, *SHAPE[1:])}}
    how = {"zarr_format": zarr_format, "consolidated": True, "encoding": one}
    written(noise, tmp_path / "noise.zarr", **how)
    ds = catalog.open_dataset(f"{url}/noise.zarr")
    xr.testing.assert_identical(ds["2m_temperature"][1].compute(), noise["2m_temperature"][1])
    blocks = {path for path in asked if re.search(r"2m_temperature/(c/)?\d", path)}
    assert len(blocks) == 1, "one time step, one block"
    xr.testing.assert_equal(ds.compute(), noise)


def test_public_bucket_is_asked_over_https(noise, tmp_path, served, monkeypatch):
    pytest.importorskip("aiohttp")
    url, _ = served
    (tmp_path / "bucket").mkdir()
    written(noise, tmp_path / "bucket" / "noise.zarr", consolidated=True)
    assert sources._GOOGLE == "https://storage.googleapis.com/"
    monkeypatch.setattr(sources, "_GOOGLE", f"{url}/")
    xr.testing.assert_equal(open_address("gs://bucket/noise.zarr").compute(), noise)


def test_public_s3_is_asked_without_credentials(monkeypatch):
    pytest.importorskip("s3fs")
    seen = []

    def opened(*args):
        seen.append(args)
        return xr.Dataset()

    monkeypatch.setattr(sources, "_open_zarr", opened)
    open_address("s3://bucket/a.zarr")
    open_address("s3://bucket/a.zarr", credentials="environment", chunks={"time": 24})
    assert seen == [
        ("s3://bucket/a.zarr", None, {"anon": True}),
        ("s3://bucket/a.zarr", {"time": 24}, {}),
    ]


def test_netcdf_over_http(noise, tmp_path, served):
    pytest.importorskip("aiohttp")
    pytest.importorskip("h5netcdf")
    noise.to_netcdf(tmp_path / "noise.nc")
    with open_address(f"{served[0]}/noise.nc") as ds:
        assert is_dask_collection(ds["2m_temperature"].data)
        xr.testing.assert_equal(ds.compute(), noise)


def test_what_cannot_be_reached_says_which_address_and_what_it_needs(tmp_path, served):
    pytest.importorskip("aiohttp")
    for url in (f"{served[0]}/nothing.zarr", "http://127.0.0.1:9/closed.zarr"):
        with pytest.raises(ConnectionError) as told:
            open_address(url)
        text = str(told.value)
        assert f"at {url}, asked for as a public store" in text
        assert "Check the address and the network" in text
        assert "`credentials: environment`" in text


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("gs://bucket/a.zarr", "gs://bucket/a.zarr"),
        (Path("gs://bucket/a.zarr"), "gs://bucket/a.zarr"),
        ("https://host/a/b.zarr?x=1", "https://host/a/b.zarr?x=1"),
        (Path("s3://bucket/a"), "s3://bucket/a"),
        ("gs.zarr", None),
        ("folder/https:/a", None),
        ("/data/a.nc", None),
        ("C:/data/a.nc", None),
        ("ftp://host/a.nc", None),
    ],
)
def test_address_or_path(source, expected):
    assert address(source) == expected


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hunter2@host/a.zarr",
        "https://hunter2@host/a.zarr",
        "https://host/a.zarr?token=hunter2",
        "https://host/a.nc?x=1&X-Amz-Signature=hunter2",
        "https://host/a.nc?sig=hunter2",
        "https://host/a.nc?api_key=hunter2",
    ],
)
def test_credentials_in_an_address_are_refused_and_not_repeated(url):
    with pytest.raises(ValueError, match="Wanted an address without credentials") as told:
        check_address(url)
    assert "hunter2" not in str(told.value)


def test_unknown_kind_of_address_is_refused():
    with pytest.raises(ValueError, match=r"starts with one of \['gs://'.*got 'ftp://host/a\.nc'"):
        check_address("ftp://host/a.nc")
    for good in ("gs://bucket/a@b.zarr", "https://host/a.zarr?version=2", "s3://monkey/a.zarr"):
        assert check_address(good) == good
