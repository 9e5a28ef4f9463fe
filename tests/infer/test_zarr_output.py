"""A Zarr store, shard by shard."""

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
import zarr

from orbitds.infer.units import Units
from orbitds.infer.zarr_output import ZarrOutput, _chunk
from tests.infer.laying import laid_out


@pytest.fixture
def job(coarse, checkpoint_folder, tmp_path):
    return replace(laid_out(coarse, checkpoint_folder, tmp_path), units=Units(12, 7, 5, 3))


def created(job):
    output = ZarrOutput(job)
    output.claims().close()
    output.create(job.fine)
    return output, job.config.output.with_name(".fine.zarr.partial")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_unit_is_one_file_of_each_variable(job, zarr_format):
    job = replace(job, config=job.config.model_copy(update={"zarr_format": zarr_format}))
    output, partial = created(job)
    written = {}
    for unit in job.units:
        shape = (len(unit.times), 3 * len(unit.rows), 33)
        fields = {name: np.full(shape, unit.number, np.float32) for name in job.fine.data_vars}
        files = output.write(unit, fields)
        assert len(files) == 2
        assert not written.keys() & files.keys()
        written |= files
    for name, told in written.items():
        assert (partial / name).stat().st_size == output.size(name) == told["bytes"]
    found = {path.relative_to(partial).as_posix() for path in partial.rglob("*") if path.is_file()}
    values = {name for name in found if "zarr.json" not in name and "/.z" not in name}
    assert {name for name in values if name.startswith(("eastward", "total"))} == written.keys()
    with xr.open_zarr(partial, consolidated=False) as ds:
        wind = ds["eastward_wind"].values
    for unit in job.units:
        rows = slice(3 * unit.rows.start, 3 * unit.rows.stop)
        assert (wind[unit.times.start : unit.times.stop, rows] == unit.number).all()


def test_chunks_are_single_times_in_shards(job):
    _, partial = created(job)
    array = zarr.open_array(partial, path="eastward_wind")
    assert (array.chunks, array.shards) == ((1, 9, 33), (5, 9, 33))
    assert np.isnan(array.fill_value)
    latitude = json.loads((partial / "latitude" / "zarr.json").read_text())
    assert "_FillValue" not in latitude["attributes"]


def test_a_unit_of_one_value_only_is_a_file_too(job):
    output, partial = created(job)
    fields = {name: np.full((5, 9, 33), np.nan, np.float32) for name in job.fine.data_vars}
    files = output.write(job.units[0], fields)
    assert all((partial / name).is_file() for name in files)


def test_large_fields_are_many_chunks():
    assert _chunk(720, whole=True) == (720, 720)
    assert _chunk(2880, whole=True) == (1440, 2880)
    assert _chunk(1441, whole=True) == (721, 1442)
    assert _chunk(2880, whole=False) == (1440, 2880)
    assert _chunk(2883, whole=False) == (961, 2883)
    assert _chunk(1447, whole=False) == (1, 1447)


@pytest.mark.parametrize("axis", ["latitude", "longitude"])
def test_shards_that_reach_beyond_the_field(job, monkeypatch, axis):
    monkeypatch.setattr("orbitds.infer.zarr_output.LARGEST_CHUNK", 10)
    job = replace(job, units=Units(12, 7, 5, 7))
    output, partial = created(job)
    values = np.arange(5 * 21 * 33, dtype=np.float32).reshape(5, 21, 33)
    output.write(job.units[0], dict.fromkeys(job.fine.data_vars, values))
    array = zarr.open_array(partial, path="eastward_wind")
    assert (array.chunks, array.shards) == ((1, 7, 9), (5, 21, 36))
    np.testing.assert_array_equal(array[:5], values)


def test_it_is_seen_to_be_whole(job, coarse, checkpoint_folder, tmp_path):
    output = ZarrOutput(job)
    assert output.exists() is None
    assert not output.is_whole(job.fine)
    job.fine.compute(scheduler="synchronous").to_zarr(job.config.output, consolidated=False)
    assert output.exists() == str(job.config.output)
    assert output.is_whole(job.fine)
    assert not output.is_whole(job.fine.assign_attrs(title="another"))
