"""ds.orbit.downscale(): the caller's dataset comes back finer, in the caller's own layout."""

import cftime
import numpy as np
import pytest
import xarray as xr

from orbitds.grid import Grid, block_mean
from orbitds.infer.windows import Windows


@pytest.fixture
def fine(coarse, checkpoint_folder):
    return coarse.orbit.downscale(checkpoint_folder)


def test_dataset_is_left_alone(coarse, checkpoint_folder):
    before = coarse.copy(deep=True)
    coarse.orbit.downscale(checkpoint_folder)
    xr.testing.assert_identical(coarse, before)


def test_centres_of_children_average_to_the_parent(coarse, fine):
    for axis in ("latitude", "longitude"):
        parents = fine[axis].values.reshape(coarse.sizes[axis], 3).mean(axis=1)
        np.testing.assert_allclose(parents, coarse[axis], atol=1e-12)
        edges = fine[f"{axis}_bnds"].values
        np.testing.assert_allclose(edges[1:, 0], edges[:-1, 1], atol=1e-12)
        np.testing.assert_allclose(edges.mean(axis=1), fine[axis], atol=1e-12)
    assert fine["latitude_bnds"].values.min() == pytest.approx(-90)
    assert fine["latitude_bnds"].values.max() == pytest.approx(90)


def test_numpy_in_numpy_out(fine):
    assert all(isinstance(field.data, np.ndarray) for field in fine.data_vars.values())
    assert all(field.dtype == np.float32 for field in fine.data_vars.values())


def test_dask_in_dask_out_without_running_the_model(coarse, fine, checkpoint_folder, monkeypatch):
    calls, run = [], Windows.run
    monkeypatch.setattr(Windows, "run", lambda *a, **k: calls.append(1) or run(*a, **k))
    lazy = coarse.chunk(time=5, latitude=3).orbit.downscale(checkpoint_folder)
    assert not calls
    assert lazy["eastward_wind"].chunks == ((5, 5, 2), (21,), (33,))
    computed = lazy.compute(scheduler="synchronous")
    assert len(calls) == 3
    xr.testing.assert_allclose(computed, fine, rtol=1e-4, atol=1e-4)
    assert computed.attrs == fine.attrs


@pytest.mark.parametrize("shift", [1, 4, 10])
def test_rolling_the_globe_rolls_the_output(coarse, fine, checkpoint_folder, shift):
    rolled = coarse.roll(longitude=shift, roll_coords=True)
    again = rolled.orbit.downscale(checkpoint_folder)
    wanted = fine.roll(longitude=3 * shift)  # values alone: coordinates are compared by turns
    for name in fine.data_vars:
        np.testing.assert_array_equal(again[name], wanted[name])
    turn = again["longitude"].values - fine["longitude"].roll(longitude=3 * shift).values
    np.testing.assert_allclose((turn + 180) % 360, 180, atol=1e-9)


def test_other_conventions_come_back_as_they_came(coarse, fine, checkpoint_folder):
    theirs = coarse.assign_coords(longitude=(coarse["longitude"] + 180) % 360 - 180)
    theirs = theirs.sortby("longitude").sortby("latitude")
    theirs = theirs.rename(latitude="lat", longitude="lon", eastward_wind="uas")
    theirs = theirs.transpose("lon", "time", "lat")
    again = theirs.orbit.downscale(checkpoint_folder)
    assert again["eastward_wind"].dims == ("lon", "time", "lat")
    assert (np.diff(again["lat"]) > 0).all()
    assert (np.diff(again["lon"]) > 0).all()
    # the first parent is centred at -180, so its western child lies beyond
    assert again["lon_bnds"].values.min() == pytest.approx(theirs["lon"].values.min() - 180 / 11)
    assert set(again["lat"].attrs) >= {"standard_name", "units", "bounds"}
    assert again["lat"].attrs["bounds"] in again.coords
    same = again.rename(lat="latitude", lon="longitude").sortby("latitude", ascending=False)
    same = same.assign_coords(longitude=same["longitude"] % 360).sortby("longitude")
    for name in fine.data_vars:
        np.testing.assert_array_equal(same[name].transpose(*fine[name].dims), fine[name])


