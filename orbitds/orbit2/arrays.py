"""The arrays beside a published ORBIT-2 checkpoint: statistics and global static fields."""

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from orbitds.model.orbit2 import STATICS
from orbitds.normalize import Statistics
from orbitds.variables import variable

# Their names of variables where they are not those of our rows.
THEIRS = {"latitude_field": "lattitude"}
# Precipitation up to this many mm a day counts as none in the public normalisation.
WET_DAY_MM = 0.25
STATISTICS_FOLDERS = (".", "mean_std/era5/0.25_deg")
STATICS_FOLDERS = (".", "static_variables")


def read_statistics(folder: Path, names: Iterable[str]) -> dict[str, Statistics]:
    """Return the public mean and standard deviation of variables; none for precipitation.

    Raises
    ------
    FileNotFoundError
        If the folder lacks the files.
    ValueError
        If they lack a variable or hold something else.
    """
    names = tuple(dict.fromkeys(names))
    files = "normalize_mean.npz", "normalize_std.npz"
    places = [folder / inner for inner in STATISTICS_FOLDERS]
    place = next((p for p in places if all((p / file).is_file() for file in files)), None)
    if place is None:
        raise FileNotFoundError(
            f"Wanted {' and '.join(files)} in {folder} or {places[-1]}, got no such files. Copy "
            "the folder `mean_std` of the published checkpoints."
        )
    mean, std = (_numbers(place / file, names) for file in files)
    return {
        name: Statistics(mean=0.0, std=1.0, threshold=WET_DAY_MM)
        if variable(name).transform == "log1p"
        else Statistics(mean=mean[name], std=std[name])
        for name in names
    }


def _numbers(path: Path, names: Iterable[str]) -> dict[str, float]:
    """Return the one number of each variable that is standardised."""
    numbers = {}
    arrays = _read(path)
    is_std = "std" in path.name
    for name in names:
        if variable(name).transform == "log1p":
            continue
        theirs = THEIRS.get(name, name)
        if not isinstance(arrays, dict) or theirs not in arrays:
            raise ValueError(
                f"Wanted the statistics of {theirs!r} in {path}, got {sorted(arrays)}. Give the "
                "statistics that belong to the checkpoint."
            )
        value = np.asarray(arrays[theirs], dtype=np.float64)
        if value.size != 1 or not np.isfinite(value).all() or (is_std and value.item() <= 0):
            raise ValueError(
                f"Wanted one finite{', positive' if is_std else ''} number for {theirs!r} in "
                f"{path}, got {value.tolist()}. Copy the file again."
            )
        numbers[name] = float(value.item())
    return numbers


def read_statics(folder: Path) -> np.ndarray:
    """Return the four global static fields as published, rows from south to north, [4, H, W].

    Raises
    ------
    FileNotFoundError, ValueError
        If one is missing or is no global field of the others' shape.
    """
    fields = {name: _static(folder, THEIRS.get(name, name)) for name in STATICS}
    shapes = {name: field.shape for name, field in fields.items()}
    first = next(iter(shapes.values()))
    for name, field in fields.items():
        if field.shape != first or field.ndim != 2 or first[1] != 2 * first[0]:
            raise ValueError(
                f"Wanted {list(STATICS)} on one global grid of n x 2n points in {folder}, got "
                f"{shapes}. Copy the folder `static_variables` of the published checkpoints."
            )
        if not np.isfinite(field).all():
            raise ValueError(
                f"Wanted finite values of {name} in {folder}, got some that are missing. Fill them."
            )
    latitude = fields["latitude_field"][:, 0]
    if not (np.diff(latitude) > 0).all():
        raise ValueError(
            f"Wanted static fields in {folder} with rows from south to north, got latitudes from "
            f"{latitude[0]:g} to {latitude[-1]:g}. Change their order: field[::-1]."
        )
    return np.stack([fields[name] for name in STATICS]).astype(np.float64)


def _static(folder: Path, name: str) -> np.ndarray:
    found = [
        path for inner in STATICS_FOLDERS for path in sorted((folder / inner).glob(f"{name}*.npy"))
    ]
    if len(found) != 1:
        raise FileNotFoundError(
            f"Wanted one file such as {name}_0.25deg.npy in {folder}, got "
            f"{[path.name for path in found]}. Copy the folder `static_variables` of the published "
            "checkpoints."
        )
    field = _read(found[0])
    if isinstance(field, dict) or field.dtype.kind not in "fiub":
        raise ValueError(f"Wanted one array of numbers in {found[0]}, got others. Copy it again.")
    return field


def _read(path: Path) -> Any:  # noqa: ANN401  an array, or a dictionary of arrays
    """Read an array or named arrays, refusing objects, which would be pickles."""
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            return {name: content[name] for name in content.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"Wanted plain arrays of numpy in {path}, got a file that does not load so ({error}). "
            "Nothing in it was run. Copy the published file again."
        ) from error
