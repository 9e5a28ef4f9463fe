"""Batch inference: file to file equals the notebook."""

import pytest
import xarray as xr

from orbitds.config import InferConfig
from orbitds.infer.run import run


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
    assert run(config).output == [str(tmp_path / name)]
    wanted = coarse.orbit.downscale(checkpoint_folder, tiles=(1, 2))
    with xr.open_dataset(tmp_path / name) as fine:
        xr.testing.assert_allclose(fine, wanted, rtol=1e-5)
        assert fine.attrs == wanted.attrs


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"device": "cuda:7"}, "Wanted a device of this machine, got 'cuda:7'"),
        ({"tiles": "8x1"}, "Wanted at most 7 x 11 tiles"),
        ({"tiles": "some"}, "Wanted tiles as"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_written(
    coarse, checkpoint_folder, tmp_path, options, told
):
    coarse.to_netcdf(tmp_path / "coarse.nc")
    config = InferConfig(
        input=str(tmp_path / "coarse.nc"),
        checkpoint=str(checkpoint_folder),
        output=tmp_path / "fine.nc",
        **options,
    )
    with pytest.raises(ValueError, match=told):
        run(config)
    assert [path.name for path in tmp_path.iterdir()] == ["coarse.nc"]