def test_one_time_step_equals_its_place_in_the_series(coarse, fine, checkpoint_folder):
    one = coarse.isel(time=[4]).orbit.downscale(checkpoint_folder)
    xr.testing.assert_allclose(one, fine.isel(time=[4]), rtol=1e-4, atol=1e-4)
    scalar = coarse.isel(time=4).orbit.downscale(checkpoint_folder)
    assert scalar["eastward_wind"].dims == ("latitude", "longitude")
    assert scalar["time"] == fine["time"][4]
    np.testing.assert_allclose(
        scalar["eastward_wind"], fine["eastward_wind"][4], rtol=1e-4, atol=1e-4
    )


def test_extra_coordinates_and_time_bounds_survive(coarse, checkpoint_folder):
    starts = coarse["time"].values
    stops = np.append(starts[1:], starts[-1] + np.timedelta64(31, "D"))
    theirs = coarse.assign_coords(
        season=("time", coarse["time"].dt.season.values), realization=3
    ).assign(time_bnds=(("time", "bnds"), np.stack([starts, stops], axis=-1)))
    theirs["time"].attrs["bounds"] = "time_bnds"
    theirs.attrs["title"] = "mine"
    again = theirs.orbit.downscale(checkpoint_folder)
    assert again["realization"] == 3
    np.testing.assert_array_equal(again["season"], theirs["season"])
    np.testing.assert_array_equal(again["time_bnds"], theirs["time_bnds"])
    assert again["time"].attrs["bounds"] == "time_bnds"
    assert again.attrs["title"] == "mine"


def test_calendars_are_kept(coarse, checkpoint_folder, fine):
    theirs = coarse.convert_calendar("noleap", use_cftime=True)
    again = theirs.orbit.downscale(checkpoint_folder)
    assert again["time"].dt.calendar == "noleap"
    np.testing.assert_array_equal(again["eastward_wind"], fine["eastward_wind"])


def test_chosen_variables_alone(coarse, fine, checkpoint_folder):
    one = coarse.orbit.downscale(checkpoint_folder, variables=["eastward_wind"])
    assert list(one.data_vars) == ["eastward_wind"]
    xr.testing.assert_identical(one["eastward_wind"], fine["eastward_wind"])
    with pytest.raises(ValueError, match=r"got 'eastward_wnd'. Did you mean 'eastward_wind'"):
        coarse.orbit.downscale(checkpoint_folder, variables=["eastward_wnd"])


def test_a_region_is_no_globe(coarse, checkpoint_folder):
    """A region inside the training region keeps its climatology; its longitude does not wrap."""
    part = coarse.isel(latitude=slice(1, 6), longitude=slice(2, 9))
    fine = part.orbit.downscale(checkpoint_folder)
    assert Grid.of(fine).shape == (15, 21)
    assert not Grid.of(fine).periodic
    assert np.isfinite(fine["eastward_wind"]).all()


def test_across_the_date_line(coarse, checkpoint_folder):
    west = coarse.roll(longitude=5, roll_coords=True).isel(longitude=slice(1, 9))
    smooth = west.assign_coords(longitude=np.unwrap(west["longitude"], period=360))
    fine = smooth.orbit.downscale(checkpoint_folder)
    assert (np.diff(fine["longitude"]) > 0).all()
    jump = west.orbit.downscale(checkpoint_folder)
    assert ((jump["longitude"] >= 0) & (jump["longitude"] < 360)).all()
    np.testing.assert_array_equal(fine["eastward_wind"], jump["eastward_wind"])


