"""The table of an evaluation: numpy's numbers, however data are stored, chunked and shared out."""

import numpy as np
import pytest
import torch
import xarray as xr

from orbitds.eval import stream
from orbitds.eval.evaluate import evaluate, prepare
from orbitds.eval.options import Options
from orbitds.eval.parts import table_of_parts, write_part
from orbitds.grid import block_mean
from tests.eval.test_run import TEMPERATURE, WIND, perturbed, reference, score, weather

RAIN = "total_precipitation_24hr"


def rainy(times=70, **more):
    """Temperature, wind and precipitation of some days, and a prediction of them."""
    truth = weather(times=times, **more)
    rng = np.random.default_rng(7)
    shape = truth[WIND].shape
    truth[RAIN] = (truth[WIND].dims, rng.gamma(0.5, 8, shape), {"units": "mm"})
    prediction = perturbed(truth)
    prediction[RAIN] = prediction[RAIN].clip(min=0)
    return prediction, truth


def value(table, name, metric, method="prediction", *, region="all", season="all", of="value"):
    where = {"variable": name, "metric": metric, "method": method, "region": region}
    return float(table[of].sel(where, drop=True).sel(season=season))


def test_scores_are_numpys():
    prediction, truth = rainy()
    table = evaluate(prediction, truth)
    for name in (TEMPERATURE, WIND, RAIN):
        rmse, bias, r2 = reference(prediction[name].values, truth[name].values)
        assert value(table, name, "rmse") == pytest.approx(rmse, rel=1e-9)
        assert value(table, name, "bias") == pytest.approx(bias, rel=1e-9)
        assert value(table, name, "r2") == pytest.approx(r2, rel=1e-8)
    logarithm = f"log1p({RAIN})"
    rmse, bias, r2 = reference(np.log1p(prediction[RAIN].values), np.log1p(truth[RAIN].values))
    assert value(table, logarithm, "rmse") == pytest.approx(rmse, rel=1e-9)
    assert value(table, logarithm, "r2") == pytest.approx(r2, rel=1e-8)
    assert table["variable"].values.tolist() == [WIND, TEMPERATURE, RAIN, logarithm]


def test_the_old_table_has_the_same_numbers():
    prediction, truth = rainy(20)
    coarse = block_mean(truth, 3)
    table = evaluate(prediction, truth, Options(coarse=coarse))
    for row in score(prediction, truth, coarse=coarse).rows:
        for metric in ("rmse", "bias", "r2", "ssim", "psnr"):
            got = value(table, row.variable, metric, row.method)
            assert got == pytest.approx(getattr(row, metric), rel=1e-5, abs=1e-6), metric


def test_seasons_and_regions():
    prediction, truth = rainy()
    table = evaluate(prediction, truth)
    winter = truth["time"].dt.season == "DJF"
    south = truth["latitude"] < -20
    chosen = {"time": winter, "latitude": south}
    p, t = (ds[WIND].isel(chosen).values for ds in (prediction, truth))
    area = -np.diff(np.sin(np.deg2rad(np.linspace(90, -90, 13))))[south.values, None]
    wanted = np.average(p - t, weights=np.broadcast_to(area, p.shape))
    got = value(table, WIND, "bias", region="southern extratropics", season="DJF")
    assert got == pytest.approx(wanted, rel=1e-9)
    assert np.isnan(value(table, WIND, "bias", season="SON"))


def test_simple_methods_stand_beside_the_prediction():
    prediction, truth = rainy(30)
    table = evaluate(prediction, truth, Options(coarse=block_mean(truth, 3), label="Reslim"))
    assert table["method"].values.tolist() == [
        "Reslim",
        "nearest",
        "bilinear",
        "bicubic",
        "lapse rate",
    ]
    for name in (TEMPERATURE, RAIN):
        mse = {m: value(table, name, "rmse", m) ** 2 for m in ("Reslim", "bilinear")}
        wanted = 1 - mse["Reslim"] / mse["bilinear"]
        assert value(table, name, "skill", "Reslim") == pytest.approx(wanted)
        assert value(table, name, "consistency_rmse", "nearest") < 1e-4
    # within a cell of nearest nothing jumps
    assert np.isnan(value(table, TEMPERATURE, "block_index", "nearest"))
    assert value(table, TEMPERATURE, "block_index", "Reslim") == pytest.approx(1, abs=0.2)
    assert np.isnan(value(table, f"log1p({RAIN})", "consistency_rmse", "nearest"))


def test_curves_and_maps():
    prediction, truth = rainy(40)
    table = evaluate(prediction, truth)
    error = (prediction - truth)[WIND]
    np.testing.assert_allclose(
        table["bias_map"].sel(variable=WIND)[0], error.mean("time"), rtol=1e-5
    )
    wanted = (error**2).mean("time") ** 0.5
    np.testing.assert_allclose(table["rmse_map"].sel(variable=WIND)[0], wanted, rtol=1e-5)
    area = np.cos(np.deg2rad(truth["latitude"]))  # of uniform rows: to a constant
    means = truth[WIND].weighted(area).mean(["latitude", "longitude"])
    np.testing.assert_allclose(table["time_series_truth"].sel(variable=WIND), means, rtol=1e-6)
    np.testing.assert_array_equal(table["time"], truth["time"])
    quantiles = table["quantile_truth"].sel(variable=RAIN)
    assert (np.diff(quantiles) > 0).all()
    assert float(quantiles.sel(probability=0.5)) == pytest.approx(
        float(truth[RAIN].median()), rel=0.1
    )
    assert table["spectrum"].notnull().all()
    assert table.attrs["times"] == 40
    assert (table.attrs["first"], table.attrs["last"]) == ("2004-01-01", "2004-02-09")


