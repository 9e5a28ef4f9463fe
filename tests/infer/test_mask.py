"""Missing cells at inference: filled, masked again, counted, and never spread."""

import numpy as np
import pytest
import xarray as xr

from orbitds.config import InferConfig
from orbitds.data.gaps import fill_gaps
from orbitds.infer.mask import missing_cells, on_fine_cells
from orbitds.infer.run import run

WIND, RAIN, WARMTH = "eastward_wind", "total_precipitation_24hr", "2m_temperature"
FACTOR = 3


@pytest.fixture
def gappy(coarse):
    """The coarse year with a coast: wind is missing in 3 cells, at one time in a fourth."""
    coarse[WIND][:, 2, 0] = np.nan
    coarse[WIND][:, 6, 9:] = np.nan
    coarse[WIND][5, 4, 4] = np.nan
    return coarse


def test_which_cells_are_missing():
    fields = np.zeros((2, 3, 4, 5), np.float32)
    fields[0, 0, 1, 2] = fields[1, 1, 3, 4] = fields[0, 2, 0, 0] = np.nan
    inputs = (WIND, RAIN, WARMTH)
    found = missing_cells(fields, inputs, (RAIN, WIND))
    np.testing.assert_array_equal(found[:, 0], np.isnan(fields[:, 1]))
    np.testing.assert_array_equal(found[:, 1], np.isnan(fields[:, 0]))
    # what is no input is missing where the inputs that are outputs are
    other = missing_cells(fields, inputs, ("2m_temperature_min", WIND))
    np.testing.assert_array_equal(other[:, 0], np.isnan(fields[:, 0]))
    # and, where none is, where any input is
    other = missing_cells(fields, inputs, ("2m_temperature_min",))
    np.testing.assert_array_equal(other[:, 0], np.isnan(fields).any(axis=1))


def test_a_time_without_any_value_of_an_input_has_no_output():
    fields = np.zeros((2, 2, 4, 5), np.float32)
    fields[1, 1] = np.nan
    found = missing_cells(fields, (WIND, RAIN), (WIND,))
    assert not found[0].any()
    assert found[1].all()


def test_fine_cells_lie_under_their_coarse_cell():
    coarse = np.array([[True, False], [False, True]])
    np.testing.assert_array_equal(on_fine_cells(coarse, 2), np.kron(coarse, np.ones((2, 2), bool)))


@pytest.mark.parametrize("constraints", [(), ("conserve",), ("order", "conserve")])
@pytest.mark.parametrize("tiles", [None, (2, 3)])
def test_gaps_never_spread(gappy, pair, checkpoint_folder, tiles, constraints):
    options = {"tiles": tiles, "constraints": constraints}
    fine = gappy.orbit.downscale(checkpoint_folder, missing="mask", **options)
    gaps = on_fine_cells(np.isnan(gappy[WIND].values), FACTOR)
    np.testing.assert_array_equal(np.isnan(fine[WIND]), gaps)
    assert not np.isnan(fine[RAIN]).any()
    # away from the gaps, the answer is that of the filled field
    filled = gappy.copy(deep=True)
    filled[WIND].values = fill_gaps(gappy[WIND].values, periodic=pair.coarse_grid.periodic)
    wanted = filled.orbit.downscale(checkpoint_folder, **options)
    for name in (WIND, RAIN):
        valid = ~np.isnan(fine[name].values)
        np.testing.assert_allclose(
            fine[name].values[valid], wanted[name].values[valid], rtol=1e-5, atol=1e-5
        )
    assert fine.attrs["orbitds_missing"] == "mask"
    assert fine[WIND].attrs["orbitds_masked_cells"] == gaps.sum() == (3 * 12 + 1) * FACTOR**2
    assert fine[RAIN].attrs["orbitds_masked_cells"] == 0


