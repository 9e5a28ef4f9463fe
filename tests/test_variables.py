"""The vocabulary: every row makes sense, and every name or alias leads to one row."""

import math

import pytest

from orbitds import variables
from orbitds.variables import Variable, table, variable

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


def test_units_are_those_of_the_cf_table():
    registry = pytest.importorskip("cf_xarray.units").units
    canonical = {
        "eastward_wind": "m s-1",
        "northward_wind": "m s-1",
        "air_temperature": "K",
        "lwe_thickness_of_precipitation_amount": "m",
        "surface_altitude": "m",
        "land_area_fraction": "1",
    }
    checked = 0
    for row in ROWS:
        if expected := canonical.get(row.standard_name or ""):
            assert registry.Quantity(1.0, row.units).is_compatible_with(expected), row.name
            checked += 1
    assert checked >= 8


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
