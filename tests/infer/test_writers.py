"""Where an output may lie, and what all of them do."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from orbitds.infer.writers import beside, check_output, has_form, note_file


def test_outputs_that_cannot_be_are_refused_early(tmp_path):
    with pytest.raises(ValueError, match=r"ends in .nc or .zarr.*fine.grib"):
        check_output(tmp_path / "fine.grib")
    with pytest.raises(FileNotFoundError, match="Wanted an existing folder.*mkdir -p"):
        check_output(tmp_path / "no" / "fine.nc")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Wanted an existing folder"):
        check_output(tmp_path / "file" / "fine.nc")
    with pytest.raises(ValueError, match="Wanted an output that ends in .nc for files by month"):
        check_output(tmp_path / "fine.zarr", "month")


@pytest.mark.parametrize("name", ["s3://bucket/fine.nc", "https://host/fine.zarr"])
def test_addresses_that_cannot_be_written_to(name):
    with pytest.raises(ValueError, match="Wanted an address that can be written to and ends in"):
        check_output(Path(name))


def test_addresses_and_places(tmp_path):
    check_output(Path("s3://bucket/fine.zarr"))  # which makes one slash of two
    check_output(tmp_path / "fine.nc", "year")
    assert beside(tmp_path / "fine.nc", "job") == tmp_path / ".fine.nc.job"


def test_a_file_is_noted_with_its_hash(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    path = tmp_path / "a" / "b" / "c"
    path.write_bytes(b"values")
    wanted = {"bytes": 6, "sha256": hashlib.sha256(b"values").hexdigest()}
    assert note_file(path, tmp_path) == wanted


def test_the_form_of_an_output():
    fine = xr.Dataset({"v": ("x", np.zeros(3))}, {"x": [1, 2, 3]}, {"title": "a", "n": 1})
    assert has_form(fine.copy(deep=True), fine)
    assert has_form(fine.assign(v=fine["v"] + 1), fine)
    others = (
        fine.assign_attrs(title="b"),
        fine.assign_coords(x=[1, 2, 4]),
        fine.isel(x=slice(2)),
        fine.rename(v="w"),
    )
    assert not any(has_form(other, fine) for other in others)
