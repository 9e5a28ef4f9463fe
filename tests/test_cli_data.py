import json
import re
import shutil

import numpy as np
import pytest
import yaml

from orbitds import catalog
from orbitds.data.pair import open_pair
from orbitds.resources import share

# --- catalog ---


def test_catalog_list_shows_everything_with_its_title(orbitds):
    answer = orbitds("catalog", "list")
    assert answer.code == 0
    entries = {"dataset": catalog.dataset_entry, "pair": catalog.pair_entry}
    for kind, entry in entries.items():
        paths = list(share(f"data_catalog/{kind}s").glob("*.yaml"))
        assert paths
        for path in paths:
            title = re.escape(entry(path.stem).title)
            assert re.search(rf"^{path.stem}( .*)?\n    {title}$", answer.out, re.MULTILINE)


def test_catalog_list_tells_licence_and_where_the_data_are(orbitds, monkeypatch, tmp_path):
    monkeypatch.delenv("ORBITDS_DATA", raising=False)
    bare = orbitds("catalog", "list").out
    assert re.search(r"^fnoc_navy_winds_2p5deg +2\.5 +1ME +shipped +Public domain$", bare, re.M)
    assert re.search(r"^era5_0p25deg_arco +0\.25 +1h +network +CC BY 4\.0$", bare, re.M)
    told = r"^eobs_bavaria_0p1_monthly +0\.1 +1ME +{} +Research only$"
    assert re.search(told.format("absent"), bare, re.M)
    (tmp_path / "bavaria_fine_eobs_0p1.nc").touch()
    monkeypatch.setenv("ORBITDS_DATA", str(tmp_path))
    assert re.search(told.format("here"), orbitds("catalog", "list").out, re.M)


def test_catalog_list_fits_a_terminal(orbitds):
    lines = orbitds("catalog", "list").out.splitlines()
    assert len(lines) > 2 * len(catalog.dataset_names())
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", catalog.dataset_names())
def test_catalog_show_prints_licence_citation_and_access(orbitds, name):
    answer = orbitds("catalog", "show", name)
    assert answer.code == 0
    shown = yaml.safe_load(answer.out)
    entry = catalog.dataset_entry(name)
    assert shown["licence"] == entry.licence
    assert shown["citation"] == entry.citation
    assert shown["variables"] == list(entry.variables)
    assert shown.get("access", "") == entry.access
    assert shown.get("url") == entry.url
    assert shown["missing"] == entry.missing
    assert shown["data"] in {"shipped", "here", "absent", "network"}
    assert len(answer.out.splitlines()) < 60, "a page"


def test_catalog_show_tells_where_absent_data_were_looked_for(orbitds, monkeypatch, tmp_path):
    monkeypatch.setenv("ORBITDS_DATA", str(tmp_path))
    shown = yaml.safe_load(orbitds("catalog", "show", "eobs_bavaria_0p1_monthly").out)
    assert shown["data"] == "absent"
    assert shown["looked_in"] == [str(share("data_catalog/files")), str(tmp_path)]


@pytest.mark.parametrize("name", catalog.pair_names())
def test_catalog_show_prints_the_terms_of_a_pair(orbitds, name):
    answer = orbitds("catalog", "show", name)
    assert answer.code == 0
    shown = yaml.safe_load(answer.out)
    fine = catalog.dataset_entry(catalog.pair_entry(name).fine)
    assert shown["split"]["test"] == list(catalog.pair_entry(name).split["test"])
    terms = shown["terms"][catalog.pair_entry(name).fine]
    assert terms == {"licence": fine.licence, "citation": fine.citation}


def test_catalog_show_knows_the_nearest_name(orbitds):
    name = catalog.pair_names()[0]
    answer = orbitds("catalog", "show", name[:-1])
    assert answer.code != 0
    assert f"got '{name[:-1]}'. Did you mean '{name}'?" in answer.err


# --- checkpoints ---


