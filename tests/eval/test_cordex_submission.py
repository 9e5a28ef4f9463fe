"""A submission to CORDEX-ML-Bench: its folders and names, grids, units, what is missing."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from orbitds.checkpoint import load_checkpoint, save_checkpoint
from orbitds.config import ModelConfig
from orbitds.grid import Grid
from orbitds.model.build import build
from orbitds.normalize import Statistics
from orbitds.region import Region

EVAL = Path(__file__).parents[2] / "eval"
RAIN, WARM = "total_precipitation_24hr", "2m_temperature_max"
FACTOR, COARSE = 4, (4, 5)
TIMES = np.datetime64("1981-01-01T12", "ns") + np.arange(3) * np.timedelta64(1, "D")

pytestmark = pytest.mark.skipif(not EVAL.is_dir(), reason="the scripts are those of a checkout")


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(EVAL))
    return import_module("cordex_submission")


@pytest.fixture
def checkpoint(tmp_path):
    """Random weights on cells of 0.11 degrees, from the temperature at 850 hPa."""
    rows, columns = (size * FACTOR for size in COARSE)
    grid = Grid.on(-40 - 0.11 * np.arange(rows), 170 + 0.11 * np.arange(columns))
    torch.manual_seed(0)
    config = ModelConfig(width=16, depth=1, decoder_depth=1, patch=1, correction_width=4)
    inputs, outputs = ("temperature_850",), (RAIN, WARM)
    model = build(config, inputs=inputs, outputs=outputs, factor=FACTOR)
    with torch.no_grad():  # nothing starts at zero, so that every part shows
        for weight in model.parameters():
            weight.normal_(std=0.1)
    statistics = {
        "temperature_850": Statistics(mean=280.0, std=10.0),
        RAIN: Statistics(mean=1.0, std=1.0),
        WARM: Statistics(mean=290.0, std=8.0),
    }
    spacing = grid.coarsen(FACTOR).spacing_km, grid.spacing_km
    folder = tmp_path / "nz"
    region = Region(grid, np.zeros((0, *grid.shape), np.float32))
    save_checkpoint(
        folder, model, statistics=statistics, spacing_km=spacing, provenance={}, region=region
    )
    return folder, grid


@pytest.fixture
def data(tmp_path):
    """Two files of predictors of 2 degrees, around the region of the checkpoint."""
    rng = np.random.default_rng(0)
    field = rng.normal(280, 5, (len(TIMES), 8, 8)).astype(np.float32)
    ds = xr.Dataset(
        {"t_850": (("time", "lat", "lon"), field, {"units": "K"})},
        {
            "time": TIMES,
            "lat": ("lat", np.arange(-48.0, -32, 2), {"units": "degrees_north"}),
            "lon": ("lon", np.arange(164.0, 180, 2), {"units": "degrees_east"}),
        },
    )
    base = tmp_path / "Bench-data" / "NZ" / "NZ_domain" / "test"
    for period, condition in (("historical", "perfect"), ("end_century", "imperfect")):
        folder = base / period / "predictors" / condition
        folder.mkdir(parents=True)
        ds.to_netcdf(folder / "ACCESS-CM2_1981-2000.nc")
    return tmp_path / "Bench-data"


@pytest.fixture
def templates(tmp_path, checkpoint):
    folder, grid = tmp_path / "templates", checkpoint[1]
    folder.mkdir()
    for name, units in (("pr", "mm d-1"), ("tasmax", "K")):
        axes = {"lat": grid.latitude_deg[::-1], "lon": grid.longitude_deg}
        field = (("lat", "lon"), np.zeros(grid.shape), {"units": units, "cell_methods": "theirs"})
        xr.Dataset({name: field}, axes).to_netcdf(folder / f"{name}_NZ.nc")
    return folder


def test_predictions_lie_where_the_rules_want_them(script, checkpoint, data, templates, tmp_path):
    output = tmp_path / "mine"
    call = ["--data", str(data), "--output", str(output), "--templates", str(templates)]
    assert script.main([*call, "--checkpoint", f"NZ/ESD_pseudo_reality={checkpoint[0]}"]) == 1
    found = sorted(str(path.relative_to(output)) for path in output.rglob("*.nc"))
    name = "Predictions_pr_tasmax_ACCESS-CM2_1981-2000.nc"
    assert found == [
        f"NZ_Domain/ESD_pseudo_reality/end_century/imperfect/{name}",
        f"NZ_Domain/ESD_pseudo_reality/historical/perfect/{name}",
    ]
    with xr.open_dataset(output / found[0]) as ds:
        assert set(ds.data_vars) >= {"pr", "tasmax"}
        assert ds["pr"].dims == ("time", "lat", "lon")
        assert ds["pr"].shape == (3, *checkpoint[1].shape)
        assert ds["pr"].attrs["units"] == "mm d-1"
        assert ds["tasmax"].attrs["cell_methods"] == "theirs"
        np.testing.assert_array_equal(ds["time"].values, TIMES)
        np.testing.assert_allclose(ds["lat"].values, checkpoint[1].latitude_deg[::-1])
        assert (ds["pr"] >= 0).all()
        assert 200 < float(ds["tasmax"].mean()) < 350


def test_what_is_missing_is_told(script, checkpoint, data, tmp_path, capsys):
    call = ["--data", str(data), "--output", str(tmp_path / "mine")]
    assert script.main([*call, "--checkpoint", f"NZ/Emulator_hist_future={checkpoint[0]}"]) == 1
    told = capsys.readouterr().out
    assert "NZ/ESD_pseudo_reality: checkpoint" in told
    assert "ALPS/ESD_pseudo_reality: checkpoint" in told
    assert "NZ/Emulator_hist_future:" not in told


def test_the_south_of_the_predictors_is_the_south_of_the_prediction(script, checkpoint, data):
    (one, *_) = script.predictors(data)
    loaded = load_checkpoint(str(checkpoint[0]))
    cells = loaded.region.grid.coarsen(FACTOR)
    with xr.open_dataset(one.path) as ds:
        stripes = ds.load()
    # between -41 and -39 lies one row of predictors, beyond it another: the region has both
    stripes["t_850"][:] = xr.where(stripes["lat"] < -41, 300.0, 260.0)
    stripes.to_netcdf(one.path)
    warm = np.where(cells.latitude_deg < -41, 300.0, 260.0)
    edges = np.abs(cells.latitude_deg + 41) < cells.spacing_deg[0] / 2
    north, south = cells.latitude_bounds_deg[edges][0].max(), cells.latitude_bounds_deg[edges].min()
    share = np.sin(np.deg2rad([north, -41, south]))
    warm[edges] = 260 + 40 * (share[1] - share[2]) / (share[0] - share[2])
    field = np.broadcast_to(warm[None, :, None], (len(TIMES), *cells.shape))
    dims = ("time", "latitude", "longitude")
    axes = {"time": TIMES, "latitude": cells.latitude_deg, "longitude": cells.longitude_deg}
    coarse = xr.Dataset({"temperature_850": (dims, field, {"units": "K"})}, axes)
    expected = coarse.orbit.downscale(loaded)[WARM].values[:, ::-1]
    found = script.predict(one.path, loaded)["tasmax"].values
    assert np.ptp(expected.mean(axis=(0, 2))) > 0.01, "rows differ"
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_another_grid_or_unit_of_the_template_is_refused(script, checkpoint, data, templates):
    (one, *_) = script.predictors(data)
    fine = script.predict(one.path, load_checkpoint(str(checkpoint[0])))
    with xr.open_dataset(templates / "tasmax_NZ.nc") as ds:
        template = ds.load()
    moved = template.assign_coords(lon=template["lon"] + 0.05)
    moved.to_netcdf(templates / "tasmax_NZ.nc")
    with pytest.raises(ValueError, match=r"Wanted the lon of tasmax_NZ.nc.*got"):
        script.dressed(fine, templates, "NZ")
    template["tasmax"].attrs["units"] = "degC"
    template.to_netcdf(templates / "tasmax_NZ.nc")
    with pytest.raises(ValueError, match=r"Wanted a unit of tasmax.*'degC'"):
        script.dressed(fine, templates, "NZ")


def test_misspelt_names_and_empty_folders_are_refused(script, checkpoint, data, tmp_path):
    call = ["--output", str(tmp_path / "mine"), "--checkpoint", f"NZ/ESD={checkpoint[0]}"]
    with pytest.raises(ValueError, match=r"Wanted checkpoints for DOMAIN/EXPERIMENT.*NZ/ESD"):
        script.main(["--data", str(data), *call])
    with pytest.raises(FileNotFoundError, match="Wanted DOMAIN_domain/test"):
        script.main(["--data", str(tmp_path / "mine"), *call])
