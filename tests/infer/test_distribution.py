"""Members and spread: reproducible, without seams, in physical units, and refused where absent."""

import numpy as np
import pytest
import torch
import xarray as xr

from orbitds.checkpoint import load_checkpoint, save_checkpoint
from orbitds.config import ModelConfig
from orbitds.data.door import enter
from orbitds.grid import Grid, block_mean
from orbitds.infer.distribution import USUAL_MEMBERS, Distribution, physical_spread
from orbitds.infer.downscaler import Downscaler
from orbitds.infer.part import Part
from orbitds.model.reslim import Reslim
from orbitds.normalize import Normalizer, Statistics
from tests.infer.plain import plain

WIND, RAIN = "eastward_wind", "total_precipitation_24hr"
FACTOR = 3


@pytest.fixture(scope="module")
def folders(pair, statistics, tmp_path_factory):
    """Checkpoints by what they predict, with weights at random."""
    made = {}
    for predicts in ("field", "members", "gaussian"):
        config = ModelConfig(
            width=16, depth=1, decoder_depth=1, patch=1, correction_width=4, correction_depth=1,
            position_octaves=2, predicts=predicts,
        )  # fmt: skip
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(7)
            names = pair.outputs
            model = Reslim(config, inputs=pair.inputs, outputs=names, statics=(), factor=FACTOR)
            for weight in model.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
        made[predicts] = tmp_path_factory.mktemp(predicts) / "tiny"
        save_checkpoint(
            made[predicts],
            model,
            statistics=statistics,
            spacing_km=(pair.coarse_grid.spacing_km, pair.fine_grid.spacing_km),
            provenance={"config": {"loss": {"kind": "bayesian"}}},
            same_product=True,
        )
    return made


@pytest.fixture
def entered(coarse, folders):
    return enter(coarse.isel(time=slice(0, 3)), load_checkpoint(folders["field"]).inputs).ds


@pytest.mark.parametrize("tiles", [None, (2, 3)])
def test_a_member_follows_from_its_time_and_number(entered, folders, tiles):
    options = {"tiles": tiles, "batch_size": 1}
    fine = Downscaler(folders["members"], members=3, **options)(entered)
    assert fine[WIND].dims == ("time", "member", "latitude", "longitude")
    assert fine["member"].values.tolist() == [0, 1, 2]
    assert fine["member"].attrs["standard_name"] == "realization"
    assert np.issubdtype(fine["member"].dtype, np.integer)
    # the first is what is given without members, and more of them change none
    one = Downscaler(folders["members"], **options)(entered)
    xr.testing.assert_equal(fine.isel(member=0, drop=True), one)
    more = Downscaler(folders["members"], members=5, **options)(entered.isel(time=[2]))
    for name in (WIND, RAIN):
        np.testing.assert_array_equal(more[name][:, :3], fine[name][[2]])
        assert fine[name].std("member").mean() > 0.01
    assert (fine[RAIN] >= 0).all()
    checkpoint = load_checkpoint(folders["members"])
    cut = Downscaler(checkpoint, tiles=tiles).tiles_for(Grid.of(entered))
    for member in range(3):
        told = plain(entered, checkpoint, cut, member=member)
        np.testing.assert_allclose(fine[WIND][:, member], told[WIND], rtol=1e-4, atol=1e-4)


def test_batches_and_parts_change_no_member(entered, folders):
    options = {"tiles": (2, 3), "members": 3, "spread": True}
    whole = Downscaler(folders["members"], batch_size=1, **options)(entered)
    for size in (2, 7, None):
        other = Downscaler(folders["members"], batch_size=size, **options)(entered)
        xr.testing.assert_allclose(other, whole, rtol=1e-4, atol=1e-4)
    downscaler = Downscaler(folders["members"], batch_size=1, **options)
    part = Part(range(2, 5), range(11))
    fine = downscaler.compute(entered, Grid.of(entered), part)
    xr.testing.assert_equal(fine, whole.isel(latitude=slice(6, 15)))


def test_constraints_hold_for_each_member(entered, folders):
    fine = Downscaler(folders["members"], members=3, tiles=(2, 3), constraints=("conserve",))(
        entered
    )
    for member in range(3):
        means = block_mean(fine.isel(member=member).astype(np.float64), FACTOR)
        for name in (WIND, RAIN):
            np.testing.assert_allclose(means[name], entered[name], rtol=1e-5, atol=1e-5)


def test_the_spread_of_members_is_their_standard_deviation(entered, folders):
    fine = Downscaler(folders["members"], members=4, spread=True)(entered)
    assert set(fine.data_vars) == {WIND, RAIN, f"{WIND}_spread", f"{RAIN}_spread"}
    for name in (WIND, RAIN):
        spread = fine[f"{name}_spread"]
        assert spread.dims == ("time", "latitude", "longitude")
        assert spread.attrs["units"] == fine[name].attrs["units"]
        np.testing.assert_allclose(spread, fine[name].std("member", ddof=1), rtol=1e-3, atol=1e-4)


