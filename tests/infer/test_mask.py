"""Missing cells at inference: filled, masked again, counted, and never spread."""

import numpy as np
import pytest
import torch
import xarray as xr

from orbitds.checkpoint import load_checkpoint, save_checkpoint
from orbitds.config import InferConfig, ModelConfig
from orbitds.data.check import check
from orbitds.data.gaps import fill_gaps
from orbitds.data.history import base_name, with_earlier
from orbitds.infer.mask import missing_cells, on_fine_cells
from orbitds.infer.run import run
from orbitds.model.reslim import Reslim

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
    found = missing_cells(np.isnan(fields), inputs, (RAIN, WIND))
    np.testing.assert_array_equal(found[:, 0], np.isnan(fields[:, 1]))
    np.testing.assert_array_equal(found[:, 1], np.isnan(fields[:, 0]))
    # what is no input is missing where the inputs that are outputs are
    other = missing_cells(np.isnan(fields), inputs, ("2m_temperature_min", WIND))
    np.testing.assert_array_equal(other[:, 0], np.isnan(fields[:, 0]))
    # and, where none is, where any input is
    other = missing_cells(np.isnan(fields), inputs, ("2m_temperature_min",))
    np.testing.assert_array_equal(other[:, 0], np.isnan(fields).any(axis=1))


def test_a_time_without_any_value_of_an_input_has_no_output():
    fields = np.zeros((2, 2, 4, 5), np.float32)
    fields[1, 1] = np.nan
    found = missing_cells(np.isnan(fields), (WIND, RAIN), (WIND,))
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


@pytest.mark.parametrize("case", ["eager", "file"])
def test_an_input_without_any_value_is_refused(coarse, checkpoint_folder, tmp_path, case):
    coarse[RAIN][:] = np.nan
    report = check(coarse, load_checkpoint(checkpoint_folder).inputs, missing="mask")
    wanted = f"Wanted values of {RAIN}, got NaN in all of 924 cells. Check the region"
    assert not report.is_accepted
    coarse.to_netcdf(tmp_path / "coarse.nc")
    config = InferConfig(
        input=str(tmp_path / "coarse.nc"),
        checkpoint=str(checkpoint_folder),
        output=tmp_path / "fine.nc",
        missing="mask",
    )
    refused = {
        "eager": lambda: coarse.orbit.downscale(checkpoint_folder, missing="mask"),
        "file": lambda: run(config),
    }[case]
    with pytest.raises(ValueError, match=wanted) as error:
        refused()
    assert str(error.value) == next(row.problem for row in report.variables if row.problem)
    assert not (tmp_path / "fine.nc").exists()


# --- a model that looks back: gaps of now are masked, those of before are filled ---


@pytest.fixture(scope="module")
def folder_with_a_past(pair, statistics, tmp_path_factory):
    """A checkpoint that looks one month back, without statics and climatology."""
    inputs = with_earlier(pair.inputs, 1)
    config = ModelConfig(width=8, depth=1, decoder_depth=1, correction_width=4, position_octaves=2)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        model = Reslim(config, inputs=inputs, outputs=pair.outputs, statics=(), factor=FACTOR)
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    folder = tmp_path_factory.mktemp("checkpoints") / "past"
    save_checkpoint(
        folder,
        model,
        statistics={name: statistics[base_name(name)] for name in inputs},
        spacing_km=(pair.coarse_grid.spacing_km, pair.fine_grid.spacing_km),
        provenance={},
    )
    return folder


def test_gaps_and_earlier_times(gappy, pair, folder_with_a_past, tmp_path, capsys):
    fine = gappy.orbit.downscale(folder_with_a_past, missing="mask")
    assert fine.indexes["time"].equals(gappy.indexes["time"][1:])
    gaps = on_fine_cells(np.isnan(gappy[WIND].values[1:]), FACTOR)
    np.testing.assert_array_equal(np.isnan(fine[WIND]), gaps)  # month 5 alone has the fourth cell
    count = (3 * 11 + 1) * FACTOR**2
    assert fine[WIND].attrs["orbitds_masked_cells"] == gaps.sum() == count
    assert not np.isnan(fine[RAIN]).any()
    filled = gappy.copy(deep=True)
    filled[WIND].values = fill_gaps(gappy[WIND].values, periodic=pair.coarse_grid.periodic)
    wanted = filled.orbit.downscale(folder_with_a_past)
    for name in (WIND, RAIN):
        np.testing.assert_allclose(
            fine[name], wanted[name].where(~np.isnan(fine[name])), rtol=1e-5, atol=1e-5
        )
    # the past is looked at: other winds a month before change the answer
    filled[WIND][3] += 5
    assert abs(filled.orbit.downscale(folder_with_a_past)[WIND] - wanted[WIND])[3].max() > 0.01

    gappy.to_netcdf(tmp_path / "coarse.nc")
    config = InferConfig(
        input=str(tmp_path / "coarse.nc"),
        checkpoint=str(folder_with_a_past),
        output=tmp_path / "fine.nc",
        missing="mask",
    )
    run(config)
    assert f"masked: {count} cells of {WIND} (" in capsys.readouterr().err
    with xr.open_dataset(tmp_path / "fine.nc") as written:
        xr.testing.assert_allclose(written, fine, rtol=1e-5)
        assert written.attrs == fine.attrs
        for name in (WIND, RAIN):
            assert written[name].attrs == fine[name].attrs


@pytest.mark.parametrize("first", [0, 11])
def test_one_time_with_values_will_do(gappy, folder_with_a_past, first):
    gappy[RAIN][:first] = np.nan
    gappy[RAIN][first + 1 :] = np.nan
    fine = gappy.orbit.downscale(folder_with_a_past, missing="mask")
    assert np.isnan(fine[RAIN]).all()  # now or a month before is nothing known
    gappy[RAIN][:] = np.nan
    with pytest.raises(ValueError, match=f"Wanted values of {RAIN}, got NaN in all"):
        gappy.orbit.downscale(folder_with_a_past, missing="mask")


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
