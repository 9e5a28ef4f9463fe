import re

import pytest
import yaml

from orbitds import catalog
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
    assert re.search(r"^era5_0p25deg_arco +0\.25 +1h +network +Copernicus licence$", bare, re.M)
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
