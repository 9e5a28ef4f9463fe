"""Writers: all of a file, or nothing."""

import netCDF4
import numpy as np
import pytest
import xarray as xr

from orbitds.infer.writers import check_output, write


@pytest.fixture
def lazy(coarse, checkpoint_folder):
    return coarse.chunk(time=5).orbit.downscale(checkpoint_folder)


@pytest.fixture
def broken(lazy):
    """A dataset whose second block cannot be computed."""

    def fail(block, block_info=None):
        if block_info[0]["chunk-location"][0] == 1:
            raise OSError("disk trouble")
        return block

    data = lazy["eastward_wind"].data.map_blocks(fail, dtype=np.float32)
    return lazy.assign(eastward_wind=lazy["eastward_wind"].copy(data=data))


def _open(path):
    return xr.open_zarr(path) if path.suffix == ".zarr" else xr.open_dataset(path)


@pytest.mark.parametrize("name", ["fine.nc", "fine.zarr"])
def test_written_is_what_was_computed(lazy, tmp_path, name):
    write(lazy, tmp_path / name)
    with _open(tmp_path / name) as again:
        xr.testing.assert_identical(again.load(), lazy.compute(scheduler="synchronous"))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_netcdf_is_compressed_unlimited_and_plain(lazy, tmp_path):
    write(lazy, tmp_path / "fine.nc")
    with netCDF4.Dataset(tmp_path / "fine.nc") as file:
        assert file.dimensions["time"].isunlimited()
        wind = file["eastward_wind"]
        assert wind.dtype == np.float32
        assert wind.filters()["zlib"]
        assert wind.chunking() == [1, 21, 33]
        for name in ("latitude", "longitude", "latitude_bnds"):
            assert "_FillValue" not in file[name].ncattrs()


@pytest.mark.parametrize("name", ["fine.nc", "fine.zarr"])
def test_failure_leaves_nothing_and_loses_nothing(lazy, broken, tmp_path, name):
    with pytest.raises(OSError, match="disk trouble"):
        write(broken, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    write(lazy, tmp_path / name)
    with pytest.raises(OSError, match="disk trouble"):
        write(broken, tmp_path / name, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with _open(tmp_path / name) as again:
        xr.testing.assert_identical(again.load(), lazy.compute(scheduler="synchronous"))


@pytest.mark.parametrize("name", ["fine.nc", "fine.zarr"])
def test_overwrite_replaces(lazy, tmp_path, name):
    write(lazy, tmp_path / name)
    with pytest.raises(FileExistsError, match="which exists.*--overwrite"):
        write(lazy, tmp_path / name)
    write(lazy.isel(time=slice(0, 5)), tmp_path / name, overwrite=True)
    with _open(tmp_path / name) as again:
        assert again.sizes["time"] == 5
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_one_map_and_other_dimension_orders(coarse, checkpoint_folder, tmp_path):
    one = coarse.isel(time=2).chunk().orbit.downscale(checkpoint_folder)
    turned = coarse.transpose("longitude", "latitude", "time").chunk(time=6)
    for number, ds in enumerate((one, turned.orbit.downscale(checkpoint_folder))):
        for suffix in (".nc", ".zarr"):
            path = tmp_path / f"{number}{suffix}"
            write(ds, path)
            with _open(path) as again:
                xr.testing.assert_identical(again.load(), ds.compute(scheduler="synchronous"))


def test_outputs_that_cannot_be_are_refused_early(tmp_path):
    with pytest.raises(ValueError, match=r"ends in .nc or .zarr.*fine.grib"):
        check_output(tmp_path / "fine.grib", overwrite=False)
    with pytest.raises(FileNotFoundError, match="Wanted an existing folder.*mkdir -p"):
        check_output(tmp_path / "no" / "fine.nc", overwrite=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Wanted an existing folder"):
        check_output(tmp_path / "file" / "fine.nc", overwrite=False)
