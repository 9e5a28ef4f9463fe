"""Scores: numpy's numbers, from files as users have them, in whatever convention."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from orbitds.checkpoint import load_checkpoint, save_checkpoint
from orbitds.config import EvalConfig, ModelConfig
from orbitds.data.climatology import Climatology
from orbitds.data.pair import open_pair, stack
from orbitds.eval.baselines import LAPSE
from orbitds.eval.evaluate import evaluate
from orbitds.eval.options import Options
from orbitds.eval.report import Table
from orbitds.eval.run import run as report
from orbitds.grid import block_mean
from orbitds.infer.lazy import downscale
from orbitds.model.reslim import Reslim
from orbitds.region import Region

TEMPERATURE, WIND, RAIN = "2m_temperature", "eastward_wind", "total_precipitation_24hr"
NAVY = "navy_winds_10deg_to_2p5deg"
SIMPLE = ["nearest", "bilinear", "bicubic"]
# What stands beside the prediction, unasked.
BESIDE = {WIND: SIMPLE, TEMPERATURE: [*SIMPLE, LAPSE], RAIN: SIMPLE}


def run(config):
    """Return the main table of a report."""
    return Table.of(report(config))


def score(*sides, **told):
    """Return the main table of an evaluation in memory."""
    return Table.of(evaluate(*sides, Options(**told)))


def weather(*, seed=0, times=5, rows=12, columns=18, first_edge=0.0):
    """Random temperature and wind on a globe, smooth enough to have a spread of scores."""
    rng = np.random.default_rng(seed)
    latitude = 90 - (np.arange(rows) + 0.5) * 180 / rows
    longitude = first_edge + (np.arange(columns) + 0.5) * 360 / columns
    shape = (times, rows, columns)
    warm = 250 + 40 * np.cos(np.deg2rad(latitude))[:, None] + rng.normal(0, 3, shape)
    dims = ("time", "latitude", "longitude")
    return xr.Dataset(
        {
            TEMPERATURE: (dims, warm, {"units": "K"}),
            WIND: (dims, rng.normal(2, 5, shape), {"units": "m s-1"}),
        },
        coords={
            "time": np.datetime64("2004-01-01", "ns") + np.arange(times) * np.timedelta64(1, "D"),
            "latitude": latitude,
            "longitude": longitude,
        },
    )


def perturbed(ds, size=1.0):
    rng = np.random.default_rng(99)
    return ds.map(lambda field: field + size * rng.normal(0.2, 1, field.shape), keep_attrs=True)


def reference(prediction, truth):
    """Return RMSE, bias and R2 over time and space by numpy; NaN in the truth does not count."""
    edges = np.linspace(90, -90, truth.shape[-2] + 1)
    area = -np.diff(np.sin(np.deg2rad(edges)))[:, None]
    valid = ~np.isnan(truth)
    weight = np.broadcast_to(area, truth.shape)[valid]
    error, target = prediction[valid] - truth[valid], truth[valid]
    mse = np.average(error**2, weights=weight)
    spread = np.average((target - np.average(target, weights=weight)) ** 2, weights=weight)
    return mse**0.5, np.average(error, weights=weight), 1 - mse / spread


def few(part):
    """Return five times of a period: too few for intervals, which take longer than all else."""
    some = {"time": [0, 3, 6, 8, 11]}
    return part.coarse.isel(some), part.fine.isel(some)


def by_method(table, name):
    rows = {row.method: row for row in table.rows if row.variable == name}
    assert len(rows) == sum(row.variable == name for row in table.rows)
    return rows


def assert_equal_scores(got, wanted, rel=1e-5):
    assert len(got.rows) == len(wanted.rows)
    for row, other in zip(got.rows, wanted.rows, strict=True):
        assert (row.variable, row.units, row.method) == (other.variable, other.units, other.method)
        for key in ("rmse", "bias", "r2", "ssim", "psnr"):
            assert getattr(row, key) == pytest.approx(getattr(other, key), rel=rel, abs=1e-4), key


def saved(tmp_path, **datasets):
    """Write each dataset, and return a config that names the files, without maps."""
    for name, ds in datasets.items():
        ds.to_netcdf(tmp_path / f"{name}.nc")
    files = {name: str(tmp_path / f"{name}.nc") for name in datasets}
    return EvalConfig.model_validate({"output": tmp_path / "scores", "maps": False} | files)


def checkpoint_of(pair, statistics, folder, base):
    """Write the checkpoint of an untrained model, which equals what it starts from."""
    model = Reslim(
        ModelConfig(width=8, depth=1, decoder_depth=1, position_octaves=2, base=base),
        inputs=pair.inputs,
        outputs=pair.outputs,
        statics=pair.static_names,
        factor=pair.factor,
    )
    known = Climatology.of(pair.part("train")).means() if base == "delta" else ()
    save_checkpoint(
        folder,
        model,
        statistics=statistics,
        spacing_km=(pair.coarse_grid.spacing_km, pair.fine_grid.spacing_km),
        provenance={},
        region=Region(pair.fine_grid, stack(pair.statics, pair.static_names).values, *known),
    )
    return load_checkpoint(folder)


# --- numbers ------------------------------------------------------------------------------------


def test_files_have_the_scores_that_numpy_finds(tmp_path):
    truth = weather()
    prediction = perturbed(truth)
    table = run(saved(tmp_path, prediction=prediction, truth=truth))
    assert [(row.variable, row.method) for row in table.rows] == [
        (WIND, "prediction"),
        (TEMPERATURE, "prediction"),
    ]
    for row in table.rows:
        values = prediction[row.variable].values, truth[row.variable].values
        assert (row.rmse, row.bias, row.r2) == pytest.approx(reference(*values), rel=1e-9)
        data_range = {WIND: 30, TEMPERATURE: 100}[row.variable]
        assert row.psnr == pytest.approx(20 * np.log10(data_range / row.rmse), rel=1e-9)
        assert 0 < row.ssim < 1
    assert (table.times, table.first, table.last) == (5, "2004-01-01", "2004-01-05")
    assert table.grid.startswith("12 x 18 cells of 15 x 20 degrees")
    written = json.loads((tmp_path / "scores" / "scores.json").read_text())
    records = written.pop("scores")
    assert written == json.loads(json.dumps(table.as_dict()))
    assert records[0]["value"]["rmse"] == table.rows[0].rmse
    assert f"| {table.rows[0].rmse:.3f} |" in (tmp_path / "scores" / "scores.md").read_text()


def test_a_perfect_prediction_has_perfect_scores():
    for row in score(weather(), weather()).rows:
        assert (row.rmse, row.bias, row.r2, row.psnr) == (0, 0, 1, float("inf"))
        assert row.ssim == pytest.approx(1, abs=1e-12)


def test_missing_truth_does_not_count(tmp_path):
    truth = weather()
    prediction = perturbed(truth)
    truth[WIND][1:3, :4] = np.nan
    prediction[WIND][1, 0] = np.nan  # where nothing is asked
    prediction[WIND][2, 1] = 1e6
    row = by_method(run(saved(tmp_path, prediction=prediction, truth=truth)), WIND)["prediction"]
    values = prediction[WIND].values, truth[WIND].values
    assert (row.rmse, row.bias, row.r2) == pytest.approx(reference(*values), rel=1e-9)


def test_a_variable_without_truth_has_no_scores(tmp_path):
    truth = weather()
    truth[WIND][:] = np.nan
    table = run(saved(tmp_path, prediction=weather(), truth=truth))
    assert np.isnan(by_method(table, WIND)["prediction"].rmse)
    written = json.loads((tmp_path / "scores" / "scores.json").read_text())["rows"]
    assert [row["rmse"] for row in written if row["variable"] == WIND] == [None]


def test_blocks_of_time_do_not_change_scores(monkeypatch, pair, checkpoint_folder):
    coarse, fine = few(pair.part("test"))
    several = {"coarse": coarse, "checkpoint": load_checkpoint(checkpoint_folder)}
    whole = score(perturbed(fine), fine, **several)
    monkeypatch.setattr("orbitds.data.blocks.BLOCK_CELLS", 2 * 2 * 21 * 33)  # 2, 2 and 1 month
    assert_equal_scores(score(perturbed(fine), fine, **several), whole, rel=1e-9)


# --- the simple methods -------------------------------------------------------------------------


def test_simple_methods_are_scored_beside_the_prediction(tmp_path):
    truth = weather()
    coarse = block_mean(truth, 3)
    table = run(saved(tmp_path, prediction=perturbed(truth), truth=truth, coarse=coarse))
    for name, methods in BESIDE.items():
        assert list(by_method(table, name)) == (["prediction", *methods] if name != RAIN else [])
    for name in (WIND, TEMPERATURE):
        values = np.kron(coarse[name].values, np.ones((1, 3, 3))), truth[name].values
        row = by_method(table, name)["nearest"]
        assert (row.rmse, row.bias, row.r2) == pytest.approx(reference(*values), rel=1e-9, abs=1e-9)
    assert "bicubic" in (tmp_path / "scores" / "scores.md").read_text()


@pytest.mark.parametrize("base", ["bicubic", "delta"])
def test_an_untrained_model_scores_as_what_it_starts_from(pair, statistics, tmp_path, base):
    coarse, fine = few(pair.part("test"))
    checkpoint = checkpoint_of(pair, statistics, tmp_path / "checkpoint", base)
    prediction = downscale(coarse, checkpoint)
    table = score(prediction, fine, coarse=coarse, checkpoint=checkpoint)
    for name in (WIND, RAIN):
        rows = by_method(table, name)
        last = "delta change" if base == "delta" else "bicubic"
        assert list(rows) == ["checkpoint", *SIMPLE] + ["delta change"] * (base == "delta")
        for key in ("rmse", "r2", "ssim"):
            assert getattr(rows["checkpoint"], key) == pytest.approx(
                getattr(rows[last], key), rel=1e-5
            )
        assert rows["checkpoint"].rmse != pytest.approx(rows["bilinear"].rmse, rel=1e-3)


@pytest.mark.parametrize(
    ("made_with", "label", "wanted"),
    [
        (None, None, "prediction"),
        ("era5_9m", None, "era5_9m"),
        ("era5_9m", "mine", "mine"),
        ("bilinear", None, "bilinear (prediction)"),
        (None, "delta change", "delta change (prediction)"),
    ],
)
def test_a_prediction_is_called_what_it_says_of_itself(made_with, label, wanted):
    truth = weather()
    prediction = perturbed(truth)
    if made_with is not None:
        prediction.attrs["orbitds_checkpoint"] = made_with
    coarse = block_mean(truth.isel(latitude=slice(None)), 3)
    table = score(prediction, truth, coarse=coarse, label=label)
    for name in (WIND, TEMPERATURE):
        assert list(by_method(table, name)) == [wanted, *BESIDE[name]]
    assert by_method(table, WIND)[wanted].rmse > 0.5
    assert by_method(table, WIND)["bilinear"].rmse > 1  # its own, not the prediction's


def test_delta_change_needs_the_checkpoint(pair, checkpoint_folder, tmp_path):
    coarse, truth = few(pair.part("test"))
    config = saved(tmp_path, prediction=truth, truth=truth, coarse=coarse)
    plain = run(config)
    config = config.model_copy(
        update={"checkpoint": str(checkpoint_folder), "output": tmp_path / "with"}
    )
    full = run(config)
    for name in (WIND, RAIN):
        assert list(by_method(plain, name)) == ["prediction", *SIMPLE]
        assert list(by_method(full, name)) == ["prediction", *SIMPLE, "delta change"]
    # bicubic, shifted by what the months of both training years have beyond it
    train = pair.part("train")
    months = train.fine[WIND].astype(float).groupby("time.month").mean()
    months = months.sel(month=truth["time"].dt.month)
    anomaly = coarse[WIND].astype(float) - train.coarse[WIND].astype(float).groupby(
        "time.month"
    ).mean().sel(month=coarse["time"].dt.month)
    far = torch.tensor(np.pad(anomaly.values, ((0, 0), (0, 0), (4, 4)), mode="wrap"))
    fine = torch.nn.functional.interpolate(far[:, None], scale_factor=3, mode="bicubic")
    wanted = fine[:, 0, :, 12:-12].numpy() + months.values
    row = by_method(full, WIND)["delta change"]
    got = row.rmse, row.bias, row.r2
    assert got == pytest.approx(reference(wanted, truth[WIND].values), rel=1e-4, abs=1e-5)


def test_a_coarse_cell_may_span_greenwich():
    truth = weather(first_edge=-40.0)
    coarse = block_mean(truth, 6)  # its first column reaches from 40 degrees west to 80 east
    middle = block_mean(weather(first_edge=0.0), 6)
    assert coarse["longitude"].values.tolist() == [20, 140, 260]
    assert middle["longitude"].values.tolist() == [60, 180, 300]
    shift = score(perturbed(truth), truth, coarse=coarse)
    plain = score(perturbed(weather()), weather(), coarse=middle)
    # the relief stays where it is, whatever the data are of
    without = (
        replace(t, rows=tuple(r for r in t.rows if r.method != LAPSE)) for t in (shift, plain)
    )
    assert_equal_scores(*without)


def test_variables_that_the_coarse_data_lack_have_no_simple_methods():
    truth = weather()
    coarse = block_mean(truth, 3)
    table = score(truth, truth, coarse=coarse[[WIND]])
    assert list(by_method(table, WIND)) == ["prediction", *SIMPLE]
    assert list(by_method(table, TEMPERATURE)) == ["prediction"]
    with pytest.raises(ValueError, match=rf"'{WIND}'.* in the coarse data, got .*{TEMPERATURE}"):
        score(truth[[WIND]], truth, coarse=coarse[[TEMPERATURE]])


# --- conventions --------------------------------------------------------------------------------


def flipped(ds):
    return ds.isel(latitude=slice(None, None, -1))


def around_greenwich(ds):
    turned = ds.assign_coords(longitude=(ds["longitude"] + 180) % 360 - 180)
    return turned.sortby("longitude")


def celsius(ds):
    return ds.assign({TEMPERATURE: (ds[TEMPERATURE] - 273.15).assign_attrs(units="degC")})


def renamed(ds):
    names = {"latitude": "lat", "longitude": "lon", TEMPERATURE: "t2m", WIND: "u"}
    return ds.rename(names).transpose("lon", "lat", "time")


def rounded(ds):
    return ds.astype(np.float32).assign_coords(
        {axis: ds[axis].astype(np.float32) for axis in ("latitude", "longitude")}
    )


@pytest.fixture(scope="module")
def sides():
    """All sides of an evaluation, in one convention."""
    truth = weather()
    return {"prediction": perturbed(truth), "truth": truth, "coarse": block_mean(truth, 3)}


@pytest.fixture(scope="module")
def plain(sides):
    """Their scores."""
    return score(sides["prediction"], sides["truth"], coarse=sides["coarse"])


@pytest.mark.parametrize("side", ["prediction", "truth", "coarse"])
@pytest.mark.parametrize("convention", [flipped, around_greenwich, celsius, renamed, rounded])
def test_conventions_do_not_change_scores(tmp_path, monkeypatch, sides, plain, side, convention):
    monkeypatch.setattr("orbitds.eval.run.write_report", lambda *_, **__: None)
    assert_equal_scores(run(saved(tmp_path, **sides | {side: convention(sides[side])})), plain)


def test_common_times_are_scored():
    truth = weather()
    prediction = perturbed(truth)
    wanted = score(prediction.isel(time=[1, 3]), truth.isel(time=[1, 3]))
    for one, other in (([1, 3], slice(None)), (slice(1, 4), [0, 1, 3, 4])):
        got = score(prediction.isel(time=one), truth.isel(time=other))
        assert_equal_scores(got, wanted)
        assert (got.times, got.first, got.last) == (2, "2004-01-02", "2004-01-04")
    coarse = block_mean(truth, 3).isel(time=[1, 3])
    got = score(prediction, truth, coarse=coarse)
    assert (by_method(got, WIND)["prediction"].rmse, got.times) == (
        pytest.approx(by_method(wanted, WIND)["prediction"].rmse),
        2,
    )


def test_further_variables_are_left_alone():
    truth = weather()
    height = (100 * truth[WIND][0]).assign_attrs(units="m")
    prediction = perturbed(truth)[[WIND]].assign(cloud=truth[WIND], orography=height)
    table = score(prediction, truth.assign(cloud=truth[WIND], orography=height))
    assert [row.variable for row in table.rows] == [WIND]


# --- what is refused ----------------------------------------------------------------------------


def test_grids_that_differ_are_named():
    finer, shifted = weather(rows=24), weather(first_edge=7.0)
    for other in (finer, shifted, weather().isel(longitude=slice(0, 9))):
        with pytest.raises(ValueError, match="on one grid") as error:
            score(other, weather())
        words = str(error.value)
        assert f"prediction {other.sizes['latitude']} x {other.sizes['longitude']} cells" in words
        assert "truth 12 x 18 cells" in words
        assert "Regrid" in words


def test_a_coarse_grid_must_divide_the_fine_one():
    other = weather(rows=5, columns=6)
    with pytest.raises(ValueError, match=r"coarse 5 x 6 cells.*fine 12 x 18 cells.*Regrid"):
        score(weather(), weather(), coarse=other)


@pytest.mark.parametrize("side", ["truth", "coarse"])
def test_times_that_differ_are_named(side):
    truth = weather()
    sides = {"truth": truth, "coarse": block_mean(truth, 3)}
    later = sides[side]["time"] + np.timedelta64(12, "h")
    sides[side] = sides[side].assign_coords(time=later)
    with pytest.raises(ValueError, match="common times, got none") as error:
        score(truth, sides["truth"], coarse=sides["coarse"])
    assert f"{side} 2004-01-01T12" in str(error.value)
    assert "prediction 2004-01-01T00" in str(error.value)


def test_a_missing_prediction_is_refused(tmp_path):
    prediction = weather()
    prediction[WIND][2, 3, 4:6] = np.nan
    with pytest.raises(ValueError, match="NaN in 2 of 1080 cells.*Check the downscaling"):
        run(saved(tmp_path, prediction=prediction, truth=weather()))
    assert not (tmp_path / "scores").exists()


def test_nothing_in_common_is_refused():
    cloud = weather()[[WIND]].rename({WIND: "cloud"})
    for one, other in ((cloud, weather()), (weather()[[WIND]], weather()[[TEMPERATURE]])):
        with pytest.raises(ValueError, match=r"common variable.*variables\.yaml"):
            score(one, other)


@pytest.mark.parametrize("earlier", ["scores.md", "scores.json"])
def test_earlier_scores_are_replaced_only_on_request(tmp_path, earlier):
    config = saved(tmp_path, prediction=perturbed(weather()), truth=weather())
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / earlier).write_text("earlier")
    with pytest.raises(FileExistsError, match=rf"got .*{earlier}, which exists.*--overwrite"):
        run(config)
    assert [path.name for path in (tmp_path / "scores").iterdir()] == [earlier]
    assert (tmp_path / "scores" / earlier).read_text() == "earlier"
    table = run(config.model_copy(update={"overwrite": True}))
    assert json.loads((tmp_path / "scores" / "scores.json").read_text())["rows"][0]["rmse"] == (
        table.rows[0].rmse
    )
    assert "earlier" not in (tmp_path / "scores" / "scores.md").read_text()


def test_a_folder_that_cannot_be_used_is_told_before_the_evaluation(tmp_path, monkeypatch):
    config = saved(tmp_path, prediction=weather(), truth=weather())
    monkeypatch.setattr("orbitds.eval.run.evaluate", lambda *_: pytest.fail("scored"))
    (tmp_path / "file").write_text("precious")
    with pytest.raises(NotADirectoryError):
        run(config.model_copy(update={"output": tmp_path / "file" / "scores"}))
    with pytest.raises(pytest.fail.Exception, match="scored"):
        run(config.model_copy(update={"output": tmp_path / "new" / "scores"}))
    assert not (tmp_path / "new").exists()


def test_cells_without_a_prediction_count_for_no_method():
    truth = weather(rows=12, columns=18)
    prediction, coarse = perturbed(truth), block_mean(truth, 3)
    prediction[WIND][1, 2:4, 5] = np.nan
    coarse[WIND][1, 0, 1] = np.nan
    with pytest.raises(ValueError, match="got NaN in 2 of"):
        score(prediction, truth)
    table = score(prediction, truth, coarse=coarse, missing="mask")
    masked = truth[WIND].where(prediction[WIND].notnull()).values
    rmse, bias, _ = reference(prediction[WIND].values, masked)
    row = next(row for row in table.rows if row.variable == WIND and row.method == "prediction")
    np.testing.assert_allclose([row.rmse, row.bias], [rmse, bias], rtol=1e-6)
    assert all(np.isfinite(row.rmse) for row in table.rows)


# --- training periods and other predictions -----------------------------------------------------


@pytest.fixture
def winds(tmp_path):
    """Truth and coarse input of the test years of the embedded pair, a prediction of some times."""
    test = open_pair(NAVY).part("test")
    _, fine = few(test)
    prediction = perturbed(fine.load(), 0.5).astype(np.float32)
    return saved(tmp_path, prediction=prediction, truth=test.fine, coarse=test.coarse)


def test_a_pair_alone_gives_truth_input_and_training_years(winds, tmp_path):
    told = {"truth": None, "coarse": None, "pair": NAVY, "output": tmp_path / "of_pair"}
    full = run(winds.model_copy(update=told))
    named = run(winds.model_copy(update={"pair": NAVY}))
    assert_equal_scores(full, named, rel=1e-6)
    for name in (WIND, "northward_wind"):
        rows = by_method(full, name)
        assert list(rows) == ["prediction", *SIMPLE, "delta change", "quantile mapping"]
        assert rows["delta change"].rmse < 0.8 * rows["bilinear"].rmse
        assert rows["quantile mapping"].rmse < rows["bilinear"].rmse
    text = (tmp_path / "of_pair" / "report.html").read_text("utf-8")
    assert f"{NAVY}, 1982-01-01 to 1989-12-01, 96 times" in text
    assert "they know the answer" not in text


def test_files_are_a_training_period_as_well(winds, tmp_path):
    train = open_pair(NAVY).part("train")
    train.fine.drop_attrs(deep=False).to_netcdf(tmp_path / "a.nc")
    train.coarse.drop_attrs(deep=False).to_netcdf(tmp_path / "b.nc")
    files = {"train_truth": str(tmp_path / "a.nc"), "train_coarse": str(tmp_path / "b.nc")}
    got = run(winds.model_copy(update=files))
    wanted = run(winds.model_copy(update={"pair": NAVY, "output": tmp_path / "pair"}))
    assert_equal_scores(got, wanted, rel=1e-6)


def test_learning_from_the_times_that_are_scored_is_said(winds, tmp_path):
    files = {"train_truth": winds.truth, "train_coarse": winds.coarse}
    run(winds.model_copy(update=files))
    text = (tmp_path / "scores" / "report.html").read_text("utf-8")
    assert "have learned from 5 of the 5 times that are scored" in text


def test_other_predictions_stand_in_the_same_table(tmp_path):
    truth = weather()
    other = flipped(perturbed(truth, 3.0))[[WIND]]
    config = saved(tmp_path, prediction=perturbed(truth), truth=truth, coarse=block_mean(truth, 3))
    other.to_netcdf(tmp_path / "other.nc")
    table = run(config.model_copy(update={"others": {"unet": str(tmp_path / "other.nc")}}))
    assert list(by_method(table, WIND)) == ["prediction", *SIMPLE, "unet"]
    assert "unet" not in by_method(table, TEMPERATURE)
    values = flipped(other)[WIND].values, truth[WIND].values
    row = by_method(table, WIND)["unet"]
    assert (row.rmse, row.bias, row.r2) == pytest.approx(reference(*values), rel=1e-6)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda ds: ds.isel(latitude=slice(0, 6)), r"on the grid of the truth, got unet 6 x 18"),
        (lambda ds: ds.isel(time=[0, 1, 3]), r"unet at all 5 times.*got 2 without it.*2004-01-03"),
    ],
)
def test_other_predictions_that_do_not_fit_are_refused(tmp_path, change, told):
    truth = weather()
    config = saved(tmp_path, prediction=truth, truth=truth, coarse=block_mean(truth, 3))
    change(truth).to_netcdf(tmp_path / "other.nc")
    with pytest.raises(ValueError, match=told):
        run(config.model_copy(update={"others": {"unet": str(tmp_path / "other.nc")}}))
    assert not (tmp_path / "scores").exists()


def test_other_predictions_have_names_of_their_own(tmp_path):
    truth = weather()
    config = saved(tmp_path, prediction=truth, truth=truth, coarse=block_mean(truth, 3))
    with pytest.raises(ValueError, match="no method has, got 'bilinear'"):
        run(config.model_copy(update={"others": {"bilinear": config.prediction}}))


def test_provenance_tells_the_files_and_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/orbitds", "eval", "--label", "two words"])
    prediction = perturbed(weather())
    prediction.attrs |= {"orbitds_checkpoint": "era5_9m", "orbitds_checkpoint_sha256": "abc123"}
    config = saved(tmp_path, prediction=prediction, truth=weather())
    run(config)
    with xr.open_dataset(tmp_path / "scores" / "scores.nc") as stored:
        assert stored.attrs["command"] == "orbitds eval --label 'two words'"
        assert stored.attrs["truth"] == config.truth
        assert "torch" in stored.attrs["versions"]
    text = (tmp_path / "scores" / "report.html").read_text("utf-8")
    assert "abc123" in text


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"truth": None}, "Wanted truth, or pair alone"),
        ({"truth": None, "pair": "p", "coarse": "c"}, "Wanted truth, or pair alone"),
        ({"pair": "p"}, "Wanted coarse beside pair"),
        ({"others": {"a": "b"}}, "Wanted coarse beside others"),
        (
            {"train_truth": "a", "checkpoint": "b"},
            "Wanted coarse beside train_truth and checkpoint",
        ),
    ],
)
def test_what_needs_other_settings_is_refused(given, told):
    with pytest.raises(ValueError, match=told):
        EvalConfig.model_validate({"prediction": "p", "truth": "t", "output": "o"} | given)


def test_tiles_and_the_window_of_similarity_are_those_of_the_config(tmp_path):
    truth = weather()
    prediction = perturbed(truth)
    prediction[WIND][..., 9:] += 30
    config = saved(tmp_path, prediction=prediction, truth=truth)
    table = report(config.model_copy(update={"tiles": "1x2", "ssim": "gaussian"}))
    seam = table["value"].sel(variable=WIND, metric="seam_index", region="all", season="all")
    assert float(seam[0]) > 3
    assert table.attrs["ssim_window"] == "11 x 11 cells, Gaussian"
    with pytest.raises(ValueError, match="tiles"):
        EvalConfig.model_validate(config.model_dump() | {"tiles": "2 by 2"})


def test_a_lapse_rate_of_the_training_period_is_told(tmp_path):
    truth = weather(times=40)
    coarse = block_mean(truth, 3)
    config = saved(
        tmp_path, prediction=perturbed(truth), truth=truth, coarse=coarse,
        train_truth=truth, train_coarse=coarse,
    )  # fmt: skip
    assert "K/km, fitted to the training period" in report(config).attrs["notes"]
