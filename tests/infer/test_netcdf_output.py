"""NetCDF files put together of units."""

import hashlib
from dataclasses import replace

import netCDF4
import numpy as np
import pytest
import xarray as xr

from orbitds.infer.manifest import Manifest
from orbitds.infer.netcdf_output import NetcdfOutput
from orbitds.infer.units import Units
from tests.infer.laying import laid_out


def filled(ds, checkpoint, folder, **options):
    """Return an output of which all units are written, with its job and values."""
    job = laid_out(ds, checkpoint, folder, "fine.nc", **options)
    job = replace(job, units=Units(12, 7, 5, 3))
    output = NetcdfOutput(job)
    output.claims().close()
    output.create(job.fine)
    fine = job.fine.compute(scheduler="synchronous")
    for unit in job.units:
        place = {"time": slice(unit.times.start, unit.times.stop)}
        place["latitude"] = slice(3 * unit.rows.start, 3 * unit.rows.stop)
        part = fine.isel(place)
        files = output.write(
            unit, {name: np.ascontiguousarray(part[name].values) for name in part.data_vars}
        )
        assert {name: told["bytes"] for name, told in files.items()} == {
            name: output.size(name) for name in files
        }
    return output, job, fine


def finish(output, job, *, overwrite=False):
    output.finish(job.fine, Manifest(output.notes), overwrite=overwrite)


def test_a_file_is_compressed_unlimited_and_plain(coarse, checkpoint_folder, tmp_path):
    output, job, fine = filled(coarse, checkpoint_folder, tmp_path)
    finish(output, job)
    with xr.open_dataset(tmp_path / "fine.nc") as again:
        xr.testing.assert_identical(again.load(), fine)
    with netCDF4.Dataset(tmp_path / "fine.nc") as file:
        assert file.dimensions["time"].isunlimited()
        wind = file["eastward_wind"]
        assert wind.dtype == np.float32
        assert wind.filters()["zlib"]
        assert wind.chunking() == [1, 21, 33]
        for name in ("latitude", "longitude", "latitude_bnds"):
            assert "_FillValue" not in file[name].ncattrs()


@pytest.mark.parametrize(
    "order", [("longitude", "time", "latitude"), ("latitude", "longitude", "time")]
)
def test_other_orders_of_dimensions(coarse, checkpoint_folder, tmp_path, order):
    output, job, fine = filled(coarse.transpose(*order), checkpoint_folder, tmp_path)
    finish(output, job)
    with xr.open_dataset(tmp_path / "fine.nc") as again:
        xr.testing.assert_identical(again.load(), fine)


def test_its_bytes_are_the_same_each_time(coarse, checkpoint_folder, tmp_path):
    hashes = set()
    for _ in range(2):
        output, job, _ = filled(coarse, checkpoint_folder, tmp_path)
        finish(output, job, overwrite=True)
        output.notes.remove()
        hashes.add(hashlib.sha256((tmp_path / "fine.nc").read_bytes()).hexdigest())
    assert len(hashes) == 1


@pytest.mark.parametrize("moment", ["assemble", "note", "rename"])
def test_an_interrupted_end_is_gone_on_with(
    coarse, checkpoint_folder, tmp_path, monkeypatch, moment
):
    """While the third of twelve files is made, when it is there, and before it has its name."""
    output, job, fine = filled(coarse, checkpoint_folder, tmp_path, split="month")
    third = tmp_path / "fine_2004-03.nc"
    functions = {
        "assemble": (NetcdfOutput, "_assemble"),
        "note": (type(output.notes), "write"),
        "rename": (type(tmp_path), "replace"),
    }
    where, name = functions[moment]
    original, seen = getattr(where, name), []

    def interrupt(self, *arguments):
        seen.append(1)
        told = [str(argument) for argument in (self, *arguments)]
        if any("fine_2004-03" in text for text in told) and "ending" not in told:
            raise KeyboardInterrupt
        return original(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(where, name, interrupt)
        with pytest.raises(KeyboardInterrupt):
            finish(output, job)
    assert (tmp_path / "fine_2004-02.nc").exists()
    assert not third.exists()
    finish(output, job)
    with xr.open_mfdataset(output.targets, data_vars="minimal") as again:
        xr.testing.assert_identical(again.load(), fine)
    assert not list(tmp_path.glob(".*.partial"))


def test_a_name_that_is_taken_meanwhile_is_not_replaced(coarse, checkpoint_folder, tmp_path):
    output, job, _ = filled(coarse, checkpoint_folder, tmp_path)
    (tmp_path / "fine.nc").write_text("precious")
    with pytest.raises(FileExistsError, match="taken meanwhile. Move it away, and go on with --r"):
        finish(output, job)
    assert (tmp_path / "fine.nc").read_text() == "precious"
    assert not output.is_whole(job.fine)
    finish(output, job, overwrite=True)
    assert output.is_whole(job.fine)


def test_parts_are_plain_arrays(coarse, checkpoint_folder, tmp_path):
    _, _, fine = filled(coarse, checkpoint_folder, tmp_path)
    part = np.load(tmp_path / ".fine.nc.job" / "parts" / "00000000-eastward_wind.npy")
    np.testing.assert_array_equal(part, fine["eastward_wind"][:5, :9])
