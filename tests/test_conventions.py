"""What orbitds writes keeps to CF-1.11, as the IOOS compliance checker reads it.

1.11 is the last version that the checker knows, and it has a table of standard names with it:
nothing is fetched.
"""

import cftime
import netCDF4
import numpy as np
import pytest
import torch
import xarray as xr
from compliance_checker.runner import CheckSuite

from orbitds.checkpoint import load_checkpoint, save_checkpoint
from orbitds.config import ModelConfig
from orbitds.grid import Grid
from orbitds.infer.encoding import encoded
from orbitds.infer.template import dress, with_time_told
from orbitds.model.reslim import Reslim
from orbitds.normalize import Statistics
from orbitds.variables import table

LOW, MEAN, HIGH = "2m_temperature_min", "2m_temperature", "2m_temperature_max"
WIND, RAIN = "eastward_wind", "total_precipitation_24hr"


# What stays: names of the vocabulary, ERA5's, may begin with a digit, which CF advises against.
KNOWN = ("variable 2m_", "variable 10m_")


def passes(value):
    """Whether a check has all of its points: one, or so many of so many."""
    return value[0] == value[1] if isinstance(value, tuple) else bool(value)


@pytest.fixture(scope="module")
def complaints():
    """Return what the checker of CF-1.11 says against a file, errors and warnings alike."""
    suite = CheckSuite()
    suite.load_all_available_checkers()

    def of(path):
        dataset = suite.load_dataset(str(path))
        try:
            groups = suite.run_all(dataset, ["cf:1.11"], None, None)
        finally:
            dataset.close()
        results, errors = groups["cf:1.11"]
        assert not errors
        assert len(results) > 20
        failed = [result for result in results if not passes(result.value)]
        told = [message for result in failed for message in result.msgs or [str(result.name)]]
        return [message for message in told if not any(known in message for known in KNOWN)]

    return of


@pytest.fixture(scope="module")
def temperatures(pair, tmp_path_factory):
    """A checkpoint of daily temperatures on the pair's grid, with weights as they start."""
    folder = tmp_path_factory.mktemp("temperatures") / "tiny"
    config = ModelConfig(width=8, depth=0, decoder_depth=0, correction_width=4, base="bicubic")
    names = (LOW, MEAN, HIGH)
    with torch.random.fork_rng():
        model = Reslim(config, inputs=names, outputs=names, statics=(), factor=3)
    save_checkpoint(
        folder,
        model,
        statistics=dict.fromkeys(names, Statistics(mean=280.0, std=15.0)),
        spacing_km=(pair.coarse_grid.spacing_km, pair.fine_grid.spacing_km),
        provenance={},
        same_product=True,
    )
    return folder


def moved(coarse):
    """From -180 and from the south, under other names."""
    longitude = (coarse["longitude"] + 180) % 360 - 180
    theirs = coarse.assign_coords(longitude=longitude).sortby("longitude").sortby("latitude")
    return theirs.rename(latitude="lat", longitude="lon", time="valid_time", eastward_wind="uas")


def with_bounds(coarse):
    """Months with bounds, a reference long ago, and what a value is of its cell."""
    starts = coarse["time"].values
    stops = np.append(starts[1:], np.datetime64("2005-01-01", "ns"))
    theirs = coarse.assign_coords(
        time=starts + (stops - starts) // 2,
        time_bnds=(("time", "bnds"), np.stack([starts, stops], -1)),
        height=xr.Variable((), 10.0, {"standard_name": "height", "units": "m", "positive": "up"}),
    )
    theirs["time"].attrs["bounds"] = "time_bnds"
    theirs["time"].encoding = {"units": "days since 1850-01-01", "dtype": "float64"}
    theirs[WIND].attrs["cell_methods"] = "time: mean"
    return theirs


def in_calendar(coarse, calendar, year):
    dates = [cftime.datetime(year, month, 16, calendar=calendar) for month in range(1, 13)]
    return coarse.assign_coords(time=xr.CFTimeIndex(dates))


def masked(coarse):
    return coarse.map(lambda field: field.where(coarse["latitude"] > -60), keep_attrs=True)


LAYOUTS = {
    "as it is": lambda coarse: coarse,
    "moved": moved,
    "moved, with bounds": lambda coarse: moved(with_bounds(coarse)),
    "with bounds": with_bounds,
    "region": lambda coarse: coarse.isel(latitude=slice(1, 6), longitude=slice(2, 9)),
    "one time": lambda coarse: coarse.isel(time=[3]),
    "a map": lambda coarse: coarse.isel(time=3),
    "a map of no time": lambda coarse: coarse.isel(time=3, drop=True),
    "noleap": lambda coarse: in_calendar(coarse, "noleap", 2031),
    "360_day": lambda coarse: in_calendar(coarse, "360_day", 3000),
    "julian": lambda coarse: in_calendar(coarse, "julian", 1000),
    "masked": masked,
    "lazy": lambda coarse: coarse.chunk(time=5),
}


