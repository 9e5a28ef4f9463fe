"""Variables at a pressure: found by level, in any unit, or refused with the levels there are."""

import numpy as np
import pytest
import xarray as xr

from orbitds.data.door import enter
from orbitds.data.find import find_variable, levels_hpa, recognised

NAME = "temperature_850"


def dataset(name="t", dimension="level", levels=(1000, 850, 500), units="hPa", **attributes):
    """Temperature whose value is its level's place, at 2 times on 3 rows and 5 columns."""
    values = 250 + np.arange(len(levels))[None, :, None, None] + np.zeros((2, 1, 3, 5))
    attributes |= {} if units is None else {"units": units}
    return xr.Dataset(
        {name: (("time", dimension, "lat", "lon"), values, {"units": "K"})},
        coords={
            "time": np.array(["2001-01-01", "2001-01-02"], "M8[ns]"),
            dimension: (dimension, np.array(levels, dtype=float), attributes),
            "lat": [20.0, 10, 0],
            "lon": 10.0 * np.arange(5),
        },
    )


@pytest.mark.parametrize("name", ["t", "ta", "temperature"])
@pytest.mark.parametrize(
    "dimension", ["level", "pressure_level", "isobaricInhPa", "plev", "lev", "z"]
)
def test_a_level_is_selected_by_name(name, dimension):
    ds = dataset(name, dimension, standard_name="air_pressure")
    seen = enter(ds, [NAME]).ds
    assert seen[NAME].dims == ("time", "latitude", "longitude")
    assert (seen[NAME] == 251).all()
    assert str(find_variable(ds, NAME)) == f"{name}[{dimension}]"


@pytest.mark.parametrize(
    ("levels", "units"),
    [
        ((1000, 850, 500), "hPa"),
        ((1000, 850, 500), "millibars"),
        ((1000, 850, 500), None),
        ((100000, 85000, 50000), "Pa"),
        ((100000, 85000, 50000), None),
        ((1000, 850.4, 500), "mbar"),
    ],
)
def test_levels_may_be_hpa_or_pa(levels, units):
    assert (enter(dataset(levels=levels, units=units), [NAME]).ds[NAME] == 251).all()


def test_several_levels_come_in_together():
    ds = dataset().assign(u=dataset("u")["u"] * 0.1)
    ds["u"].attrs["units"] = "m s-1"
    names = [NAME, "temperature_500", "u_component_of_wind_850"]
    seen = enter(ds, names).ds
    assert [float(seen[name].mean().round(6)) for name in names] == [251, 252, 25.1]
    assert "level" not in enter(ds, names).layout.extra.coords


@pytest.mark.parametrize("levels", [(1000, 849, 500), (1000, 925, 500), (850, 850.2, 500)])
def test_a_level_that_is_not_there_is_refused_with_those_that_are(levels):
    told = rf"Wanted {NAME} at 850 hPa once, got 't' on 'level' with {levels[0]}, {levels[1]}, 500"
    with pytest.raises(ValueError, match=told):
        enter(dataset(levels=levels), [NAME])


@pytest.mark.parametrize(
    ("levels", "units", "attributes"),
    [
        ((1, 2, 3), None, {}),
        ((1000, 850, 500), None, {"standard_name": "model_level_number"}),
        ((0.99, 0.85, 0.5), "1", {}),
        ((10, 1500, 5000), "m", {}),
    ],
)
def test_levels_that_are_no_pressures_are_refused(levels, units, attributes):
    ds = dataset(levels=levels, units=units, **attributes)
    with pytest.raises(ValueError, match=r"Wanted pressure levels, got 'level' of .*units: hPa"):
        find_variable(ds, NAME)
    with pytest.raises(ValueError, match="pressure levels"):
        levels_hpa(ds["level"])


def test_a_field_of_one_level_that_it_carries_as_a_scalar():
    ds = dataset(levels=(85000,), units="Pa")
    for single in (ds, ds.isel(level=0)):
        entered = enter(single, [NAME])
        assert (entered.ds[NAME] == 250).all()


def test_a_name_with_its_level_needs_none():
    ds = dataset("t850").isel(level=0, drop=True)
    assert find_variable(ds, NAME).theirs == "t850"


def test_what_has_no_level_is_not_at_a_level():
    ds = dataset().isel(level=0, drop=True)
    with pytest.raises(ValueError, match=rf"Wanted the variable '{NAME}'"):
        find_variable(ds, NAME)


def test_what_is_recognised():
    ds = dataset().assign(t2m=dataset().isel(level=0, drop=True)["t"])
    assert recognised(ds) == [
        name for name in recognised(ds) if name in ("2m_temperature", NAME, "temperature_500",
                                                    "temperature_1000")
    ]  # fmt: skip
    assert {"2m_temperature", NAME, "temperature_500"} <= set(recognised(ds))
