"""The vocabulary: every row makes sense, and every name or alias leads to one row."""

import math

import numpy as np
import pytest

from orbitds import variables
from orbitds.variables import Variable, table, variable, without_steps

ROWS = list(table().values())


@pytest.fixture
def own_table(monkeypatch):
    """Replace the vocabulary's file by rows of our own."""

    def replace(rows):
        table.cache_clear()
        monkeypatch.setattr(variables, "read_yaml", lambda path: rows)

    yield replace
    table.cache_clear()


def test_every_name_and_alias_leads_to_exactly_one_row():
    owners = [(name, row.name) for row in ROWS for name in (row.name, *row.aliases)]
    assert len({name for name, _ in owners}) == len(owners)
    for name, owner in owners:
        assert variable(name) is table()[owner]
        assert variable(name).name == owner


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row_is_consistent(row):
    low, high = row.plausible
    assert low < high
    assert 0 < row.range < math.inf
    assert row.loss_weight > 0
    assert row.long_name
    if row.minimum is not None:
        assert low <= row.minimum
    if row.maximum is not None:
        assert row.maximum <= high
        assert row.minimum is None or row.minimum < row.maximum
    if row.transform == "log1p":
        assert row.minimum == 0, "log(1 + x) wants x >= 0"


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("eastward_wind", "knot"),
        ("2m_temperature", "degC"),
        ("2m_temperature_min", "degF"),
        ("total_precipitation_24hr", "m"),
        ("orography", "km"),
        ("land_sea_mask", "percent"),
    ],
)
def test_units_convert_from_what_people_use(name, units):
    registry = pytest.importorskip("cf_xarray.units").units
    assert registry.Quantity(1.0, units).to(variable(name).units).magnitude > 0


# Canonical units of the CF standard name table, version 93.
CF_UNITS = {
    "air_pressure_at_mean_sea_level": "Pa",
    "air_temperature": "K",
    "atmosphere_mass_content_of_water_vapor": "kg m-2",
    "cloud_area_fraction": "1",
    "dew_point_temperature": "K",
    "eastward_wind": "m s-1",
    "geopotential": "m2 s-2",
    "geopotential_height": "m",
    "land_area_fraction": "1",
    "latitude": "degree_north",
    "lwe_thickness_of_precipitation_amount": "m",
    "lwe_thickness_of_snowfall_amount": "m",
    "lwe_thickness_of_water_evaporation_amount": "m",
    "northward_wind": "m s-1",
    "relative_humidity": "1",
    "sea_surface_temperature": "K",
    "specific_humidity": "1",
    "surface_air_pressure": "Pa",
    "surface_altitude": "m",
    "surface_downwelling_longwave_flux_in_air": "W m-2",
    "surface_downwelling_shortwave_flux_in_air": "W m-2",
    "thickness_of_rainfall_amount": "m",
    "volume_fraction_of_condensed_water_in_soil": "1",
    "wind_speed": "m s-1",
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_standard_names_and_units_are_those_of_the_cf_table(row):
    registry = pytest.importorskip("cf_xarray.units").units
    if row.standard_name is None:
        # CF has potential evaporation as a mass only, and no land cover classes of ERA5
        assert row.name.startswith(("potential_evapotranspiration", "landcover"))
    else:
        expected = CF_UNITS[row.standard_name]
        assert registry.Quantity(1.0, row.units).is_compatible_with(expected)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("t2m", "2m_temperature"),  # ERA5
        ("2t", "2m_temperature"),
        ("tp", "total_precipitation_24hr"),
        ("u10", "10m_u_component_of_wind"),
        ("d2m", "2m_dewpoint_temperature"),
        ("msl", "mean_sea_level_pressure"),
        ("sp", "surface_pressure"),
        ("tas", "2m_temperature"),  # CMIP
        ("tasmin", "2m_temperature_min"),
        ("pr", "total_precipitation_24hr"),
        ("psl", "mean_sea_level_pressure"),
        ("huss", "2m_specific_humidity"),
        ("hurs", "2m_relative_humidity"),
        ("rsds", "mean_surface_downward_short_wave_radiation_flux"),
        ("rlds", "mean_surface_downward_long_wave_radiation_flux"),
        ("sfcWind", "10m_wind_speed"),
        ("evspsbl", "total_evaporation_24hr"),
        ("prsn", "snowfall_24hr"),
        ("zg500", "geopotential_height_500"),
        ("z500", "geopotential_500"),
        ("ua200", "u_component_of_wind_200"),
        ("hus_850", "specific_humidity_850"),
        ("rr", "total_precipitation_24hr"),  # E-OBS
        ("precip", "total_precipitation_24hr"),  # CHIRPS
        ("pet", "potential_evapotranspiration_month"),  # TerraClimate
    ],
)
def test_names_that_people_bring(alias, name):
    assert variable(alias).name == name


