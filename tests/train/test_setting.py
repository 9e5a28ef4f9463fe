"""The setting: nothing but training years enter it, and no sample sees its own year."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from orbitds.config import LossConfig, ModelConfig, TilesConfig, TrainConfig
from orbitds.crops import Crops
from orbitds.model.interface import Prediction
from orbitds.model.reslim import Reslim
from orbitds.tiles import TileGrid
from orbitds.train.setting import prepare

OUTPUTS = ("eastward_wind", "total_precipitation_24hr")


def config(base="delta", **tiles):
    shape = {"width": 8, "depth": 1, "decoder_depth": 1, "position_octaves": 2}
    model = ModelConfig.model_validate(shape | {"correction_width": 0, "base": base})
    return TrainConfig(pair="synthetic", model=model, tiles=TilesConfig(**tiles))


def shifted(pair, years):
    """Return the pair with other weather in some years."""
    chosen = pair.fine["time"].dt.year.isin(years)
    return replace(
        pair,
        coarse=pair.coarse.where(~chosen, 2 * pair.coarse + 1),
        fine=pair.fine.where(~chosen, 2 * pair.fine + 1),
    )


def assert_same_region(got, wanted):
    got, wanted = got.arrays(), wanted.arrays()
    assert got.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(got[name], wanted[name], err_msg=name)


# --- where numbers come from --------------------------------------------------------------------


def test_validation_and_test_years_change_nothing(pair):
    plain, other = prepare(config(), pair), prepare(config(), shifted(pair, [2003, 2004]))
    assert other.statistics == plain.statistics
    assert_same_region(other.region(), plain.region())
    for index in (0, 7, 23):
        for got, wanted in zip(other.train[index], plain.train[index], strict=True):
            assert torch.equal(got, wanted)
    assert not torch.equal(other.validate[3].fine, plain.validate[3].fine)


@pytest.mark.parametrize("year", [2001, 2002])
def test_every_training_year_counts(pair, year):
    plain, other = prepare(config(), pair), prepare(config(), shifted(pair, [year]))
    assert other.statistics["eastward_wind"] != plain.statistics["eastward_wind"]
    assert not np.allclose(
        other.region().arrays()["fine_climatology"], plain.region().arrays()["fine_climatology"]
    )


def test_statistics_are_weighted_by_area(pair):
    rows = prepare(config(), pair).statistics
    wind = pair.fine["eastward_wind"].sel(time=slice("2001", "2002")).astype(float)
    edges = np.linspace(90, -90, wind.sizes["latitude"] + 1)
    area = -np.diff(np.sin(np.deg2rad(edges)))
    mean = np.average(wind.mean(("time", "longitude")), weights=area)
    std = np.average(((wind - mean) ** 2).mean(("time", "longitude")), weights=area) ** 0.5
    assert rows["eastward_wind"].mean == pytest.approx(mean, rel=1e-9)
    assert rows["eastward_wind"].std == pytest.approx(std, rel=1e-9)
    assert rows["total_precipitation_24hr"].model_dump() == {"mean": 0, "std": 1, "threshold": 0}
    assert set(rows) == {*OUTPUTS, "orography"}


def test_a_training_sample_does_not_see_its_own_year(pair):
    setting = prepare(config(), pair)
    wind = setting.statistics["eastward_wind"]
    for index in (4, 12 + 4):  # May of both training years
        sample = setting.train[index]
        other = pair.fine.isel(time=(index + 12) % 24)
        wanted = np.stack([(other[OUTPUTS[0]] - wind.mean) / wind.std, np.log1p(other[OUTPUTS[1]])])
        np.testing.assert_allclose(sample.fine_climatology, wanted, rtol=1e-5, atol=1e-5)
        coarse = pair.coarse.isel(time=(index + 12) % 24)
        wanted = np.stack(
            [(coarse[OUTPUTS[0]] - wind.mean) / wind.std, np.log1p(coarse[OUTPUTS[1]])]
        )
        np.testing.assert_allclose(sample.coarse_climatology, wanted, rtol=1e-5, atol=1e-5)


def test_a_validation_sample_sees_all_training_years(pair):
    setting = prepare(config(), pair)
    wind = setting.statistics["eastward_wind"]
    both = pair.fine["eastward_wind"].isel(time=[4, 16]).mean("time")
    got = setting.validate[4].fine_climatology[0]
    np.testing.assert_allclose(got, (both - wind.mean) / wind.std, rtol=1e-5, atol=1e-5)


# --- what a model is given ----------------------------------------------------------------------


@pytest.mark.parametrize("base", ["bilinear", "bicubic", "delta"])
def test_forward_hands_a_model_what_it_needs(pair, base):
    setting = prepare(config(base), pair)
    assert (setting.climatology is None) == (base != "delta")
    torch.manual_seed(0)
    model = Reslim(
        config(base).model,
        inputs=pair.inputs,
        outputs=pair.outputs,
        statics=pair.static_names,
        factor=pair.factor,
    )
    torch.nn.init.normal_(model.trunk.decode.paint.weight)
    sample = setting.validate[5]
    batch = type(sample)(*(field[None] for field in sample))
    fine, got, _ = setting.forward(model, batch)
    climatology = (batch.fine_climatology, batch.coarse_climatology) if base == "delta" else None
    wanted = model.predict(
        batch.coarse,
        latitude_deg=batch.latitude_deg,
        longitude_deg=batch.longitude_deg,
        spacing_km=batch.spacing_km,
        statics=batch.statics,
        climatology=climatology,
        periodic=True,
    )
    assert torch.equal(fine, wanted[0])
    assert torch.equal(got, wanted[1])
    assert not torch.equal(fine, got)


def test_a_pair_without_statics_gives_none(pair):
    bare = replace(pair, statics=pair.statics.drop_vars("orography"))
    setting = prepare(config(), bare)
    seen = {}

    class Model(Reslim):
        def predict(self, coarse, **kwargs):
            seen.update(kwargs)
            return Prediction(coarse, coarse)

    sample = setting.train[0]
    model = Model(config().model, inputs=bare.inputs, outputs=bare.outputs, factor=3)
    setting.forward(model, type(sample)(*(field[None] for field in sample)))
    assert seen["statics"] is None
    assert setting.region().statics.shape == (0, *pair.fine_grid.shape)


@pytest.mark.parametrize(
    ("tiles", "columns", "window", "wraps"),
    [
        ({}, 11, (7, 11), True),
        # windows begin at whole patches of 2 cells
        ({"rows": 2, "columns": 3, "halo_cells": 2}, 11, (7, 10), False),
        ({"rows": 3, "columns": 1, "halo_cells": 1}, 11, (7, 11), True),
        ({}, 6, (7, 6), False),  # a region has edges in the east and west
    ],
)
def test_samples_are_tiles(pair, tiles, columns, window, wraps):
    region = replace(
        pair,
        coarse=pair.coarse.isel(longitude=slice(columns)),
        fine=pair.fine.isel(longitude=slice(3 * columns)),
        statics=pair.statics.isel(longitude=slice(3 * columns)),
    )
    setting = prepare(config(**tiles), region)
    count = tiles.get("rows", 1) * tiles.get("columns", 1)
    assert (len(setting.train), len(setting.validate)) == (24 * count, 12 * count)
    assert setting.train[0].coarse.shape == (2, *window)
    assert setting.tiles.wraps is wraps
    weight = sum(setting.train[place].weight.sum() for place in range(count))
    assert float(weight) == pytest.approx(2 * 21 * 3 * columns, rel=1e-5)


def test_crops_are_trained_on_and_tiles_validated(pair):
    setting = prepare(config(crop_cells=(4, 6), halo_cells=1), pair)
    assert setting.train.tiles == Crops(7, 11, (4, 6), 1, periodic=True, step_cells=2)
    # cores of two rows, then of four columns at most
    wanted = TileGrid(7, 11, 4, 3, 1, periodic=True, align_cells=2)
    assert setting.tiles == setting.validate.tiles == wanted
    assert setting.train[0].coarse.shape == (2, 4, 6)
    weight = sum(setting.validate[place].weight.sum() for place in range(12))
    assert float(weight) == pytest.approx(2 * 21 * 33, rel=1e-5)


@pytest.mark.parametrize(("crop", "wraps"), [((4, 6), (False, False)), ((6, 12), (True, True))])
def test_a_batch_knows_whether_it_spans_the_circle(pair, crop, wraps):
    setting = prepare(config(crop_cells=crop, halo_cells=1), pair)
    samples = setting.train.batch([0]), setting.validate.batch([0])
    assert tuple(setting.wraps(sample) for sample in samples) == wraps


def test_validation_on_training_years_leaves_the_own_year_out(pair):
    seen = replace(pair, split=pair.split | {"validate": pair.split["train"]})
    with pytest.warns(UserWarning, match="synthetic has no time to spare for validation"):
        setting = prepare(config(), seen)
    for got, wanted in zip(setting.validate[5], setting.train[5], strict=True):
        assert torch.equal(got, wanted)


def test_a_period_without_data_is_refused(pair):
    later = replace(pair, split=pair.split | {"validate": ("2010", "2011")})
    with pytest.raises(ValueError, match="2010 to 2011 for the validate part.*2001-01.*2004-12"):
        prepare(config(), later)


def test_months_that_training_lacks_are_told(pair):
    short = replace(pair, split=pair.split | {"train": ("2001-01", "2002-03")})
    prepare(config("bicubic"), short)  # has no use for them
    short = replace(pair, split=pair.split | {"train": ("2001-01", "2001-10")})
    with (
        pytest.warns(UserWarning, match=r"of synthetic lack the calendar months \[11, 12\]"),
        pytest.warns(UserWarning, match=r"of synthetic are of one year, 2001: .* its own time"),
    ):
        region = prepare(config(), short).region()
    known = pair.fine["eastward_wind"].isel(time=slice(10)).astype(float).mean("time")
    assert region.fine_climatology is not None
    np.testing.assert_allclose(region.fine_climatology[11, 0], known, rtol=1e-6, atol=1e-6)


# --- what the checkpoint will know --------------------------------------------------------------


def test_the_region_holds_statics_and_monthly_means(pair):
    region = prepare(config(), pair).region()
    np.testing.assert_array_equal(region.statics[0], pair.statics["orography"])
    assert region.grid.matches(pair.fine_grid)
    for got, ds in ((region.fine_climatology, pair.fine), (region.coarse_climatology, pair.coarse)):
        assert got is not None
        months = ds.sel(time=slice("2001", "2002")).astype(float).groupby("time.month").mean()
        wanted = np.stack([months[name] for name in OUTPUTS], axis=1)
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)


def test_without_delta_change_the_region_has_no_climatology(pair):
    region = prepare(config("bicubic"), pair).region()
    assert region.fine_climatology is None
    assert region.coarse_climatology is None
    np.testing.assert_array_equal(region.statics[0], pair.statics["orography"])


def test_weights_of_the_prior_are_of_outputs(pair):
    wrong = config().model_copy(update={"loss": LossConfig(tv_weights={"eastward_wint": 0.1})})
    message = r"Wanted outputs of .* in loss\.tv_weights.*got 'eastward_wint'.*eastward_wind"
    with pytest.raises(ValueError, match=message):
        prepare(wrong, pair)
