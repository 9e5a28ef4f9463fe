"""The downscaler: tiles, batches and pickling change nothing that they should not."""

import pickle
import shutil
from dataclasses import replace

import cftime
import numpy as np
import pytest
import torch
import xarray as xr

from orbitds.checkpoint import load_checkpoint, save_checkpoint
from orbitds.config import ModelConfig
from orbitds.data.door import enter
from orbitds.grid import Grid, block_mean
from orbitds.infer.downscaler import Downscaler
from orbitds.infer.lazy import downscale
from orbitds.infer.sweep import Sweep
from orbitds.infer.windows import Windows
from orbitds.model.embed import NOISE, member_noise
from orbitds.model.reslim import Reslim
from orbitds.normalize import Statistics


@pytest.fixture
def runs(monkeypatch):
    """What windows are run with: those that run, and what the model is told."""
    seen, run = [], Windows.run

    def noted(windows, cut, samples, told, batch):
        seen.append((windows, told))
        return run(windows, cut, samples, told, batch)

    monkeypatch.setattr(Windows, "run", noted)
    return seen


@pytest.fixture
def local(checkpoint_folder):
    """The checkpoint with its trunk silenced: what is left sees a few fine cells around each."""
    checkpoint = load_checkpoint(checkpoint_folder)
    kept = {key: value.clone() for key, value in checkpoint.model.state_dict().items()}
    with torch.no_grad():
        checkpoint.model.trunk.decode.paint.weight.zero_()
        checkpoint.model.trunk.decode.paint.bias.zero_()
    yield checkpoint
    checkpoint.model.load_state_dict(kept)


@pytest.mark.parametrize("tiles", [(1, 2), (2, 1), (2, 3), (7, 11)])
def test_tiles_leave_no_trace_where_the_halo_covers_the_reach(coarse, local, tiles):
    whole = downscale(coarse, local)
    tiled = downscale(coarse, local, tiles=tiles)
    for name in whole.data_vars:
        np.testing.assert_allclose(tiled[name], whole[name], rtol=2e-4, atol=2e-4)


def test_tiles_of_the_whole_model_stay_close(coarse, checkpoint_folder):
    whole = downscale(coarse, checkpoint_folder)["eastward_wind"]
    tiled = downscale(coarse, checkpoint_folder, tiles=(1, 2))["eastward_wind"]
    difference = float(np.abs(whole - tiled).max())
    assert 0 < difference < 0.5 * float(whole.std())


def test_batch_size_changes_nothing(coarse, checkpoint_folder):
    fields = [downscale(coarse, checkpoint_folder, batch_size=size) for size in (1, 5, 100)]
    for other in fields[1:]:
        xr.testing.assert_allclose(other, fields[0], rtol=1e-4, atol=1e-4)


def test_auto_is_the_whole_field_where_it_is_small(coarse, checkpoint_folder):
    xr.testing.assert_identical(
        downscale(coarse, checkpoint_folder, tiles="auto"), downscale(coarse, checkpoint_folder)
    )


@pytest.mark.parametrize("tiles", [(0, 1), (2,), "2x2", (1.5, 2)])
def test_wrong_tiles_are_refused(checkpoint_folder, tiles):
    with pytest.raises(Exception, match=r"tiles"):  # beartype or our own words, as hooks are on
        Downscaler(checkpoint_folder, tiles=tiles)


def test_too_many_tiles_are_refused(coarse, checkpoint_folder):
    with pytest.raises(ValueError, match="Wanted at most 7 x 11 tiles.*got 8 x 1"):
        downscale(coarse, checkpoint_folder, tiles=(8, 1))


def test_pickles_without_weights(coarse, checkpoint_folder):
    downscaler = Downscaler(checkpoint_folder)
    message = pickle.dumps(downscaler)
    assert len(message) < 1000
    block = enter(coarse, downscaler.checkpoint.inputs).ds
    xr.testing.assert_identical(pickle.loads(message)(block), downscaler(block))