def test_amounts_say_what_they_are_summed_over():
    assert variable("total_precipitation_24hr").period == "day"
    assert variable("total_precipitation_month").period == "month"
    for row in ROWS:
        assert (row.period is not None) == (row.kind == "flux" and row.units == "mm"), row.name
        if row.period is not None:
            assert row.name.endswith({"day": "_24hr", "month": "_month"}[row.period])


def test_extremes_of_a_month_are_no_means():
    low, high = variable("2m_temperature_min_month"), variable("2m_temperature_max_month")
    assert (low.at_most, high.at_least) == ("2m_temperature", "2m_temperature")
    assert low.plausible[0] < variable("2m_temperature_min").plausible[0]


# --- pressure levels and earlier steps ---


def test_a_row_with_levels_stands_for_one_row_a_level():
    levels = (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000)
    fields = ("temperature", "u_component_of_wind", "v_component_of_wind", "specific_humidity")
    for field in (*fields, "geopotential", "geopotential_height"):
        rows = [variable(f"{field}_{level}") for level in levels]
        assert [row.level_hpa for row in rows] == list(levels)
        assert all(row.profiles[0] == field for row in rows)
        assert field not in table()
    warm = variable("temperature_850")
    assert warm.long_name == "temperature at 850 hPa"
    assert warm.profiles == ("temperature", "t", "ta")
    assert warm.aliases == ("t850", "t_850", "ta850", "ta_850")
    assert variable("2m_temperature").level_hpa is None
    # the standard atmosphere and what is near it
    assert variable("geopotential_500").plausible[0] < 9.80665 * 5574 < 62_000
    for place in ("200", "500", "850", "1000"):
        low, high = variable(f"geopotential_{place}").plausible
        heights = variable(f"geopotential_height_{place}").plausible
        assert np.allclose((low / 9.80665, high / 9.80665), heights, atol=220)


def test_what_differs_by_level_stands_beside_it(own_table):
    family = {"long_name": "wind speed", "units": "m s-1", "plausible": [0, 120], "range": 30}
    own_table({"wind": family | {"aliases": ["w"], "levels": {850: None, 200: {"range": 90}}}})
    assert list(table()) == ["wind_850", "wind_200"]
    assert (variable("w850").range, variable("w_200").range) == (30, 90)
    assert variable("w850").plausible == variable("w200").plausible == (0, 120)
    own_table({"wind": family | {"levels": {850: {"rnge": 9}}}})
    with pytest.raises(ValueError, match="unknown name 'rnge'. Did you mean 'range'"):
        table()


@pytest.mark.parametrize(
    ("name", "plain", "steps"),
    [
        ("2m_temperature", "2m_temperature", 0),
        ("2m_temperature@-1", "2m_temperature", 1),
        ("t2m@-12", "t2m", 12),
        ("2m_temperature@-0", "2m_temperature@-0", 0),
        ("2m_temperature@1", "2m_temperature@1", 0),
        ("@-1", "@-1", 0),
    ],
)
def test_suffix_of_an_earlier_step(name, plain, steps):
    assert without_steps(name) == (plain, steps)
    if plain in ("2m_temperature", "t2m"):
        assert variable(name) is table()["2m_temperature"]
    else:
        with pytest.raises(KeyError, match="Wanted a variable"):
            variable(name)


