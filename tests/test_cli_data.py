import json
import re

import pytest
import yaml

from orbitds import catalog
from orbitds.data.pair import open_pair
from orbitds.resources import share

# --- catalog ---


def test_catalog_list_shows_everything(orbitds):
    answer = orbitds("catalog", "list")
    assert answer.code == 0
    entries = {"dataset": catalog.dataset_entry, "pair": catalog.pair_entry}
    for kind, entry in entries.items():
        paths = list(share(f"data_catalog/{kind}s").glob("*.yaml"))
        assert paths
        for path in paths:
            assert re.search(rf"{kind} +│ {path.stem} +│ {entry(path.stem).title}", answer.out)


@pytest.mark.parametrize("name", catalog.dataset_names())
def test_catalog_show_prints_licence_and_citation(orbitds, name):
    answer = orbitds("catalog", "show", name)
    assert answer.code == 0
    shown = yaml.safe_load(answer.out)
    entry = catalog.dataset_entry(name)
    assert shown["licence"] == entry.licence
    assert shown["citation"] == entry.citation
    assert shown["variables"] == list(entry.variables)


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