@pytest.mark.filterwarnings("ignore:The input has no dates:UserWarning")  # a map of no time
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_the_accessor_gives(coarse, checkpoint_folder, complaints, tmp_path, layout):
    fine = LAYOUTS[layout](coarse).orbit.downscale(checkpoint_folder, missing="mask")
    fine.to_netcdf(tmp_path / "fine.nc")
    found = complaints(tmp_path / "fine.nc")
    if layout == "a map of no time":
        # CF (7.3) takes a standard name there too, for what the field itself has no coordinate of
        assert found.pop().endswith(
            "component time does not match a dimension, area or auxiliary coordinate"
        )
    assert found == []


@pytest.mark.parametrize("layout", ["as it is", "moved, with bounds", "noleap", "a map"])
def test_what_the_command_writes(coarse, checkpoint_folder, complaints, tmp_path, orbitds, layout):
    LAYOUTS[layout](coarse).to_netcdf(tmp_path / "coarse.nc")
    told = orbitds(
        "infer",
        tmp_path / "coarse.nc",
        "--checkpoint",
        checkpoint_folder,
        "--output",
        tmp_path / "fine.nc",
    )
    assert told.code == 0, told.err
    assert complaints(tmp_path / "fine.nc") == []


def test_temperatures(coarse, temperatures, complaints, tmp_path):
    fields = {name: 280 + coarse[WIND] + gap for name, gap in ((LOW, -3), (MEAN, 0), (HIGH, 4))}
    ds = xr.Dataset({name: field.assign_attrs(units="K") for name, field in fields.items()})
    ds.orbit.downscale(temperatures).to_netcdf(tmp_path / "fine.nc")
    assert complaints(tmp_path / "fine.nc") == []
    with netCDF4.Dataset(tmp_path / "fine.nc") as file:
        assert file[LOW].cell_methods == "time: minimum"
        assert file[HIGH].cell_methods == "time: maximum"
        assert "cell_methods" not in file[MEAN].ncattrs()


def test_an_array(coarse, temperatures, complaints, tmp_path):
    name = "2m_temperature"
    with torch.random.fork_rng():
        config = ModelConfig(width=8, depth=0, decoder_depth=0, correction_width=4, base="bicubic")
        model = Reslim(config, inputs=(name,), outputs=(name,), statics=(), factor=3)
    spacing_km = load_checkpoint(temperatures).description.spacing_km
    save_checkpoint(
        tmp_path / "tiny",
        model,
        statistics={name: Statistics(mean=280.0, std=15.0)},
        spacing_km=spacing_km,
        provenance={},
    )
    tas = (280 + coarse[WIND]).rename("tas").assign_attrs(units="K")
    fine = tas.orbit.downscale(tmp_path / "tiny")
    # an array has no global attributes
    told = {"Conventions": "CF-1.11", "title": "mine", "history": "made by hand"}
    fine.to_dataset().assign_attrs(told).to_netcdf(tmp_path / "fine.nc")
    assert complaints(tmp_path / "fine.nc") == []


VOCABULARY = [
    name
    for name, row in table().items()
    if row.kind != "static" and row.level_hpa in {None, 500}  # levels differ by their number
]


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([WIND, MEAN, HIGH, RAIN], id="some"),
        pytest.param(VOCABULARY, id="all", marks=pytest.mark.slow),
    ],
)
def test_members_and_spread(coarse, checkpoint_folder, complaints, tmp_path, names):
    checkpoint = load_checkpoint(checkpoint_folder)
    coarse = coarse.isel(time=slice(0, 2))
    grid = Grid.of(coarse).refine(3)
    fields = {}
    for name in names:
        fields[name] = np.ones((2, 3, *grid.shape), np.float32)
        fields[f"{name}_spread"] = np.ones((2, *grid.shape), np.float32)
    fine = dress(fields, coarse, grid, checkpoint)
    encoded(with_time_told(fine, "time"), "time").to_netcdf(tmp_path / "fine.nc")
    assert complaints(tmp_path / "fine.nc") == []


def test_the_checker_sees_what_is_wrong(coarse, checkpoint_folder, complaints, tmp_path):
    fine = coarse.orbit.downscale(checkpoint_folder)
    fine[WIND].attrs |= {"units": "K", "standard_name": "easterly"}
    fine["latitude"].encoding = {}
    del fine["time"].attrs["units_metadata"]
    fine.to_netcdf(tmp_path / "fine.nc")
    found = "\n".join(complaints(tmp_path / "fine.nc"))
    for word in ("easterly", "latitude", "_FillValue", "leap_seconds"):
        assert word in found