@pytest.fixture
def known(checkpoint_folder, tmp_path, monkeypatch):
    """Three that are known: a good one, one in the cache, and a damaged one."""
    good, damaged = tmp_path / "small", tmp_path / "damaged"
    cached = tmp_path / "models--climate--winds/snapshots" / ("0" * 40)
    for folder in (good, damaged, cached):
        shutil.copytree(checkpoint_folder, folder)
    (damaged / "orbitds.json").write_text("{}")
    found = {"small": good, "damaged": damaged, "hf://climate/winds@000000000000": cached}
    monkeypatch.setattr("orbitds.description.known_checkpoints", lambda: found)
    return found


def test_checkpoints_are_listed_with_what_they_take_and_give(orbitds, known):
    answer = orbitds("catalog", "checkpoints")
    assert answer.code == 0
    first = answer.out.split("damaged")[0]
    assert first.startswith(
        "small\n    licence: not stated\n    grid: 2859 km to 953.1 km, 3 times"
    )
    assert "inputs: eastward_wind, total_precipitation_24hr" in first
    assert re.search(r"^damaged\n    refused: Wanted the description", answer.out, re.M)
    assert "hf://climate/winds@000000000000\n" in answer.out
    assert "hf://owner/name@revision" in answer.out


def test_a_list_without_checkpoints_says_where_they_come_from(orbitds, monkeypatch):
    monkeypatch.setattr("orbitds.description.known_checkpoints", dict)
    answer = orbitds("catalog", "checkpoints")
    assert answer.code == 0
    assert answer.out.startswith("none ships with this version")
    assert "hf://owner/name@revision" in answer.out


def test_a_checkpoint_is_shown_by_its_name_and_by_its_folder(orbitds, known):
    for name in ("small", "hf://climate/winds@000000000000", str(known["small"])):
        answer = orbitds("catalog", "checkpoints", name)
        assert answer.code == 0
        shown = yaml.safe_load(answer.out)
        assert shown["outputs"] == ["eastward_wind", "total_precipitation_24hr"]
        assert shown["licence"] == "not stated"
        assert set(shown["sha256"]) == {"weights.safetensors", "climatology.safetensors"}
    answer = orbitds("catalog", "checkpoints", "damaged")
    assert answer.code == 1
    assert "Wanted the description" in answer.err
    assert orbitds("catalog", "checkpoints", "none").code == 1


# --- check ---


def test_check_accepts_the_embedded_data(orbitds):
    answer = orbitds("check", "fnoc_navy_winds_2p5deg")
    assert answer.code == 0
    assert "132, 1982-01-01 to 1992-12-01, every month" in answer.out
    assert "A run would be accepted." in answer.out


def test_check_says_the_same_in_json(orbitds, coarse, tmp_path):
    coarse["eastward_wind"][3, 2, 1] = np.nan
    coarse.to_netcdf(tmp_path / "coarse.nc")
    answer = orbitds("check", tmp_path / "coarse.nc", "--json")
    assert answer.code == 1
    told = json.loads(answer.out)
    part = told["parts"][str(tmp_path / "coarse.nc")]
    assert (told["accepted"], part["accepted"]) == (False, False)
    wind = next(row for row in part["variables"] if row["name"] == "eastward_wind")
    assert (wind["missing"], wind["cells"]) == (1, 924)
    assert wind["problem"].startswith("Wanted eastward_wind without missing values, got NaN in 1 ")
    shown = orbitds("check", tmp_path / "coarse.nc")
    assert shown.code == 1
    assert wind["problem"] in shown.out
    assert wind["first_place"] in shown.out
    assert orbitds("check", tmp_path / "coarse.nc", "--missing", "mask").code == 0


