"""From files to a report: open, learn the simple methods, score, write."""

import shlex
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from orbitds.catalog import open_dataset
from orbitds.checkpoint import MADE_WITH, Checkpoint, load_checkpoint
from orbitds.config import EvalConfig
from orbitds.data.door import enter
from orbitds.data.pair import open_pair
from orbitds.eval.baselines import METHODS
from orbitds.eval.evaluate import evaluate
from orbitds.eval.options import Options
from orbitds.eval.past import Past, learn, training_period
from orbitds.eval.report import FILES, write_report
from orbitds.eval.sides import Sides, common_variables
from orbitds.eval.simple import SimpleMethods
from orbitds.grid import Grid

_PACKAGES = ("orbitds", "torch", "xarray", "numpy", "scipy")


def run(config: EvalConfig) -> xr.Dataset:
    """Score files and write a report into a folder; return the table of scores.

    Raises
    ------
    ValueError, OSError
        If the files do not fit each other, or the folder holds earlier scores.
    """
    _check_folder(config.output, overwrite=config.overwrite)
    with ExitStack() as stack:
        prediction = stack.enter_context(open_dataset(config.prediction))
        truth, coarse = truth_and_coarse(config, stack)
        others = {
            name: stack.enter_context(open_dataset(path)) for name, path in config.others.items()
        }
        checkpoint = load_checkpoint(config.checkpoint) if config.checkpoint else None
        methods, past, notes = None, None, {}
        if coarse is not None:
            sides = Sides.of(prediction, truth, coarse, missing=config.missing)
            past = past_of(config, sides)
            methods = Beside.of(sides, checkpoint, past, others, config)
            notes = _notes(past, sides, methods.simple.lapse_rates)
        options = Options(
            coarse=coarse,
            checkpoint=checkpoint,
            missing=config.missing,
            label=config.label,
            region_names=config.regions,
            tiles=tiles_of(config),
            simple=None if methods is None else methods.fields,
            ssim=config.ssim,
        )
        scores = evaluate(prediction, truth, options).assign_attrs(notes)
        told_of = _provenance(config, prediction, checkpoint, past)
        write_report(scores, config.output, told_of, maps=config.maps)
    return scores


@dataclass(frozen=True, eq=False)
class Beside:
    """What is scored beside the prediction: the simple methods, and other predictions."""

    simple: SimpleMethods
    others: Mapping[str, xr.Dataset]
    """Canonical, on the cells of the evaluation, by what they are called."""

    @classmethod
    def of(
        cls,
        sides: Sides,
        checkpoint: Checkpoint | None,
        past: Past | None,
        others: Mapping[str, xr.Dataset],
        config: EvalConfig,
    ) -> "Beside":
        """Return what stands beside the prediction of an evaluation.

        Raises
        ------
        ValueError
            If another prediction lies on another grid, lacks times, or has the name of a method.
        """
        assert sides.coarse is not None
        simple = SimpleMethods.on(
            Grid.of(sides.coarse), sides.grid, sides.names, checkpoint=checkpoint, past=past
        )
        placed = {}
        for label, ds in others.items():
            if label in (*METHODS, config.label):
                raise ValueError(
                    f"Wanted a name for another prediction that no method has, got {label!r}. "
                    "Call it otherwise."
                )
            placed[label] = _placed(label, ds, sides, config)
        return cls(simple, placed)

    def fields(self, coarse: xr.Dataset, name: str) -> dict[str, Tensor]:
        """Return the fields of all methods at the times of a block of coarse data."""
        found = self.simple.fields(coarse, name)
        for label, ds in self.others.items():
            if name in ds:
                values = ds[name].sel(time=coarse["time"]).values
                found[label] = torch.from_numpy(np.ascontiguousarray(values))
        return found


def tiles_of(config: EvalConfig) -> tuple[int, int] | None:
    """Return rows and columns of the tiles that a prediction was cut into, if it is told."""
    if config.tiles is None:
        return None
    rows, columns = map(int, config.tiles.split("x"))
    return rows, columns


