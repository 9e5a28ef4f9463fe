"""The simple methods together: which there are, and that each has what it needs."""

import numpy as np
import pytest
import torch
import xarray as xr

from orbitds.checkpoint import load_checkpoint
from orbitds.data.statics import statics_for
from orbitds.eval.baselines import DELTA, INTERPOLATIONS, LAPSE, LAPSE_RATE, QUANTILES
from orbitds.eval.past import learn
from orbitds.eval.simple import SimpleMethods
from orbitds.grid import Grid, block_mean

WIND, RAIN, TEMPERATURE = "eastward_wind", "total_precipitation_24hr", "2m_temperature"


@pytest.fixture
def test(pair):
    part = pair.part("test")
    return part.coarse.assign_attrs(missing="error").load()


def methods(pair, names=(WIND, RAIN), **told):
    return SimpleMethods.on(pair.coarse_grid, pair.fine_grid, names, **told)


def test_each_source_adds_its_methods(pair, test, checkpoint_folder):
    checkpoint = load_checkpoint(checkpoint_folder)
    past = learn(pair.part("train"), [WIND], pair.fine_grid, pair.factor)
    assert tuple(methods(pair).fields(test, WIND)) == INTERPOLATIONS
    with_checkpoint = methods(pair, checkpoint=checkpoint)
    assert tuple(with_checkpoint.fields(test, RAIN)) == (*INTERPOLATIONS, DELTA)
    with_past = methods(pair, past=past)
    assert tuple(with_past.fields(test, WIND)) == (*INTERPOLATIONS, DELTA, QUANTILES)
    assert tuple(with_past.fields(test, RAIN)) == INTERPOLATIONS
    # the same training years: the same delta change
    torch.testing.assert_close(
        with_checkpoint.fields(test, WIND)[DELTA], with_past.fields(test, WIND)[DELTA]
    )


def test_quantile_mapping_is_better_than_what_it_corrects(pair, test):
    past = learn(pair.part("train"), [WIND, RAIN], pair.fine_grid, pair.factor)
    truth = pair.part("test").fine
    for name in (WIND, RAIN):
        fields = methods(pair, past=past).fields(test, name)
        errors = {
            method: float(np.square(field.numpy() - truth[name].values).mean())
            for method, field in fields.items()
        }
        assert errors[QUANTILES] < 0.7 * errors["bilinear"]


def land(step=1.0):
    """A grid over the Alps, and a temperature that falls with height."""
    latitude = 49.5 - step / 4 * (np.arange(24) + 0.5)
    longitude = 5 + step / 4 * (np.arange(32) + 0.5)
    grid = Grid(latitude, longitude)
    height = statics_for(grid)["orography"].values.astype(float)
    wave = 280 + np.sin(np.linspace(0, 3, 24))[:, None] + 0 * height
    axes = {
        "time": xr.date_range("2001-01-01", periods=2),
        "latitude": latitude,
        "longitude": longitude,
    }
    field = np.stack([wave, wave + 3]) + LAPSE_RATE * height
    fine = xr.Dataset({TEMPERATURE: (tuple(axes), field, {"units": "K"})}, coords=axes)
    return fine, block_mean(fine, 4).assign_attrs(missing="error")


def test_the_lapse_rate_finds_a_temperature_that_falls_with_height():
    fine, coarse = land()
    simple = SimpleMethods.on(Grid.of(coarse), Grid.of(fine), [TEMPERATURE])
    fields = simple.fields(coarse, TEMPERATURE)
    assert tuple(fields) == (*INTERPOLATIONS, LAPSE)
    # interior: at the borders interpolation repeats the outer cells, of the wave too
    inner = (slice(None), slice(4, -4), slice(4, -4))
    errors = {
        method: np.abs(field.numpy() - fine[TEMPERATURE].values)[inner].max()
        for method, field in fields.items()
    }
    assert errors[LAPSE] < 0.1
    assert errors["bilinear"] > 2


def test_temperatures_near_the_surface_alone_follow_the_relief(pair, test):
    fine, coarse = land()
    aloft = coarse.rename({TEMPERATURE: "temperature_850"})
    simple = SimpleMethods.on(Grid.of(coarse), Grid.of(fine), ["temperature_850"])
    assert simple.relief is None
    assert LAPSE not in simple.fields(aloft, "temperature_850")


def test_coarse_data_must_be_coarser(pair):
    with pytest.raises(ValueError, match="Wanted coarse data coarser than the truth, got both"):
        SimpleMethods.on(pair.fine_grid, pair.fine_grid, [WIND])