def test_months_choose_the_climatology(coarse, checkpoint_folder):
    """The same weather in another month is another fine field; in the same month of another year
    it is the same one."""
    first = coarse.isel(time=[0])
    july = first.assign_coords(time=np.array(["2004-07-01"], dtype="datetime64[ns]"))
    later = first.assign_coords(time=np.array(["2031-01-20"], dtype="datetime64[ns]"))
    fine = [downscale(ds, checkpoint_folder)["eastward_wind"].values for ds in (first, july, later)]
    assert np.abs(fine[0] - fine[1]).max() > 0.01
    np.testing.assert_array_equal(fine[0], fine[2])


def test_loaded_checkpoint_serves_as_its_path_does(coarse, checkpoint_folder):
    xr.testing.assert_identical(
        downscale(coarse, load_checkpoint(checkpoint_folder)), downscale(coarse, checkpoint_folder)
    )


def test_missing_static_fields_are_told(coarse, checkpoint_folder):
    without = replace(load_checkpoint(checkpoint_folder), region=None)
    with pytest.warns(UserWarning, match=r"carries no static fields \(orography\)"):
        fine = downscale(coarse, without)
    assert np.isfinite(fine["eastward_wind"]).all()


def test_a_region_keeps_the_patches_of_training(coarse, checkpoint_folder, runs):
    for north, west in ((0, 0), (1, 0), (2, 3), (3, 4)):
        region = coarse.isel(latitude=slice(north, None), longitude=slice(west, 10))
        downscale(region, checkpoint_folder)
    phases = [windows.backdrop.phase for windows, _ in runs]
    assert phases == [(0, 0), (1, 0), (0, 1), (1, 0)]  # patches of two cells


# --- constraints ---


@pytest.mark.parametrize("tiles", [None, (1, 2), (2, 3)])
def test_means_are_those_of_the_input_however_the_field_is_cut(coarse, checkpoint_folder, tiles):
    free = downscale(coarse, checkpoint_folder, tiles=tiles)
    fine = downscale(coarse, checkpoint_folder, tiles=tiles, constraints=("conserve",))
    means = block_mean(fine.astype(np.float64), 3)
    for name in fine.data_vars:
        assert fine[name].dtype == np.float32
        # in units of the largest value's rounding
        unit = np.spacing(np.abs(fine[name]).max().values)
        off = np.abs(means[name].values - coarse[name].values.astype(np.float64)).max()
        assert off < unit, name
        before = np.abs(block_mean(free, 3)[name].values - coarse[name].values).max()
        assert before > 1000 * unit, "the model alone does not keep them"
    rain = fine["total_precipitation_24hr"]
    assert (rain >= 0).all()


def test_no_rain_comes_from_none(coarse, checkpoint_folder):
    rain = "total_precipitation_24hr"
    coarse[rain][:, 2:5, 3:6] = 0.0
    fine = downscale(coarse, checkpoint_folder, constraints=("conserve",))
    assert (fine[rain][:, 6:15, 9:18] == 0).all()
    assert (downscale(coarse, checkpoint_folder)[rain][:, 6:15, 9:18] > 0).any()


def test_constraints_of_a_region_that_ends(coarse, checkpoint_folder):
    part = coarse.isel(latitude=slice(1, 6), longitude=slice(2, 9))
    fine = downscale(part, checkpoint_folder, constraints=("order", "conserve"))
    assert not Grid.of(fine).periodic
    means = block_mean(fine.astype(np.float64), 3)
    for name in fine.data_vars:
        np.testing.assert_allclose(means[name], part[name], rtol=1e-6, atol=1e-6)


def test_constraints_travel_with_the_downscaler(coarse, checkpoint_folder):
    downscaler = Downscaler(checkpoint_folder, constraints=("conserve",))
    block = enter(coarse, downscaler.checkpoint.inputs).ds
    again = pickle.loads(pickle.dumps(downscaler))(block)
    xr.testing.assert_identical(again, downscaler(block))
    free = Downscaler(checkpoint_folder)(block)
    assert not again["eastward_wind"].equals(free["eastward_wind"])


