"""Checking: what is found, in numbers, and that it accepts what a run accepts."""

import json

import dask.array
import numpy as np
import pytest
import xarray as xr

from orbitds.checkpoint import load_checkpoint
from orbitds.data import check as module
from orbitds.data.check import check
from orbitds.infer.downscaler import Downscaler

WARMTH, RAIN = "2m_temperature", "total_precipitation_24hr"


def dataset(calendar="noleap", **others):
    """Temperature in degC, 5 times, 4 rows from the south, 6 columns across the date line."""
    values = np.random.default_rng(2).normal(10, 5, (5, 4, 6))
    time = xr.date_range("3000-02-26", periods=5, calendar=calendar, use_cftime=True)
    return xr.Dataset(
        {"tas": (("time", "lat", "lon"), values, {"units": "degC"})} | others,
        coords={
            "time": time,
            "lat": 40 + 10.0 * np.arange(4),
            "lon": [165.0, 170, 175, 180, -175, -170],
        },
    )


def test_what_is_found_is_told_in_numbers():
    ds = dataset()
    report = check(ds, [WARMTH])
    (row,) = report.variables
    kelvin = ds["tas"].values + 273.15
    area = np.cos(np.deg2rad(ds["lat"].values))[:, None]
    mean = np.average(kelvin, weights=np.broadcast_to(area, kelvin.shape))
    assert (row.name, row.found_as, row.units_found, row.units) == (WARMTH, "tas", "degC", "K")
    np.testing.assert_allclose(
        [row.minimum, row.mean, row.maximum], [kelvin.min(), mean, kelvin.max()]
    )
    assert (row.cells, row.missing, row.infinite, row.implausible) == (120, 0, 0, 0)
    assert (row.problem, row.first_place, row.notes) == (None, None, ())
    assert report.is_accepted
    assert report.grid.model_dump() == {
        "rows": 4,
        "columns": 6,
        "spacing_deg": (10, 5),
        "spacing_km": pytest.approx(1111.9, abs=0.1),
        "latitude": (70, 40),
        "longitude": (165, 190),
        "periodic": False,
    }
    assert report.times.model_dump() == {
        "count": 5,
        "first": "3000-02-26",
        "last": "3000-03-02",
        "calendar": "noleap",
        "step": "1 day",
        "missing_steps": 0,
        "gap": None,
    }


def test_bad_values_are_counted_with_their_first_place():
    ds = dataset()
    ds["tas"][3, 1, 4] = 1e20
    ds["tas"][4, 0, 0] = np.inf
    ds["tas"][0, 0, 0:2] = np.nan
    (row,) = check(ds).variables
    assert (row.missing, row.infinite, row.implausible) == (2, 1, 2)
    assert row.first_place == "3000-03-01, 50 N, 185 E"
    assert row.maximum is None  # infinity is no number of JSON
    assert "outside in 2 of 120 cells" in str(row.problem)
    json.loads(check(ds).model_dump_json())


def test_gaps_are_a_mask_only_where_declared():
    ds = dataset()
    ds["tas"][2, 3, 0:2] = np.nan
    (row,) = check(ds).variables
    assert "got NaN in 2 of 120 cells" in str(row.problem)
    assert row.first_place == "3000-02-28, 70 N, 165 E"
    report = check(ds, missing="mask")
    assert report.is_accepted
    assert report.variables[0].notes == ("2 of 120 cells are missing, and masked",)
    np.testing.assert_allclose(report.variables[0].minimum, np.nanmin(ds["tas"]) + 273.15)


@pytest.mark.parametrize("missing", ["error", "mask"])
def test_without_any_value_no_mask_helps(missing):
    ds = dataset()
    ds["tas"][:] = np.nan
    (row,) = check(ds, missing=missing).variables
    assert row.problem.startswith(f"Wanted values of {WARMTH}, got NaN in all of 120 cells.")
    assert (row.minimum, row.mean, row.maximum) == (None, None, None)


