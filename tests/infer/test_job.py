"""What is known of a job before anything is computed."""

import numpy as np
import pytest
import xarray as xr

from orbitds.infer.job import parse_tiles
from orbitds.infer.manifest import differences
from tests.infer.laying import laid_out


def test_the_output_is_that_of_the_accessor(coarse, checkpoint_folder, tmp_path):
    job = laid_out(coarse, checkpoint_folder, tmp_path)
    wanted = coarse.orbit.downscale(checkpoint_folder)
    assert job.fine.attrs == wanted.attrs
    assert job.fine.coords.to_dataset().identical(wanted.coords.to_dataset())
    assert (job.time, job.rows) == ("time", "latitude")
    assert (job.units.times, job.units.rows) == (12, 7)
    renamed = coarse.isel(time=0).rename(latitude="lat")
    job = laid_out(renamed, checkpoint_folder, tmp_path)
    assert (job.time, job.rows, job.units.times) == (None, "lat", 1)


def test_coordinates_are_in_memory_and_values_are_not(coarse, checkpoint_folder, tmp_path):
    ds = coarse.assign_coords(season=("time", np.arange(12) // 3)).chunk()
    job = laid_out(ds, checkpoint_folder, tmp_path)
    assert job.fine["eastward_wind"].chunks
    assert not job.fine["season"].chunks
    assert job.fine["season"].values.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_the_same_twice_is_the_same(coarse, checkpoint_folder, tmp_path):
    first, second = (laid_out(coarse, checkpoint_folder, tmp_path) for _ in range(2))
    assert differences(first.identity, second.identity) == []


@pytest.mark.parametrize("name", ["resume", "overwrite", "keep_going"])
def test_how_a_job_is_carried_out_is_no_part_of_it(coarse, checkpoint_folder, tmp_path, name):
    first = laid_out(coarse, checkpoint_folder, tmp_path)
    second = laid_out(coarse, checkpoint_folder, tmp_path, **{name: True})
    assert differences(first.identity, second.identity) == []


def test_values_are_a_part_of_it_whatever_the_file(coarse, checkpoint_folder, tmp_path):
    first = laid_out(coarse, checkpoint_folder, tmp_path)
    for place in (0, 5, 11):  # the first, middle and last time
        other = coarse.copy(deep=True)
        other["eastward_wind"][place, 0, 0] += 1
        second = laid_out(other, checkpoint_folder, tmp_path)
        assert differences(first.identity, second.identity) == ["values of the input"]


def test_files_of_the_catalog_and_zarr_stores_are_known(coarse, checkpoint_folder, tmp_path):
    coarse.to_zarr(tmp_path / "coarse.zarr", consolidated=False)
    inputs = ("fnoc_navy_winds_2p5deg", "memory://a/b.zarr", str(tmp_path / "coarse.zarr"))
    hashes = {
        laid_out(coarse, checkpoint_folder, tmp_path, input=name).identity["files of the input"]
        for name in inputs
    }
    assert len(hashes) == 3
    xr.open_zarr(tmp_path / "coarse.zarr", consolidated=False).close()
    (tmp_path / "coarse.zarr" / "zarr.json").touch()
    job = laid_out(coarse, checkpoint_folder, tmp_path, input=inputs[2])
    assert job.identity["files of the input"] not in hashes


def test_tiles_are_parsed_or_refused():
    assert parse_tiles(None) is None
    assert parse_tiles("auto") == "auto"
    assert parse_tiles("2x4") == (2, 4)
    for wrong in ("2", "x", "2x", "0x3", "2x-3", "2 x 4", "many"):
        with pytest.raises(ValueError, match="Wanted tiles as"):
            parse_tiles(wrong)