def test_order_asks_nothing_of_a_checkpoint_without_it(coarse, checkpoint_folder):
    ordered = downscale(coarse, checkpoint_folder, constraints=("order",))
    assert ordered.attrs["orbitds_constraints"] == "order"
    xr.testing.assert_equal(ordered, downscale(coarse, checkpoint_folder))


def test_another_product_is_refused_before_anything_is_computed(
    coarse, checkpoint_folder, monkeypatch
):
    checkpoint = load_checkpoint(checkpoint_folder)
    description = checkpoint.description.model_copy(update={"same_product": False})
    monkeypatch.setattr(Sweep, "run", lambda *a, **k: pytest.fail("computed first"))
    with pytest.raises(ValueError, match="'conserve', got 'tiny', trained on coarse inputs of ano"):
        downscale(coarse, replace(checkpoint, description=description), constraints=("conserve",))


LOW, MEAN, HIGH = "2m_temperature_min", "2m_temperature", "2m_temperature_max"


@pytest.fixture(scope="module")
def temperatures(pair, tmp_path_factory):
    """A checkpoint of daily temperatures with weights at random, and coarse ones for it."""
    folder = tmp_path_factory.mktemp("temperatures") / "tiny"
    config = ModelConfig(width=8, depth=0, decoder_depth=0, correction_width=4, base="bicubic")
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(5)
        names = (LOW, MEAN, HIGH)
        model = Reslim(config, inputs=names, outputs=names, statics=(), factor=3)
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    save_checkpoint(
        folder,
        model,
        statistics=dict.fromkeys(names, Statistics(mean=280.0, std=15.0)),
        spacing_km=(pair.coarse_grid.spacing_km, pair.fine_grid.spacing_km),
        provenance={},
        same_product=True,
    )
    weather = pair.part("test").coarse
    mean = 280 + weather["eastward_wind"]
    gap = weather["total_precipitation_24hr"]
    fields = {LOW: mean - gap, MEAN: mean, HIGH: mean + 2 * gap}
    return folder, xr.Dataset({name: f.assign_attrs(units="K") for name, f in fields.items()})


def test_temperatures_keep_order_and_means_eager_and_lazy(temperatures):
    folder, coarse = temperatures
    free = downscale(coarse, folder)
    assert ((free[LOW] > free[MEAN]) | (free[MEAN] > free[HIGH])).mean() > 0.01
    constraints = ("order", "conserve")
    eager = downscale(coarse, folder, tiles=(2, 3), constraints=constraints)
    lazy = downscale(coarse.chunk(time=5), folder, tiles=(2, 3), constraints=constraints)
    for fine in (eager, lazy.compute(scheduler="synchronous")):
        assert (fine[LOW] <= fine[MEAN]).all()
        assert (fine[MEAN] <= fine[HIGH]).all()
        means = block_mean(fine.astype(np.float64), 3)
        for name in (LOW, MEAN, HIGH):
            off = np.abs(means[name] - coarse[name].astype(np.float64)).max()
            assert off < np.spacing(np.float32(280)), name
        xr.testing.assert_allclose(fine, eager, rtol=0, atol=1e-2)


@pytest.mark.parametrize("constraints", [("order",), ("order", "conserve")])
def test_a_chosen_extreme_is_ordered_by_the_mean_that_was_not_chosen(temperatures, constraints):
    folder, coarse = temperatures
    whole = downscale(coarse, folder, constraints=constraints)
    one = downscale(coarse, folder, variables=[LOW], constraints=constraints)
    assert list(one.data_vars) == [LOW]
    xr.testing.assert_identical(one[LOW], whole[LOW])


# --- members ---


