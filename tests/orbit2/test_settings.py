"""The published YAML: what is read from it, and what is said where something is missing."""

import pytest

from orbitds.orbit2.settings import read_settings

SIZES = {"tokens": 32, "count": 2}


@pytest.fixture
def read(published):
    """Read the file after a change."""

    def run(change=None, **told):
        published.yaml(change)
        return read_settings(published.folder / "net.yaml", **(SIZES | told))

    return run


def test_what_a_file_says(read):
    settings = read()
    model = settings.model
    assert model.variables[:4] == ("land_sea_mask", "orography", "latitude_field", "landcover")
    assert (model.window, model.halo_cells, model.patch) == ((8, 16), (1, 2), 2)
    assert (model.width, model.depth, model.decoder_depth, model.heads) == (16, 2, 1, 4)
    assert (model.mlp_ratio, model.cnn_ratio, model.spatial_resolution_km) == (3, 3, 28)
    assert settings.inputs == (*model.variables[4:], *model.variables[:4])
    assert settings.outputs == ("total_precipitation_24hr", "2m_temperature_min")
    assert (settings.factor, settings.spacing_km, settings.data) == (2, 28, "ERA5_2")
    assert read(statics_grid=(12, 24)).spacing_km == pytest.approx(15 * 111.195, rel=1e-4)


def test_the_published_sizes_of_windows(read):
    """0.25 degrees in tiles: rows 720/div + o, columns 1440/div + 2 o."""
    for div, overlap in ((4, 2), (4, 4), (8, 2), (1, 0)):
        rows, columns = 720 // div + overlap, 1440 // div + 2 * overlap
        tiling = {"do_tiling": True, "div": div, "overlap": overlap}

        def change(content, tiling=tiling):
            content["tiling"] = tiling

        model = read(change, tokens=rows * columns // 4).model
        assert model.window == (rows, columns)
        assert model.halo_cells == (overlap // 2, overlap)


def test_without_tiles_there_is_no_halo(read):
    def off(content):
        content["tiling"]["do_tiling"] = False

    assert read(off).model.halo_cells == (0, 0)
    assert read(lambda content: content.pop("tiling")).model.halo_cells == (0, 0)


def test_keys_may_sit_one_level_deeper(read):
    plain = read()

    def deeper(content):
        content["model"] = {"preset": "res_slimvit", "network": content["model"]}
        content["data"] = {"all": content["data"]}

    def under(content):
        inner = dict(content)
        content.clear()
        content["experiment"] = inner

    assert read(deeper) == plain
    assert read(under) == plain


@pytest.mark.parametrize(
    ("group", "key"),
    [
        ("model", "superres_mag"),
        ("model", "embed_dim"),
        ("model", "num_heads"),
        ("model", "cnn_ratio"),
        ("data", "default_vars"),
        ("data", "spatial_resolution"),
        ("tiling", "overlap"),
        ("tiling", "div"),
    ],
)
def test_a_missing_key_is_named(read, group, key):
    with pytest.raises(ValueError, match=rf"`{group}: {key}:` in .*net.yaml, got no such key\. Gi"):
        read(lambda content: content[group].pop(key))


@pytest.mark.parametrize(
    ("group", "key", "value", "told"),
    [
        (
            "model",
            "patch_size",
            "two",
            r"`model: patch_size:` in .* as int or float, got 'two'\. C",
        ),
        ("model", "depth", -1, r"net\.yaml: depth: Input should be greater .*got -1"),
        ("model", "superres_mag", 0, r"`model: superres_mag:` .* of 1 or more, got 0\. Correct"),
        ("data", "spatial_resolution", {"ERA5_2": "wide"}, r"spatial_resolution_km: .*got 'wide'"),
        ("data", "spatial_resolution", {"ERA5_2": None}, r"spatial_resolution_km: .*got None"),
        ("model", "superres_mag", True, r"`model: superres_mag:` .* as int, got True\. Correct"),
        ("data", "default_vars", "all", r"`data: default_vars:` .* as list, got 'all'\. Correct"),
        ("tiling", "overlap", 3, r"Wanted an even `tiling: overlap:` .*got 3.*Choose"),
        ("tiling", "overlap", 8, r"Wanted a window larger than its halos, got \(8, 16\).*Correct"),
    ],
)
def test_a_wrong_value_is_named(read, group, key, value, told):
    with pytest.raises(ValueError, match=told):
        read(lambda content: content[group].update({key: value}))


def test_an_unknown_variable_gets_the_nearest_one(read):
    def change(content):
        content["data"]["default_vars"][4] = "2m_temprature"

    with pytest.raises(KeyError, match=r"Did you mean '2m_temperature'"):
        read(change)


def test_a_table_of_another_shape_is_refused(read):
    with pytest.raises(ValueError, match=r"twice as many columns as rows.*got 36 places.*Choose"):
        read(tokens=36)


# --- which data set ---


def test_the_data_set_is_the_only_input_of_the_file(read):
    def prism(content):
        content["data"]["low_res_dir"] = {"PRISM": "/somewhere"}
        content["data"]["dict_in_variables"]["PRISM"] = content["data"]["default_vars"]

    settings = read(prism, count=1)
    assert (settings.data, settings.spacing_km) == ("PRISM", 18)
    assert settings.outputs == ("2m_temperature",)
    assert read(prism, data="ERA5_2").data == "ERA5_2"


def test_of_several_it_is_that_of_the_global_models(read):
    def several(content):
        content["data"]["low_res_dir"] = {"ERA5_2": "/a", "ERA5_1": "/b"}

    assert read(several).data == "ERA5_2"
    assert read(lambda content: content["data"].pop("low_res_dir")).data == "ERA5_2"

    def none(content):
        content["data"]["low_res_dir"] = {"PRISM": "/a", "ERA5_1": "/b"}

    with pytest.raises(
        ValueError, match=r"one data set .*got \['ERA5_1', 'PRISM'\]\. Name .*--data"
    ):
        read(none)


def test_an_unknown_data_set_is_refused(read):
    with pytest.raises(ValueError, match=r"got 'ERA5_3'\. Did you mean .* Name one with --data"):
        read(data="ERA5_3")


def test_one_number_of_kilometres_serves_all(read):
    def change(content):
        content["data"]["spatial_resolution"] = 111

    assert read(change).model.spatial_resolution_km == 111


# --- which variables ---


def test_outputs_are_those_of_the_weights(read):
    told = r"Wanted the 1 output variables of the weights .*got \['total.*--outputs"
    with pytest.raises(ValueError, match=told):
        read(count=1)
    settings = read(count=1, outputs=["total_precipitation_24hr"])
    assert settings.outputs == ("total_precipitation_24hr",)
    with pytest.raises(ValueError, match=r"Wanted the 2 output .*got \[\]\. Name"):
        read(lambda content: content["data"].pop("dict_out_variables"))


def test_without_a_list_of_inputs_all_are(read):
    settings = read(lambda content: content["data"].pop("dict_in_variables"))
    assert sorted(settings.inputs) == sorted(settings.model.variables)


def test_inputs_that_do_not_fit_are_refused(read):
    def fewer(content):
        content["data"]["dict_in_variables"]["ERA5_2"].remove("landcover")

    def strange(content):
        content["data"]["dict_in_variables"]["ERA5_2"].append("temperature_500")

    with pytest.raises(ValueError, match=r"inputs without \['landcover'\]\. Correct"):
        read(fewer)
    with pytest.raises(ValueError, match=r"default_vars:.*got \['temperature_500'\].*Correct"):
        read(strange)
