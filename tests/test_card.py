"""What people are told of a checkpoint."""

import json
import re
import shutil
from pathlib import Path

import pytest

from orbitds.card import UNKNOWN, card_of
from orbitds.checkpoint import load_checkpoint
from orbitds.description import DESCRIPTION


@pytest.fixture
def folder(checkpoint_folder, tmp_path):
    """A copy, yours to change."""
    return Path(shutil.copytree(checkpoint_folder, tmp_path / "copy"))


def change(folder, **changes):
    content = json.loads((folder / DESCRIPTION).read_text())
    (folder / DESCRIPTION).write_text(json.dumps(content | changes))


def test_a_card_tells_what_it_takes_and_gives(folder):
    card = card_of(folder)
    description = load_checkpoint(folder).description
    assert card["licence"] == UNKNOWN
    assert card["inputs"] == list(description.inputs)
    assert card["outputs"] == list(description.outputs)
    assert card["statics"] == ["orography"]
    assert card["grid"] == "2859 km to 953.1 km, 3 times finer"
    assert card["answer"] == "one field"
    assert card["architecture"]["width"] == 16
    assert card["sha256"] == description.sha256
    assert card["trained"]["pair"] == "synthetic"
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    assert card["folder"] == f"{folder} (yours, {size:.3g} MB)"


def test_terms_are_those_of_the_provenance(folder):
    terms = {"title": "Winds", "licence": "CC BY 4.0", "citation": "A. Nobody (2026)"}
    change(folder, provenance={**terms, "pair": "x", "config": {"long": 1}})
    card = card_of(folder)
    assert {key: card[key] for key in terms} == terms
    assert card["trained"] == {"pair": "x"}


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"objective": "masked"}, "pre-trained only: for `orbitds train --from`, not .*"),
        ({"predicts": "gaussian"}, "a mean and its spread"),
        ({"predicts": "members"}, "members of an ensemble"),
    ],
)
def test_a_card_tells_what_the_answer_is(folder, changes, answer):
    if "predicts" in changes:
        changes = {"model": load_checkpoint(folder).description.model.model_dump() | changes}
    change(folder, **changes)
    assert re.fullmatch(answer, card_of(folder)["answer"])


def test_weights_are_not_read_for_it(folder):
    (folder / "weights.safetensors").write_bytes(b"none")
    assert card_of(folder)["inputs"]


def test_where_it_lies_is_told(folder, monkeypatch, tmp_path):
    monkeypatch.setattr("orbitds.card.share", lambda relative: tmp_path)
    assert "(shipped, " in card_of(folder)["folder"]
    inside = tmp_path / "models--a--b/snapshots" / ("0" * 40)
    shutil.copytree(folder, inside)
    assert "(in the cache of the Hugging Face Hub, " in card_of(inside)["folder"]


def test_what_a_stranger_wrote_does_not_reach_the_terminal(folder):
    change(folder, provenance={"licence": "\x1b[31m free", "title": "x" * 10**5})
    card = card_of(folder)
    assert card["licence"] == r"\x1b[31m free"
    assert len(card["title"]) < 400


def test_each_of_several_sets_is_told(mixed_folder):
    card = card_of(mixed_folder)
    assert card["grid"] == ("2859 km to 953.1 km, 3 times finer; 2502 km to 1251 km, 2 times finer")
    assert list(card["sets"]) == ["synthetic", "other"]
    one, two = card["sets"].values()
    assert two["outputs"] == ["northward_wind"]
    assert two["place"] == "latitude -90 to 90, longitude 0 to 360"
    assert two["period"] == ["2001", "2002"]
    assert (one["share"], two["share"]) == (1.0, 3.0)