def test_values_of_the_paper():
    # ORBIT-2: precipitation is log1p(mm) without z-score; temperatures weigh ten times as much
    rain, cold = variable("total_precipitation_24hr"), variable("2m_temperature_min")
    assert (rain.transform, rain.units, rain.loss_weight, rain.kind) == ("log1p", "mm", 1, "flux")
    assert (cold.transform, cold.units, cold.loss_weight) == ("zscore", "K", 10)
    assert (variable("orography").kind, variable("lsm").kind) == ("static", "static")
    assert variable("tas").standard_name == "air_temperature"


def test_all_variables_of_orbit2_have_rows():
    levels = ("temperature", "u_component_of_wind", "v_component_of_wind", "specific_humidity")
    names = [f"{name}_{level}" for name in levels for level in (200, 500, 850)]
    names += ["10m_u_component_of_wind", "10m_v_component_of_wind", "2m_temperature"]
    names += ["2m_temperature_max", "2m_temperature_min", "total_precipitation_24hr"]
    names += ["volumetric_soil_water_layer_1", "land_sea_mask", "orography", "landcover"]
    assert len(names) == 22
    assert [variable(name).name for name in names] == names
    assert variable("lattitude").name == "latitude_field"  # as its files spell it
    assert variable("t850").standard_name == "air_temperature"
    assert variable("u10").standard_name == "eastward_wind"
    assert {variable(name).kind for name in ("lattitude", "landcover")} == {"static"}


def test_rows_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        variable("eastward_wind").units = "knot"


def test_unknown_name_gets_the_nearest_one_and_a_remedy():
    with pytest.raises(KeyError, match="got 'northwards_wind'") as error:
        variable("northwards_wind")
    text = str(error.value)
    assert "Wanted a variable of data_catalog/variables.yaml" in text
    assert "Did you mean 'northward_wind'?" in text
    assert "add a row" in text
    with pytest.raises(KeyError, match="Did you mean 'tasmax'"):
        variable("tasmaxx")
    with pytest.raises(KeyError, match=r"got 'zzz'\. Rename"):
        variable("zzz")


def test_a_row_says_its_name_once_and_nothing_unknown(own_table):
    whole = {"long_name": "wind speed", "units": "m s-1", "plausible": [0, 120], "range": 30}
    own_table({"wind_speed": whole | {"aliases": ["ws"]}})
    assert variable("ws") == Variable(
        name="wind_speed",
        long_name="wind speed",
        units="m s-1",
        plausible=(0, 120),
        range=30,
        aliases=("ws",),
    )
    own_table({"wind_speed": whole | {"unit": "m s-1"}})
    with pytest.raises(ValueError, match=r"unknown name 'unit'\. Did you mean 'units'"):
        table()
    own_table({"wind_speed": {"long_name": "wind speed"}})
    with pytest.raises(ValueError, match=r"variables\.yaml: units: Field required"):
        table()
    own_table({"wind_speed": whole | {"transform": "sqrt"}})
    with pytest.raises(ValueError, match="transform: .*'zscore' or 'log1p'.*got 'sqrt'"):
        table()


# --- variables that are ordered by another ---


def test_extremes_are_ordered_by_the_mean():
    assert variable("2m_temperature_min").at_most == "2m_temperature"
    assert variable("2m_temperature_max").at_least == "2m_temperature"
    assert variable("2m_temperature").at_most is variable("2m_temperature").at_least is None


@pytest.mark.parametrize(
    ("low", "mean", "told"),
    [
        ({"at_most": "gustt"}, {}, r"'low' is ordered by, got 'gustt'.*Did you mean 'gust'"),
        ({"at_least": "x"}, {}, r"ordered by, got 'x', which is none\. Correct the name"),
        ({"at_most": "gust", "units": "knot"}, {}, r"got 'knot' and 'm s-1'\. Change one"),
        ({"at_most": "gust"}, {"at_least": "low"}, r"got the circle .*low.*\. Drop one"),
        ({"at_most": "low"}, {}, r"got the circle low - low"),
    ],
)
def test_an_order_that_leads_nowhere_is_refused(own_table, low, mean, told):
    whole = {"long_name": "wind speed", "units": "m s-1", "plausible": [0, 120], "range": 30}
    own_table({"low": whole | low, "gust": whole | mean})
    with pytest.raises(ValueError, match=told):
        table()