def test_parts_of_processes_are_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "BLOCK_CELLS", 16 * 12 * 18)
    prediction, truth = rainy(50)
    coarse = block_mean(truth, 3)
    expected = evaluate(prediction, truth, Options(coarse=coarse))
    evaluation = prepare(prediction, truth, Options(coarse=coarse))
    for process in (4, 2, 0, 1, 3, 5):  # more than there are blocks
        write_part(evaluation, tmp_path, (process, 6))
    got = table_of_parts(evaluation, tmp_path, 6)
    xr.testing.assert_allclose(got, expected, rtol=1e-9)


def test_cells_without_a_prediction_are_left_out_on_request():
    prediction, truth = rainy(20)
    prediction[WIND][1, 2:4, 5] = np.nan
    with pytest.raises(ValueError, match="'prediction' wherever there is truth, got NaN in 2 of"):
        evaluate(prediction, truth)
    table = evaluate(prediction, truth, Options(missing="mask"))
    masked = truth[WIND].where(prediction[WIND].notnull()).values
    rmse, _, _ = reference(prediction[WIND].values, masked)
    assert value(table, WIND, "rmse") == pytest.approx(rmse, rel=1e-9)


def test_an_ensemble_is_its_mean_and_its_first_member():
    _, truth = rainy(30)
    rng = np.random.default_rng(0)
    shape = (4, *truth[WIND].shape)
    centre = truth[WIND].values + rng.normal(0, 1, shape[1:])
    members = centre + rng.normal(0, 1, shape)
    prediction = xr.Dataset(
        {WIND: (("member", *truth[WIND].dims), members, {"units": "m s-1"})}, truth.coords
    )
    table = evaluate(prediction, truth, Options(label="E"))
    assert table["method"].values.tolist() == ["E", "E (first member)"]
    rmse, _, _ = reference(members.mean(axis=0), truth[WIND].values)
    assert value(table, WIND, "rmse", "E") == pytest.approx(rmse, rel=1e-9)
    assert value(table, WIND, "spread_skill", "E") == pytest.approx(1, rel=0.05)
    assert 0.5 < value(table, WIND, "crps", "E") < 0.65
    ranks = table["rank_histogram"].sel({"variable": WIND, "method": "E"})
    np.testing.assert_allclose(ranks, 0.2, atol=0.03)


def test_the_seam_index_of_tiles():
    prediction, truth = rainy(10)
    prediction[WIND][..., 9:] += 30
    table = evaluate(prediction, truth, Options(tiles=(1, 2)))
    assert value(table, WIND, "seam_index") > 3
    assert value(table, TEMPERATURE, "seam_index") == pytest.approx(1, abs=0.2)
    assert np.isnan(value(evaluate(prediction, truth), WIND, "seam_index"))


def test_tiles_of_the_coarse_field_begin_with_its_cells():
    prediction, truth = rainy(3)
    options = Options(coarse=block_mean(truth, 3), tiles=(3, 4))
    # of 4 x 6 coarse cells: rows 0, 1, 2 and columns 0, 1, 3, 4
    borders = prepare(prediction, truth, options).frame.borders["seam"]
    assert (borders.rows.nonzero().flatten() + 1).tolist() == [3, 6]
    assert (borders.columns.nonzero().flatten() + 1).tolist() == [3, 9, 12]


def test_a_gaussian_window_is_another_similarity_and_said():
    prediction, truth = rainy(5)
    plain, gaussian = (
        evaluate(prediction, truth, Options(ssim=window)) for window in ("uniform", "gaussian")
    )
    assert value(plain, WIND, "ssim") != value(gaussian, WIND, "ssim")
    assert value(plain, WIND, "ssim") == pytest.approx(value(gaussian, WIND, "ssim"), abs=0.1)
    assert gaussian.attrs["ssim_window"] == "11 x 11 cells, Gaussian"
    assert gaussian.attrs["detailed_times"] == 5


def test_other_simple_methods_may_be_given():
    prediction, truth = rainy(10)

    def zero(coarse, name):
        return {"zero": torch.zeros(coarse.sizes["time"], 12, 18)}

    table = evaluate(prediction, truth, Options(coarse=block_mean(truth, 3), simple=zero))
    wanted = float((truth[WIND].values ** 2).mean()) ** 0.5
    assert value(table, WIND, "rmse", "zero") == pytest.approx(wanted, rel=0.05)


def test_a_map_without_a_date_has_no_seasons():
    truth = weather(times=1).isel(time=0, drop=True)
    table = evaluate(perturbed(truth), truth)
    assert np.isfinite(value(table, WIND, "rmse"))
    assert table["value"].sel(season="DJF").isnull().all()


def test_a_table_survives_a_file(tmp_path):
    table = evaluate(*rainy(30))
    table.to_netcdf(tmp_path / "scores.nc")
    with xr.open_dataset(tmp_path / "scores.nc") as back:
        xr.testing.assert_identical(back.load(), table)