def test_check_for_a_checkpoint_knows_its_variables_and_spacing(
    orbitds, coarse, checkpoint_folder, tmp_path
):
    coarse.to_netcdf(tmp_path / "coarse.nc")
    good = orbitds("check", tmp_path / "coarse.nc", "--checkpoint", checkpoint_folder)
    assert good.code == 0
    coarse.drop_vars("eastward_wind").to_netcdf(tmp_path / "less.nc")
    less = orbitds("check", tmp_path / "less.nc", "--checkpoint", checkpoint_folder)
    assert less.code == 1
    assert "Wanted the variable 'eastward_wind'" in less.out
    near = coarse.assign_coords(latitude=coarse["latitude"] / 2)
    near["latitude"].attrs = coarse["latitude"].attrs
    near.to_netcdf(tmp_path / "near.nc")
    wrong = orbitds("check", tmp_path / "near.nc", "--checkpoint", checkpoint_folder)
    assert wrong.code == 1
    assert "Wanted a grid spacing of 2859 km" in wrong.out
    # elsewhere is accepted, and noted
    coarse.isel(latitude=slice(1, 5)).assign_coords(latitude=coarse["latitude"][1:5] + 3).to_netcdf(
        tmp_path / "elsewhere.nc"
    )
    other = orbitds("check", tmp_path / "elsewhere.nc", "--checkpoint", checkpoint_folder)
    assert other.code == 0
    assert "outside the training region" in other.out


def test_check_of_a_pair_looks_at_all_its_sides(orbitds):
    answer = orbitds("check", "--pair", "navy_winds_10deg_to_2p5deg", "--json")
    assert answer.code == 0
    sides = [name.partition(": ")[2] for name in json.loads(answer.out)["parts"]]
    assert sides == ["coarse", "fine", "statics"]
    fine = orbitds("check", "fnoc_navy_winds_2p5deg", "--pair", "navy_winds_10deg_to_2p5deg")
    assert fine.code == 1
    assert "that of the coarse side of navy_winds_10deg_to_2p5deg, got 278 km" in fine.out


def test_check_wants_something_to_look_at(orbitds):
    assert "got neither" in orbitds("check").err
    both = orbitds("check", "x.nc", "--checkpoint", "c", "--pair", "p")
    assert "got both flags" in both.err
    assert orbitds("check", "no_such.nc").code == 1


# --- prepare ---

WINDS = "navy_winds_10deg_to_2p5deg"


def test_prepare_writes_a_store_that_opens_as_a_pair(orbitds, tmp_path):
    store = tmp_path / "winds.zarr"
    answer = orbitds("prepare", "--pair", WINDS, "--output", store, "--dtype", "int16")
    assert answer.code == 0
    assert answer.out == f"training store: {store}\n"
    assert "prepare 1/1 1992-12-01" in answer.err
    opened = open_pair(store)
    assert (opened.factor, opened.fine.sizes["time"]) == (4, 132)
    assert opened.static_names == ("orography", "land_sea_mask")  # not by the alphabet


def test_prepare_says_what_it_would_write(orbitds, tmp_path):
    answer = orbitds("prepare", "--pair", WINDS, "--output", tmp_path / "a.zarr", "--dry-run")
    assert answer.code == 0
    assert "shards 132 x 2 x 72 x 144" in answer.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--pair", WINDS[:-1]), f"Did you mean '{WINDS}'?"),
        (("--pair", WINDS, "--dtype", "float16"), "float16"),
        (("--pair", WINDS, "--factor", "3"), "Leave --factor out"),
        (("--pair", WINDS, "--resolution-deg", "7"), "Choose another width or factor"),
    ],
)
def test_prepare_explains_its_refusals(orbitds, tmp_path, arguments, told):
    answer = orbitds("prepare", *arguments, "--output", tmp_path / "a.zarr")
    assert answer.code != 0
    assert told in answer.err
    assert list(tmp_path.iterdir()) == []


def test_training_from_a_store_is_training_from_its_source(orbitds, tmp_path):
    store = tmp_path / "winds.zarr"
    assert orbitds("prepare", "--pair", WINDS, "--output", store).code == 0
    logs = []
    for number, pair in enumerate((WINDS, store)):
        run = tmp_path / str(number)
        options = ("--steps", 4, "--batch-size", 2, "--validate-every", 2, "--pair", pair)
        answer = orbitds("train", "--config", "smoke", *options, "--output", run)
        assert answer.code == 0, answer.err
        lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
        logs.append([json.loads(line) for line in lines])
    assert len(logs[0]) == 4
    for source, stored in zip(*logs, strict=True):
        assert source == stored
