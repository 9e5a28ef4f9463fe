"""The YAML file beside a published ORBIT-2 checkpoint: what the network is and what it eats."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orbitds.grid import KM_PER_DEGREE
from orbitds.model.orbit2 import STATICS, Orbit2Config
from orbitds.resources import did_you_mean, read_yaml
from orbitds.schema import parse
from orbitds.variables import variable

# The data set that the published global models are tuned on, by its name in their files.
GLOBAL = "ERA5_2"
# Our names of settings and theirs, of the same meaning.
ARCHITECTURE = {
    "patch": "patch_size",
    "width": "embed_dim",
    "depth": "depth",
    "decoder_depth": "decoder_depth",
    "heads": "num_heads",
    "mlp_ratio": "mlp_ratio",
    "cnn_ratio": "cnn_ratio",
}


@dataclass(frozen=True)
class Settings:
    """What a published file says, in our words."""

    model: Orbit2Config
    """The architecture."""
    inputs: tuple[str, ...]
    """Input variables: the weather first, then the four static fields."""
    outputs: tuple[str, ...]
    """Output variables."""
    factor: int
    """Fine cells along the edge of a coarse cell."""
    spacing_km: float
    """Coarse spacing."""
    data: str
    """The data set of the file that all this is for."""


class _File:
    """A YAML file of which a key may sit in its group or one level deeper."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(
                f"Wanted the YAML file of an ORBIT-2 checkpoint, got {path}, which is none. Check "
                "the path."
            )
        self.path = path
        self.content = read_yaml(path)

    def get(self, group: str, key: str) -> Any:  # noqa: ANN401  whatever stands there
        """Return a value, None where there is none."""
        groups = [place[group] for place in _places(self.content) if group in place]
        for place in groups:
            for inner in _places(place):
                if inner.get(key) is not None:
                    return inner[key]
        return None

    def require(self, group: str, key: str, kind: type | tuple[type, ...]) -> Any:  # noqa: ANN401  as told
        """Return a value of a kind."""
        value = self.get(group, key)
        if value is None:
            raise ValueError(
                f"Wanted `{group}: {key}:` in {self.path}, got no such key. Give the YAML file "
                "published beside the checkpoint, or state it there."
            )
        if not isinstance(value, kind) or isinstance(value, bool):
            kinds = " or ".join(
                one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,))
            )
            raise ValueError(  # noqa: TRY004  a mistake in a file, as all others
                f"Wanted `{group}: {key}:` in {self.path} as {kinds}, got {value!r}. Correct it."
            )
        return value


def read_settings(
    path: Path,
    *,
    tokens: int,
    count: int,
    data: str | None = None,
    outputs: Sequence[str] | None = None,
    statics_grid: tuple[int, int] | None = None,
) -> Settings:
    """Return what a published YAML file says of a checkpoint.

    Parameters
    ----------
    tokens
        Places in the position table of the weights.
    count
        Output variables of the weights.
    data
        The data set of the file; by default the one that it names as its input.
    outputs
        Output variables; by default those of the data set in the file.
    statics_grid
        Rows and columns of the static fields, where they go into the checkpoint.

    Raises
    ------
    ValueError, OSError
        If the file is missing, lacks a key, or does not fit the weights.
    """
    file = _File(path)
    known = _ours(file.require("data", "default_vars", list))
    resolution = file.require("data", "spatial_resolution", (dict, int, float))
    data = data or _data(file, resolution)
    settings = {
        ours: file.require("model", key, (int, float)) for ours, key in ARCHITECTURE.items()
    }
    model = {
        "kind": "orbit2",
        "variables": known,
        "window": _window(file, tokens, settings["patch"]),
        "halo_cells": _halo(file),
        "spatial_resolution_km": _raw_km(file, resolution, data),
        "statics_grid": statics_grid,
    }
    inputs = _of_data(file, "dict_in_variables", data) or known
    parsed = parse(Orbit2Config, settings | model, source=str(path))
    spacing_km = parsed.spatial_resolution_km  # good enough for a region, where nothing says more
    if statics_grid is not None:
        spacing_km = 180 / statics_grid[0] * KM_PER_DEGREE
    given = _ours(outputs) if outputs else _of_data(file, "dict_out_variables", data)
    _check_variables(file, inputs, given, known, count)
    return Settings(
        model=parsed,
        inputs=(*(name for name in inputs if name not in STATICS), *STATICS),
        outputs=given,
        factor=_factor(file),
        spacing_km=spacing_km,
        data=data,
    )


