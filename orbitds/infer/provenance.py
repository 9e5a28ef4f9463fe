"""What an answer says of how it was made: history, checkpoint, version and settings."""

import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from orbitds.checkpoint import MADE_WITH, Checkpoint

# Attributes of the answer: where the static fields are from, "none" where the model did without;
# the settings that decide on values, and their hash.
STATICS, CONFIG, CONFIG_HASH = "orbitds_statics", "orbitds_config", "orbitds_config_sha256"
CONVENTIONS = "CF-1.11"
REFERENCE = "Wang et al. (2025), ORBIT-2, https://arxiv.org/abs/2505.04802"
# Of the input alone: its resolution and its identity are not those of the answer.
_NOT_HANDED_ON = (
    "missing",
    "nominal_resolution",
    "geospatial_lat_resolution",
    "geospatial_lon_resolution",
    "tracking_id",
)


def provenance(
    given: Mapping[Any, Any], checkpoint: Checkpoint, statics: str | None = None
) -> dict[str, Any]:
    """Return the global attributes of an answer: the input's, and how it became what it is.

    No clock is read, so that the same job writes the same bytes.

    Parameters
    ----------
    given
        Global attributes of the input; those of an earlier answer are not handed on.
    statics
        Where the static fields are from that the model was given, if that is known.
    """
    kept = {
        key: value
        for key, value in given.items()
        if key not in _NOT_HANDED_ON and not str(key).startswith("orbitds_")
    }
    version = metadata.version("orbitds")
    done = (
        f"downscaled {checkpoint.factor}x by orbitds {version} with the checkpoint "
        f"{checkpoint.name} (weights sha256 {checkpoint.fingerprint})"
    )
    if checkpoint.choice is not None:
        done += f", {checkpoint.choice.told}"
    earlier = kept.get("history")
    told = {
        "title": f"Fields downscaled {checkpoint.factor}x with the checkpoint {checkpoint.name}",
        "source": f"orbitds {version}, checkpoint {checkpoint.name}",
        "references": REFERENCE,
    }
    used = {} if statics is None else {STATICS: statics}
    return (
        told
        | kept
        | used
        | {
            "Conventions": CONVENTIONS,
            "history": f"{earlier}\n{done}" if earlier else done,
            "orbitds_version": version,
            MADE_WITH: checkpoint.name,
            "orbitds_checkpoint_sha256": checkpoint.fingerprint,
        }
    )


def told_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return attributes with the settings that decide on values, and the hash of their text.

    Parameters
    ----------
    settings
        Plain values by name, as resolved: ``auto`` has become a number.
    """
    text = json.dumps(settings, sort_keys=True)
    return {CONFIG: text, CONFIG_HASH: hashlib.sha256(text.encode()).hexdigest()}