@pytest.fixture(scope="module")
def members_folder(pair, statistics, tmp_path_factory):
    """A checkpoint of members for the pair whose noise shows, with weights at random.

    Its patches are single cells: so all windows have the patches of the field, also across 0/360.
    """
    folder = tmp_path_factory.mktemp("members") / "tiny"
    config = ModelConfig(
        width=16,
        depth=1,
        decoder_depth=1,
        patch=1,
        correction_width=4,
        correction_depth=1,
        position_octaves=4,
        predicts="members",
    )
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(7)
        model = Reslim(
            config,
            inputs=pair.inputs,
            outputs=pair.outputs,
            statics=(),
            factor=pair.factor,
        )
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    save_checkpoint(
        folder,
        model,
        statistics=statistics,
        spacing_km=(pair.coarse_grid.spacing_km, pair.fine_grid.spacing_km),
        provenance={},
        same_product=True,
    )
    return folder


@pytest.fixture
def members(members_folder):
    """The checkpoint of members in memory; yours to change."""
    checkpoint = load_checkpoint(members_folder)
    kept = {key: value.clone() for key, value in checkpoint.model.state_dict().items()}
    yield checkpoint
    checkpoint.model.load_state_dict(kept)


def silence(*layers):
    with torch.no_grad():
        for layer in layers:
            for weight in layer.parameters():
                weight.zero_()


WIND = "eastward_wind"


def largest(one, other):
    return float(np.abs(one[WIND] - other[WIND]).max())


@pytest.mark.parametrize("tiles", [(2, 3), (1, 2), (7, 11)])
def test_a_member_has_no_seams(coarse, members, tiles):
    """Without attention each cell sees its surroundings and the noise alone."""
    silence(members.model.trunk.blocks[0].project)
    whole = downscale(coarse, members)
    tiled = downscale(coarse, members, tiles=tiles)
    for name in whole.data_vars:
        np.testing.assert_allclose(tiled[name], whole[name], rtol=2e-4, atol=2e-4)
    silence(members.model.trunk.resolution.stir)
    assert largest(whole, downscale(coarse, members)) > 0.1, "the noise shows"


def test_tiles_cost_a_member_no_more_than_a_field(coarse, members, monkeypatch):
    whole, tiled = (downscale(coarse, members, tiles=tiles) for tiles in (None, (2, 3)))

    run = Windows.run

    def each_its_own(windows, cut, samples, told, batch):
        # what a member would look like if each window drew for itself
        return run(windows, cut, samples, told._replace(noise=None), batch)

    with monkeypatch.context() as patch:
        patch.setattr(Windows, "run", each_its_own)
        patchwork = downscale(coarse, members, tiles=(2, 3))
    silence(members.model.trunk.resolution.stir)
    plain, plain_tiled = (downscale(coarse, members, tiles=tiles) for tiles in (None, (2, 3)))
    without = largest(plain_tiled, plain)
    assert without > 0
    assert largest(tiled, whole) < 1.5 * without
    assert largest(patchwork, whole) > 3 * without


def test_the_noise_is_that_of_the_first_member_at_each_time(coarse, members, runs):
    downscale(coarse, members)
    noise = torch.cat([told.noise for _, told in runs])
    assert noise.shape == (coarse.sizes["time"], NOISE)
    labels = [str(time)[:19] for time in coarse["time"].values]
    assert torch.equal(noise, member_noise(labels, member=0))
    assert torch.cdist(noise, noise).fill_diagonal_(torch.inf).min() > 0.5


def test_a_checkpoint_without_members_is_given_no_noise(coarse, checkpoint_folder, runs):
    downscale(coarse, checkpoint_folder)
    assert {told.noise for _, told in runs} == {None}


def test_the_same_weather_at_another_time_is_another_member(coarse, members_folder):
    first = coarse.isel(time=[0, 0])
    times = np.array(["2004-01-01", "2031-07-05"], dtype="datetime64[ns]")
    one, other = downscale(first.assign_coords(time=times), members_folder)[WIND].values
    assert np.abs(one - other).max() > 0.1
    # nor does its place in the data matter
    alone = downscale(first.isel(time=[0]).assign_coords(time=times[1:]), members_folder)[WIND]
    np.testing.assert_allclose(alone.values, other[None], rtol=0, atol=1e-4)


