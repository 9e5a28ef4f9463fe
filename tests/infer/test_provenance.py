"""What an answer says of how it was made."""

import hashlib
import json

import pytest

from orbitds.checkpoint import load_checkpoint
from orbitds.infer.provenance import provenance, told_settings


@pytest.fixture
def checkpoint(checkpoint_folder):
    return load_checkpoint(checkpoint_folder)


def test_history_is_appended_and_names_the_weights(checkpoint):
    told = provenance({"history": "made by hand"}, checkpoint)
    earlier, done = told["history"].split("\n")
    assert earlier == "made by hand"
    assert checkpoint.fingerprint in done
    assert told["orbitds_checkpoint"] == "tiny"
    assert told["orbitds_checkpoint_sha256"] == checkpoint.fingerprint
    assert told["Conventions"] == "CF-1.11"
    assert provenance({}, checkpoint)["history"] == done


def test_what_the_input_says_is_kept(checkpoint):
    given = {"title": "mine", "source": "a model", "institution": "ours", "Conventions": "CF-1.6"}
    told = provenance(given, checkpoint)
    assert {key: told[key] for key in given} == given | {"Conventions": "CF-1.11"}
    plain = provenance({}, checkpoint)
    assert plain["title"] == "Fields downscaled 3x with the checkpoint tiny"
    assert "tiny" in plain["source"]
    assert "institution" not in plain


def test_what_is_true_of_the_input_alone_is_not_handed_on(checkpoint):
    given = {
        "missing": "mask",
        "orbitds_constraints": "order",
        "nominal_resolution": "250 km",
        "tracking_id": "hdl:21.14100/1",
    }
    assert not set(given) & set(provenance(given, checkpoint))


def test_statics_are_told_where_they_are_known(checkpoint):
    assert provenance({}, checkpoint, "a survey")["orbitds_statics"] == "a survey"
    assert "orbitds_statics" not in provenance({"orbitds_statics": "of another"}, checkpoint)


def test_the_hash_is_that_of_the_settings_that_are_told():
    told = told_settings({"tiles": [2, 3], "missing": "error"})
    text = told["orbitds_config"]
    assert json.loads(text) == {"tiles": [2, 3], "missing": "error"}
    assert told["orbitds_config_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert told == told_settings({"missing": "error", "tiles": (2, 3)})
    assert told != told_settings({"missing": "mask", "tiles": (2, 3)})