def _places(group: object) -> list[dict]:
    """Return a mapping and the mappings in it."""
    if not isinstance(group, dict):
        return []
    return [group, *(inner for inner in group.values() if isinstance(inner, dict))]


def _ours(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(variable(str(name)).name for name in names)


def _data(file: _File, resolution: object) -> str:
    """Return the data set that the file is about: its only input, or that of the global models."""
    if not isinstance(resolution, dict):
        return GLOBAL
    folders = file.get("data", "low_res_dir")
    named = [key for key in folders if key in resolution] if isinstance(folders, dict) else []
    candidates = named or list(resolution)
    if len(candidates) == 1:
        return candidates[0]
    if GLOBAL in candidates:
        return GLOBAL
    raise ValueError(
        f"Wanted one data set in {file.path}, got {candidates}. Name the one that the checkpoint "
        "was trained on with --data."
    )


def _raw_km(file: _File, resolution: object, data: str) -> object:
    if not isinstance(resolution, dict):
        return resolution
    if data not in resolution:
        raise ValueError(
            f"Wanted one of the data sets {list(resolution)} of `data: spatial_resolution:` in "
            f"{file.path}, got {data!r}.{did_you_mean(data, resolution)} Name one with --data."
        )
    return resolution[data]


def _of_data(file: _File, key: str, data: str) -> tuple[str, ...]:
    listed = file.get("data", key)
    return _ours(listed[data]) if isinstance(listed, dict) and listed.get(data) else ()


def _factor(file: _File) -> int:
    factor = file.require("model", "superres_mag", int)
    if factor < 1:
        raise ValueError(
            f"Wanted `model: superres_mag:` in {file.path} of 1 or more, got {factor}. Correct it."
        )
    return factor


def _halo(file: _File) -> tuple[int, int]:
    """Return rows and columns of halo on each side of a tile: o/2 and o, for an even overlap o."""
    if not file.get("tiling", "do_tiling") or file.require("tiling", "div", int) == 1:
        return 0, 0
    overlap = file.require("tiling", "overlap", int)
    if overlap < 0 or overlap % 2:
        raise ValueError(
            f"Wanted an even `tiling: overlap:` in {file.path}, got {overlap}: the public tiles "
            "have unlike halos on their sides then. Choose another checkpoint."
        )
    return overlap // 2, overlap


def _window(file: _File, tokens: int, patch: int) -> tuple[int, int]:
    """Return the window of a position table: twice as many columns as rows, in all public grids."""
    rows = math.isqrt(tokens // 2)
    if 2 * rows * rows != tokens or not rows:
        raise ValueError(
            "Wanted a position table for twice as many columns as rows, as in all public grids, "
            f"got {tokens} places beside {file.path}. Choose another checkpoint."
        )
    return rows * int(patch), 2 * rows * int(patch)


def _check_variables(
    file: _File,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    known: tuple[str, ...],
    count: int,
) -> None:
    if len(outputs) != count:
        raise ValueError(
            f"Wanted the {count} output variables of the weights in {file.path}, got "
            f"{list(outputs)}. Name them in their order with --outputs."
        )
    if strange := [name for name in (*inputs, *outputs, *STATICS) if name not in known]:
        raise ValueError(
            f"Wanted variables of `data: default_vars:` in {file.path}, got {strange}, which are "
            "not among them. Correct the file."
        )
    if missing := [name for name in (*outputs, *STATICS) if name not in inputs]:
        raise ValueError(
            f"Wanted output variables and static fields among the inputs in {file.path}, got "
            f"inputs without {missing}. Correct the file."
        )