@pytest.mark.parametrize("tiles", [None, (2, 3)])
def test_a_member_is_the_same_in_any_batch_and_any_chunks(coarse, members_folder, tiles):
    torch.manual_seed(1)
    whole = downscale(coarse, members_folder, tiles=tiles)
    torch.manual_seed(2)
    xr.testing.assert_identical(downscale(coarse, members_folder, tiles=tiles), whole)
    for size in (1, 5):
        other = downscale(coarse, members_folder, tiles=tiles, batch_size=size)
        xr.testing.assert_allclose(other, whole, rtol=1e-4, atol=1e-4)
    for chunk in (1, 5, 12):
        lazy = downscale(coarse.chunk(time=chunk), members_folder, tiles=tiles)
        lazy = lazy.compute(scheduler="synchronous")
        xr.testing.assert_allclose(lazy, whole, rtol=1e-4, atol=1e-4)
    some = downscale(coarse.isel(time=[2, 7]), members_folder, tiles=tiles)
    xr.testing.assert_allclose(some, whole.isel(time=[2, 7]), rtol=1e-4, atol=1e-4)


CALENDARS = ("standard", "proleptic_gregorian", "noleap", "360_day")


@pytest.mark.parametrize("axis", ["datetime64[s]", "datetime64[us]", *CALENDARS])
def test_the_same_dates_in_another_form_give_the_same_member(coarse, members_folder, axis):
    whole = downscale(coarse, members_folder)
    times = coarse["time"].values
    if axis in CALENDARS:
        dates = [
            cftime.datetime(*map(int, str(time)[:10].split("-")), calendar=axis) for time in times
        ]
        other = coarse.assign_coords(time=xr.CFTimeIndex(dates))
    else:
        other = coarse.assign_coords(time=times.astype(axis))
        assert other["time"].dtype == axis
    for ds in (other, other.chunk(time=5)):
        fine = downscale(ds, members_folder)[WIND].compute(scheduler="synchronous")
        np.testing.assert_allclose(fine.values, whole[WIND].values, rtol=0, atol=1e-4)


def test_times_that_are_no_dates_have_noise_too(coarse, members_folder):
    numbered = coarse.isel(time=[0, 0, 0]).assign_coords(time=[0, 1, 2])
    fine = downscale(numbered, members_folder)[WIND].values
    assert np.abs(fine[0] - fine[1]).max() > 0.1
    again = downscale(numbered.isel(time=[1]), members_folder)[WIND].values
    np.testing.assert_allclose(again[0], fine[1], rtol=0, atol=1e-4)


def test_a_pretrained_checkpoint_is_refused(checkpoint_folder):
    checkpoint = load_checkpoint(checkpoint_folder)
    told = checkpoint.description.model_copy(update={"objective": "masked"})
    message = "has learned to downscale, got 'tiny', which was pre-trained.*orbitds train --from"
    with pytest.raises(ValueError, match=message):
        Downscaler(replace(checkpoint, description=told))


# --- travelling ---


def test_a_downscaler_travels_without_weights(checkpoint_folder):
    downscaler = Downscaler(checkpoint_folder)
    message = pickle.dumps(downscaler)
    assert len(message) < 2000
    assert pickle.loads(message).checkpoint is load_checkpoint(checkpoint_folder)


def test_another_checkpoint_in_its_place_is_refused(checkpoint_folder, tmp_path):
    folder = shutil.copytree(checkpoint_folder, tmp_path / "mine")
    message = pickle.dumps(Downscaler(folder))
    text = (folder / "orbitds.json").read_text(encoding="utf-8")
    (folder / "orbitds.json").write_text(text.replace('"pair"', '"pairs"'), encoding="utf-8")
    with pytest.raises(ValueError, match=r"Wanted the checkpoint in .*mine that the job began"):
        pickle.loads(message)
    (folder / "orbitds.json").write_text(text, encoding="utf-8")
    assert pickle.loads(message).checkpoint.name == "mine"