def truth_and_coarse(config: EvalConfig, stack: ExitStack) -> tuple[xr.Dataset, xr.Dataset | None]:
    """Return the two as they are, or the test years of a pair."""
    if config.truth is None:
        assert config.pair is not None
        test = open_pair(config.pair).part("test")
        return test.fine, test.coarse
    truth = stack.enter_context(open_dataset(config.truth))
    coarse = stack.enter_context(open_dataset(config.coarse)) if config.coarse else None
    return truth, coarse


def past_of(config: EvalConfig, sides: Sides) -> Past | None:
    """Return what the simple methods learn from a training period, if one is told."""
    period = training_period(config.pair, config.train_truth, config.train_coarse, sides.names)
    factor = sides.coarse_factor()
    if period is None or factor is None:
        return None
    return learn(period, sides.names, sides.grid, factor)


def _placed(label: str, ds: xr.Dataset, sides: Sides, config: EvalConfig) -> xr.Dataset:
    """Return another prediction in canonical form, its columns as those of the truth."""
    names = [name for name in common_variables(ds, sides.truth) if name in sides.names]
    own = enter(ds, names, missing=config.missing).ds
    place = Grid.of(own).locate(sides.grid)
    if place is None:
        raise ValueError(
            f"Wanted all predictions on the grid of the truth, got {label} {Grid.of(own)} and "
            f"truth {sides.grid}. Regrid it."
        )
    lacking = sides.truth.indexes["time"].difference(own.indexes["time"])
    if len(lacking):
        raise ValueError(
            f"Wanted {label} at all {sides.truth.sizes['time']} times that are scored, got "
            f"{len(lacking)} without it, the first {lacking[0]}. Leave it out, or downscale them."
        )
    return own.isel(latitude=place[0], longitude=place[1])


def _notes(past: Past | None, sides: Sides, lapse_rates: Mapping[str, float]) -> dict[str, str]:
    """Return what a reader must know of the simple methods."""
    if past is None:
        return {}
    known = np.isin(sides.truth["time"].values, past.times).sum()
    told = {"simple_methods_learned_from": past.told}
    notes = [
        f"The lapse rate of {name} is {1000 * rate:.2f} K/km, fitted to the training period."
        for name, rate in lapse_rates.items()
    ]
    if known:
        notes.append(
            f"Delta change and quantile mapping have learned from {known} of the "
            f"{sides.truth.sizes['time']} times that are scored: there they know the answer."
        )
    return told | ({"notes": " ".join(notes)} if notes else {})


def _provenance(
    config: EvalConfig, prediction: xr.Dataset, checkpoint: Checkpoint | None, past: Past | None
) -> dict[str, str]:
    """Return what the scores were made of, for people."""
    files = {
        name: value
        for name in ("prediction", "truth", "coarse", "pair", "train_truth", "train_coarse")
        if (value := getattr(config, name)) is not None
    }
    made = {
        f"prediction: {key}": str(value)
        for key, value in prediction.attrs.items()
        if str(key).startswith(MADE_WITH) or key == "history"
    }
    hashes = {}
    if checkpoint is not None:
        hashes["checkpoint"] = f"{checkpoint.name}, {checkpoint.fingerprint}"
    learned = {} if past is None else {"training period": past.told}
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **files,
        **{f"other: {name}": path for name, path in config.others.items()},
        **made,
        **hashes,
        **learned,
        "versions": ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES),
        "python": sys.version.split()[0],
    }


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    existing = [path for name in FILES if (path := folder / name).exists()]
    if existing and not overwrite:
        raise FileExistsError(
            f"Wanted a folder without scores, got {existing[0]}, which exists. "
            "Choose another folder, or replace them with --overwrite."
        )
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(
            f"Wanted a folder for the scores, got {folder}, which is a file. Choose another name."
        )
    # A place that cannot be used is told before the evaluation, not after it.
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in made:
        path.rmdir()