def test_outside_the_training_region_falls_back_and_says_so(coarse, checkpoint_folder):
    half = (coarse["longitude"][1] - coarse["longitude"][0]) / 2
    moved = coarse.assign_coords(longitude=coarse["longitude"] + half)
    with pytest.warns(UserWarning, match="outside the training region.*plain interpolation"):
        fine = moved.orbit.downscale(checkpoint_folder)
    assert np.isfinite(fine["eastward_wind"]).all()


def test_without_dates_falls_back_and_says_so(coarse, checkpoint_folder):
    with pytest.warns(UserWarning, match="has no dates.*climatology"):
        fine = coarse.isel(time=0, drop=True).orbit.downscale(checkpoint_folder)
    assert fine["eastward_wind"].dims == ("latitude", "longitude")


def test_bounds_of_the_variable_hold(coarse, checkpoint_folder):
    dry = coarse.copy(deep=True)
    dry["total_precipitation_24hr"][:] = 0.0
    fine = dry.orbit.downscale(checkpoint_folder)
    assert fine["total_precipitation_24hr"].min() >= 0


def test_constraints_hold_and_are_written_down(coarse, fine, checkpoint_folder):
    """In the caller's own layout: rows from the south, longitude from -180."""
    theirs = coarse.assign_coords(longitude=(coarse["longitude"] + 180) % 360 - 180)
    theirs = theirs.sortby("longitude").sortby("latitude")
    names = ["order", "conserve"]
    again = theirs.orbit.downscale(checkpoint_folder, constraints=names)
    assert again.attrs["orbitds_constraints"] == "order conserve"
    assert "orbitds_constraints" not in fine.attrs
    north_up = again.sortby("latitude", ascending=False)
    means = block_mean(north_up.astype(np.float64), 3).sortby("latitude")
    for name in again.data_vars:
        np.testing.assert_allclose(means[name], theirs[name], rtol=1e-6, atol=1e-6)


def test_constraints_of_lazy_data_are_those_of_eager_data(coarse, checkpoint_folder):
    names = ("order", "conserve")
    eager = coarse.orbit.downscale(checkpoint_folder, constraints=names)
    lazy = coarse.chunk(time=5).orbit.downscale(checkpoint_folder, constraints=names)
    computed = lazy.compute(scheduler="synchronous")
    xr.testing.assert_allclose(computed, eager, rtol=1e-4, atol=1e-4)
    assert computed.attrs == eager.attrs
    means = block_mean(computed.astype(np.float64), 3)
    for name in eager.data_vars:
        np.testing.assert_allclose(means[name], coarse[name], rtol=1e-6, atol=1e-6)


def test_unknown_constraints_are_refused_with_the_nearest(coarse, checkpoint_folder):
    with pytest.raises(ValueError, match=r"got 'conserv'. Did you mean 'conserve'\?"):
        coarse.orbit.downscale(checkpoint_folder, constraints=["conserv"])


def test_wrong_spacing_is_refused(coarse, checkpoint_folder):
    other = coarse.interp(latitude=coarse["latitude"][::2].values)
    with pytest.raises(ValueError, match=r"Wanted a grid spacing of 2859 km.*got 5719 km.*Coarsen"):
        other.orbit.downscale(checkpoint_folder)


def test_missing_values_are_counted(coarse, checkpoint_folder):
    gap = coarse.copy(deep=True)
    gap["eastward_wind"][0, 2, 3:5] = np.nan
    with pytest.raises(ValueError, match="got NaN in 2 of 924 cells"):
        gap.orbit.downscale(checkpoint_folder)


@pytest.mark.parametrize(("calendar", "year"), [("360_day", 2031), ("noleap", 3000), ("julian", 1)])
@pytest.mark.parametrize("is_lazy", [False, True])
def test_any_calendar_in_any_year(coarse, checkpoint_folder, fine, calendar, year, is_lazy):
    dates = [cftime.datetime(year, month, 1, calendar=calendar) for month in range(1, 13)]
    theirs = coarse.assign_coords(time=xr.CFTimeIndex(dates))
    again = (theirs.chunk(time=12) if is_lazy else theirs).orbit.downscale(checkpoint_folder)
    assert list(again["time"].values) == dates
    assert again["time"].encoding["calendar"] == calendar
    assert isinstance(again.indexes["time"], xr.CFTimeIndex)
    for name in fine.data_vars:  # the climatology is that of the month
        np.testing.assert_array_equal(again[name], fine[name])