def test_block_means_hold_beside_gaps(gappy, checkpoint_folder):
    fine = gappy.orbit.downscale(checkpoint_folder, missing="mask", constraints=("conserve",))
    edges = np.deg2rad(fine["latitude_bnds"].values)
    area = np.abs(np.diff(np.sin(edges), axis=1))[:, 0]
    shape = (12, 7, FACTOR, 11, FACTOR)
    weight = np.broadcast_to(area[None, :, None], fine[WIND].shape).reshape(shape)
    blocks = fine[WIND].values.astype(float).reshape(shape)
    mean = (blocks * weight).sum(axis=(2, 4)) / weight.sum(axis=(2, 4))
    np.testing.assert_allclose(mean, gappy[WIND].values, rtol=1e-5, atol=1e-5)


def test_gaps_are_an_error_by_default(gappy, checkpoint_folder):
    with pytest.raises(ValueError, match=r"without missing values, got NaN in 37 of 924 cells"):
        gappy.orbit.downscale(checkpoint_folder)


def test_a_mask_hides_no_implausible_value(gappy, checkpoint_folder):
    gappy[WIND][0, 0, 0] = 1e20
    with pytest.raises(ValueError, match=r"stands in 1 of them"):
        gappy.orbit.downscale(checkpoint_folder, missing="mask")


def test_a_field_without_values_leaves_other_times_alone(coarse, checkpoint_folder):
    wanted = coarse.orbit.downscale(checkpoint_folder)
    coarse[RAIN][4] = np.nan
    fine = coarse.orbit.downscale(checkpoint_folder, missing="mask")
    assert np.isnan(fine.isel(time=4).to_dataarray()).all()
    others = [step for step in range(12) if step != 4]
    for name in (WIND, RAIN):
        np.testing.assert_allclose(fine[name][others], wanted[name][others], rtol=1e-4, atol=1e-4)


def test_without_gaps_a_mask_changes_nothing(coarse, checkpoint_folder):
    masked = coarse.orbit.downscale(checkpoint_folder, missing="mask")
    plain = coarse.orbit.downscale(checkpoint_folder)
    xr.testing.assert_equal(masked, plain)


def test_lazy_data_stay_lazy(gappy, checkpoint_folder):
    wanted = gappy.orbit.downscale(checkpoint_folder, missing="mask")
    lazy = gappy.chunk(time=5).orbit.downscale(checkpoint_folder, missing="mask")
    assert lazy[WIND].chunks is not None
    assert "orbitds_masked_cells" not in lazy[WIND].attrs  # not known yet
    xr.testing.assert_allclose(lazy.compute(), wanted, rtol=1e-4, atol=1e-4)


def test_files_say_how_many_cells_are_masked(gappy, checkpoint_folder, tmp_path, capsys):
    gappy.to_netcdf(tmp_path / "coarse.nc")
    options = {"checkpoint": str(checkpoint_folder), "input": str(tmp_path / "coarse.nc")}
    for name in ("fine.nc", "fine.zarr"):
        run(InferConfig(output=tmp_path / name, missing="mask", **options))
        assert f"masked: 333 cells of {WIND} (4.0%)" in capsys.readouterr().err
        with xr.open_dataset(tmp_path / name) as fine:
            assert fine[WIND].attrs["orbitds_masked_cells"] == 333
            assert int(np.isnan(fine[WIND]).sum()) == 333
            assert fine[RAIN].attrs["orbitds_masked_cells"] == 0
    with pytest.raises(ValueError, match="without missing values"):
        run(InferConfig(output=tmp_path / "none.nc", **options))


def test_the_catalog_may_declare_a_mask(gappy, checkpoint_folder, tmp_path):
    gappy.to_netcdf(tmp_path / "coarse.nc")
    (tmp_path / "coarse.yaml").write_text(
        "title: made up\npath: coarse.nc\nlicence: none\ncitation: none\nresolution_deg: 30\n"
        f"variables: [{WIND}, {RAIN}]\nmissing: mask\n"
    )
    options = {"checkpoint": str(checkpoint_folder), "input": str(tmp_path / "coarse.yaml")}
    run(InferConfig(output=tmp_path / "fine.nc", **options))
    with xr.open_dataset(tmp_path / "fine.nc") as fine:
        assert int(np.isnan(fine[WIND]).sum()) == 333
    with pytest.raises(ValueError, match="without missing values"):
        run(InferConfig(output=tmp_path / "none.nc", missing="error", **options))
