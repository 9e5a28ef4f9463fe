import re

import pytest
import yaml

from orbitds import catalog
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