def test_selection_is_that_of_xarray(coarse, fine, checkpoint_folder):
    """Times and regions by label, before the call."""
    lazy = coarse.chunk(time=5)
    for ds in (coarse, lazy):
        summer = ds.sel(time=slice("2004-06", "2004-08")).orbit.downscale(checkpoint_folder)
        wanted = fine.sel(time=slice("2004-06", "2004-08"))
        xr.testing.assert_allclose(summer.compute(), wanted, rtol=1e-4, atol=1e-4)
        day = ds.sel(time="2004-06-01").orbit.downscale(checkpoint_folder)
        assert day["time"] == np.datetime64("2004-06-01", "ns")
        region = ds.sel(latitude=slice(60, -30), longitude=slice(90, 300))
        part = region.orbit.downscale(checkpoint_folder)
        wanted = block_mean(part, 3)
        np.testing.assert_allclose(wanted["latitude"], region["latitude"])
        np.testing.assert_allclose(wanted["longitude"], region["longitude"])


def test_a_region_across_the_date_line_by_label(coarse, checkpoint_folder):
    """From -180, two pieces joined: longitudes jump, and the answer's jump too."""
    theirs = coarse.assign_coords(longitude=(coarse["longitude"] + 180) % 360 - 180)
    theirs = theirs.sortby("longitude")
    pieces = [theirs.sel(longitude=slice(60, 180)), theirs.sel(longitude=slice(-180, -60))]
    joined = xr.concat(pieces, "longitude")
    smooth = joined.assign_coords(longitude=joined["longitude"] % 360)
    fine, wanted = (ds.orbit.downscale(checkpoint_folder) for ds in (joined, smooth))
    np.testing.assert_array_equal(fine["eastward_wind"], wanted["eastward_wind"])
    assert (np.abs(fine["longitude"]) <= 180).all()
    np.testing.assert_allclose(fine["longitude"] % 360, wanted["longitude"] % 360)


def test_extra_coordinates_of_time_stay_lazy_and_where_they_were(coarse, checkpoint_folder):
    theirs = coarse.assign_coords(
        year=("time", coarse["time"].dt.year.values, {"note": "mine"}), height=10.0, run="r1"
    ).transpose("longitude", "latitude", "time")
    for ds in (theirs, theirs.chunk(time=5)):
        again = ds.orbit.downscale(checkpoint_folder)
        assert again["eastward_wind"].dims == ("longitude", "latitude", "time")
        for name in ("year", "height", "run"):
            assert again[name].dims == theirs[name].dims
            assert again[name].attrs == theirs[name].attrs
            np.testing.assert_array_equal(again[name], theirs[name])
    assert theirs["time"].attrs == coarse["time"].attrs, "the caller's time is left alone"


def test_files_of_the_answer_are_read_back_as_it_is(coarse, fine, checkpoint_folder, tmp_path):
    lazy = coarse.chunk(time=5).orbit.downscale(checkpoint_folder)
    lazy.to_netcdf(tmp_path / "fine.nc")
    lazy.to_zarr(tmp_path / "fine.zarr", consolidated=False)
    for path, how in (("fine.nc", {}), ("fine.zarr", {"engine": "zarr", "consolidated": False})):
        with xr.open_dataset(tmp_path / path, **how) as found:
            xr.testing.assert_allclose(found.load(), fine, rtol=1e-4, atol=1e-4)
            assert found.attrs == fine.attrs
            for name in fine.variables:
                assert found[name].attrs == fine[name].attrs