def test_celsius_that_calls_itself_kelvin_is_known():
    ds = dataset()
    ds["tas"].attrs["units"] = "K"
    (row,) = check(ds).variables
    assert row.implausible == 120
    assert row.problem.endswith("`units` attribute: they would be plausible in 'degC'.")
    ds["tas"][2, 2, 2] = 80  # neither
    assert check(ds).variables[0].problem.endswith("Check the unit and undecoded fill values.")


def test_constant_fields_are_told():
    ds = dataset().map(lambda field: field * 0, keep_attrs=True)
    report = check(ds)
    assert report.variables[0].notes == ("all values are 273.15 K",)
    assert report.is_accepted
    ds["land"] = (
        ("lat", "lon"),
        np.ones((4, 6)),
        {"units": "1", "standard_name": "land_area_fraction"},
    )
    land = check(ds.rename(land="lsm"), ["land_sea_mask"])
    assert land.variables[0].notes == ("all values are 1",)


def test_blocks_do_not_matter(monkeypatch):
    ds = dataset()
    ds["tas"][3, 1, 4] = np.nan
    ds["orog"] = (("lat", "lon"), np.arange(24.0).reshape(4, 6), {"units": "m"})
    whole = check(ds)
    monkeypatch.setattr(module, "BLOCK_CELLS", 7)
    parts = check(ds.chunk(time=2))
    for one, other in zip(whole.variables, parts.variables, strict=True):
        assert one.mean == pytest.approx(other.mean, rel=1e-12)
        assert one.model_copy(update={"mean": 0}) == other.model_copy(update={"mean": 0})


def test_reading_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_CELLS", 24)
    sizes = []

    def read(block, block_info=None):
        sizes.append(block.size)
        return block

    ds = dataset()
    lazy = dask.array.from_array(ds["tas"].values, chunks=(1, 4, 6)).map_blocks(read, dtype=float)
    check(ds.assign(tas=(ds["tas"].dims, lazy, ds["tas"].attrs)))
    assert sizes.count(24) >= 5


def test_what_is_not_known_is_listed_with_the_nearest_name():
    ds = dataset(tas_2=(("lat", "lon"), np.zeros((4, 6))), qqq=(("lat", "lon"), np.zeros((4, 6))))
    report = check(ds)
    assert [(entry.name, entry.nearest) for entry in report.unknown] == [
        ("tas_2", WARMTH),
        ("qqq", None),
    ]
    assert report.is_accepted
    assert check(ds, [WARMTH]).unknown == ()


def test_data_without_a_known_variable_are_refused():
    report = check(dataset().rename(tas="tas_2"))
    assert not report.is_accepted
    assert report.problems[0].endswith("Rename yours: ds.rename({'tas_2': '2m_temperature'}).")


def test_what_is_wrong_with_all_is_told_once():
    ds = dataset(tmin=dataset()["tas"]).drop_vars("lat")
    report = check(ds)
    assert len(report.problems) == 1
    assert "Wanted a latitude axis" in str(report.problems[0])
    assert [row.problem for row in report.variables] == [None, None]
    assert report.grid is None


def test_units_may_be_stated():
    ds = dataset()
    del ds["tas"].attrs["units"]
    assert "no `units`" in str(check(ds).variables[0].problem)
    report = check(ds, units={WARMTH: "degC"})
    assert report.is_accepted
    assert report.variables[0].units_found == "degC"


def test_earlier_steps_want_an_unbroken_axis():
    ds = dataset().isel(time=[0, 1, 2, 4])
    assert check(ds, [WARMTH]).times.missing_steps == 1
    assert check(ds, [WARMTH]).is_accepted
    report = check(ds, [WARMTH, f"{WARMTH}@-1"])
    assert [row.name for row in report.variables] == [WARMTH]
    assert "Wanted times without gaps" in str(report.variables[0].problem)