def test_a_spread_alone_is_around_the_mean_of_the_usual_members(entered, folders):
    downscaler = Downscaler(folders["members"], spread=True)
    alone = downscaler(entered)
    whole = Downscaler(folders["members"], members=USUAL_MEMBERS, spread=True)(entered)
    for name in (WIND, RAIN):
        assert alone[name].dims == downscaler.dims[name] == ("time", "latitude", "longitude")
        np.testing.assert_allclose(alone[name], whole[name].mean("member"), rtol=1e-3, atol=1e-3)
        spreads = alone[f"{name}_spread"], whole[f"{name}_spread"]
        np.testing.assert_allclose(*spreads, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("tiles", [None, (2, 3)])
def test_a_predicted_variance_becomes_a_physical_spread(entered, folders, tiles):
    checkpoint = load_checkpoint(folders["gaussian"])
    fine = Downscaler(checkpoint, tiles=tiles, spread=True, batch_size=1)(entered)
    plainly = Downscaler(checkpoint, tiles=tiles, batch_size=1)(entered)
    for name in (WIND, RAIN):
        np.testing.assert_array_equal(fine[name], plainly[name])
    grid = Grid.of(entered)
    cut = Downscaler(checkpoint, tiles=tiles).tiles_for(grid)
    inputs = checkpoint.normalizer(checkpoint.inputs)
    spacing_km = torch.tensor([grid.spacing_km, grid.spacing_km / FACTOR]).float()
    longitude_deg = torch.tensor(grid.longitude_deg)
    fields = torch.tensor(entered[list(checkpoint.inputs)].to_dataarray().values).transpose(0, 1)
    windows = []
    for tile in cut.tiles:
        rows, _ = cut.index(tile)
        with torch.inference_mode():
            said = checkpoint.model.predict(
                cut.cut(inputs(fields), tile),
                latitude_deg=torch.tensor(grid.latitude_deg[rows]).float().expand(3, -1),
                longitude_deg=cut.longitude(longitude_deg, tile).float().expand(3, -1),
                spacing_km=spacing_km.expand(3, 2),
                periodic=cut.wraps,
            )
        windows.append(torch.cat([said.fine, said.log_variance.exp()], dim=1))
    mean, variance = cut.blend(windows, FACTOR).double().chunk(2, dim=1)
    place = {name: k for k, name in enumerate(checkpoint.outputs)}
    wanted = variance[:, place[WIND]].sqrt() * checkpoint.description.statistics[WIND].std
    np.testing.assert_allclose(fine[f"{WIND}_spread"], wanted, rtol=1e-3)
    mu, sigma2 = mean[:, place[RAIN]], variance[:, place[RAIN]]
    wanted = torch.sqrt((torch.exp(sigma2) - 1) * torch.exp(2 * mu + sigma2))
    np.testing.assert_allclose(fine[f"{RAIN}_spread"], wanted, rtol=1e-2)


def test_spreads_are_those_of_samples():
    """A million draws, brought back to physical units, have the spread that is told."""
    statistics = {WIND: Statistics(mean=3.0, std=7.0), RAIN: Statistics(mean=0.0, std=1.0)}
    normalizer = Normalizer([WIND, RAIN], statistics)
    mean = torch.tensor([0.4, 2.0]).reshape(1, 2, 1, 1)
    variance = torch.tensor([0.3, 0.1]).reshape(1, 2, 1, 1)
    draws = torch.randn(10**6, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    physical = normalizer.inverse(mean + variance.sqrt() * draws)
    told = physical_spread(mean, variance, normalizer)
    torch.testing.assert_close(told[0], physical.std(dim=0), rtol=5e-3, atol=0)


def test_masked_cells_have_no_spread(entered, folders):
    entered = entered.copy(deep=True)
    entered[WIND][:, 2, 3] = np.nan
    for predicts in ("members", "gaussian"):
        fine = Downscaler(folders[predicts], spread=True, missing="mask", tiles=(2, 3))(entered)
        gap = np.isnan(fine[WIND].values)
        assert gap.sum() == 3 * FACTOR**2
        np.testing.assert_array_equal(np.isnan(fine[f"{WIND}_spread"]), gap)
        assert not np.isnan(fine[f"{RAIN}_spread"]).any()


@pytest.mark.parametrize(
    ("predicts", "asked", "told"),
    [
        ("field", {"members": 3}, r"for members=3, got 'tiny', .*loss 'bayesian'\. Leave it out"),
        ("field", {"spread": True}, r"for spread=True, got 'tiny', which has no predictive"),
        ("field", {"members": 3, "spread": True}, "for members=3 and spread=True"),
        ("gaussian", {"members": 3}, r"of members, got 'tiny', .*Ask for spread=True instead"),
        ("members", {"members": 0}, "one or more members, got 0"),
        ("members", {"members": 1, "spread": True}, "two or more members for a spread, got 1"),
    ],
)
def test_what_a_checkpoint_does_not_predict_is_refused(folders, predicts, asked, told):
    with pytest.raises(ValueError, match=told):
        Downscaler(folders[predicts], **asked)


def test_told_fields_have_the_shape_of_what_is_asked():
    drawn = torch.randn(6, 4, 5)
    every, spread = Distribution(3, 3, "members", stirred=True).told(drawn)
    assert torch.equal(every, drawn.reshape(2, 3, 4, 5))
    torch.testing.assert_close(spread, every.std(dim=1))
    mean, spread = Distribution(None, 3, "members", stirred=True).told(drawn)
    torch.testing.assert_close(mean, every.mean(dim=1))
    field, spread = Distribution().told(drawn)
    assert torch.equal(field, drawn)
    assert spread is None
