"""Batch inference: file to file equals the notebook."""

import pytest
import xarray as xr

from orbitds.config import InferConfig
from orbitds.infer.run import parse_tiles, run


@pytest.mark.parametrize("name", ["fine.nc", "fine.zarr"])
@pytest.mark.parametrize("source", ["coarse.nc", "coarse.zarr"])
def test_files_give_what_the_accessor_gives(coarse, checkpoint_folder, tmp_path, name, source):
    if source.endswith(".nc"):
        coarse.to_netcdf(tmp_path / source)
    else:
        coarse.to_zarr(tmp_path / source, consolidated=False)
    config = InferConfig(
        input=str(tmp_path / source),
        checkpoint=str(checkpoint_folder),
        output=tmp_path / name,
        tiles="1x2",
    )
    assert run(config) == tmp_path / name
    wanted = coarse.orbit.downscale(checkpoint_folder, tiles=(1, 2))
    with xr.open_dataset(tmp_path / name) as fine:
        xr.testing.assert_allclose(fine, wanted, rtol=1e-5)
        assert fine.attrs == wanted.attrs


def test_tiles_are_parsed_or_refused():
    assert parse_tiles(None) is None
    assert parse_tiles("auto") == "auto"
    assert parse_tiles("2x4") == (2, 4)
    for wrong in ("2", "x", "2x", "0x3", "2x-3", "2 x 4", "many"):
        with pytest.raises(ValueError, match="Wanted tiles as"):
            parse_tiles(wrong)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"device": "cuda:7"}, "Wanted a device of this machine, got 'cuda:7'"),
        ({"tiles": "8x1"}, "Wanted at most 7 x 11 tiles"),
        ({"tiles": "some"}, "Wanted tiles as"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_written(
    coarse, checkpoint_folder, tmp_path, monkeypatch, options, told
):
    coarse.to_netcdf(tmp_path / "coarse.nc")
    monkeypatch.setattr(
        "orbitds.infer.run.write", lambda *a, **k: pytest.fail("began to write before looking")
    )
    config = InferConfig(
        input=str(tmp_path / "coarse.nc"),
        checkpoint=str(checkpoint_folder),
        output=tmp_path / "fine.nc",
        **options,
    )
    with pytest.raises(ValueError, match=told):
        run(config)