def test_a_grid_may_be_refused_and_noted():
    def refuse(grid):
        raise ValueError(f"Wanted another grid, got {grid.shape}.")

    assert check(dataset(), fits=refuse).problems == ("Wanted another grid, got (4, 6).",)
    report = check(dataset(), fits=lambda grid: [f"{grid.shape[0]} rows"])
    assert report.notes == ("4 rows",)
    assert report.is_accepted


# --- what check accepts, a run accepts, and the reverse ---


def _set(ds, place, value):
    ds["eastward_wind"][place] = value
    return ds


def _units(ds, units):
    ds["total_precipitation_24hr"].attrs["units"] = units
    return ds


_hours = np.datetime64("2004-01-01", "ns") + np.arange(12) * np.timedelta64(1, "h")

CASES = {
    "good": (lambda ds: ds, True),
    "one time": (lambda ds: ds.isel(time=[3]), True),
    "a map": (lambda ds: ds.isel(time=3), True),
    "south up": (lambda ds: ds.isel(latitude=slice(None, None, -1)), True),
    "one member": (lambda ds: ds.expand_dims(member=1), True),
    "noleap": (lambda ds: ds.convert_calendar("noleap"), True),
    "year 3000": (lambda ds: ds.assign_coords(time=xr.date_range(
        "3000-01-01", periods=12, freq="MS", calendar="360_day", use_cftime=True)), True),
    "rate": (lambda ds: _units(ds, "kg m-2 day-1"), True),
    "a month left out": (lambda ds: ds.isel(time=[0, 1, 3]), True),
    "members": (lambda ds: ds.expand_dims(member=2), False),
    "renamed": (lambda ds: ds.rename(eastward_wind="wind"), False),
    "two names": (lambda ds: ds.assign(u=ds["eastward_wind"]), False),
    "unit of another kind": (lambda ds: _units(ds, "K"), False),
    "no such unit": (lambda ds: _units(ds, "mm (of rain)"), False),
    "rate per month": (lambda ds: _units(ds, "mm month-1"), False),
    "hourly": (lambda ds: ds.assign_coords(time=_hours), False),
    "NaN": (lambda ds: _set(ds, (3, 2, 1), np.nan), False),
    "infinite": (lambda ds: _set(ds, (3, 2, 1), np.inf), False),
    "fill value": (lambda ds: _set(ds, (3, 2, 1), 9.96921e36), False),
    "implausible": (lambda ds: _set(ds, (3, 2, 1), 130), False),
    "doubled": (lambda ds: ds.isel(time=[0, 1, 1]), False),
    "unsorted": (lambda ds: ds.isel(time=[0, 2, 1]), False),
    "undecoded": (lambda ds: ds.assign_coords(
        time=("time", np.arange(12), {"units": "days since 2001-01-01"})), False),
    "other spacing": (lambda ds: ds.assign_coords(latitude=ds["latitude"] / 2), False),
    "radians": (lambda ds: ds.assign_coords(
        latitude=("latitude", np.deg2rad(ds["latitude"].values), {"units": "radians"})), False),
    "column twice": (lambda ds: ds.isel(longitude=[*range(11), 0]).assign_coords(
        longitude=ds["longitude"].values[0] + 360 / 11 * np.arange(12)), False),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lazy", [False, True])
def test_check_and_inference_agree(coarse, checkpoint_folder, case, lazy):
    change, is_good = CASES[case]
    ds = change(coarse)
    ds = ds.chunk() if lazy else ds
    downscaler = Downscaler(checkpoint_folder)
    report = check(ds, load_checkpoint(checkpoint_folder).inputs, fits=downscaler.fits)
    told = [*report.problems, *(row.problem for row in report.variables if row.problem)]
    assert report.is_accepted == is_good, told
    if is_good:
        ds.orbit.downscale(checkpoint_folder).compute()
        return
    with pytest.raises(ValueError, match="Wanted") as error:
        ds.orbit.downscale(checkpoint_folder).compute()
    assert told[0] == str(error.value)
