"""What a run keeps: its best weights, in checkpoint format."""

import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from orbitds.checkpoint import load_checkpoint, save_checkpoint
from orbitds.config import TrainConfig
from orbitds.data.pair import Pair
from orbitds.model.interface import DownscalingModel
from orbitds.train.folder import BEST, OLD, best_of
from orbitds.train.mixture import training_set
from orbitds.train.setting import Setting


def keep(
    model: DownscalingModel,
    settings: Sequence[Setting],
    config: TrainConfig,
    step: int,
    folder: Path,
    *,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the weights beside the earlier best ones, then take their place.

    Parameters
    ----------
    settings
        Of all pairs of the run; the region of a single one is kept too.
    weights
        All weights, where the model itself has a part of them.
    """
    partial, old = folder.with_suffix(".partial"), folder.with_suffix(OLD)
    if old.exists() and not folder.exists():
        old.rename(folder)  # an earlier run was stopped between the two renames below
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    first, *others = settings
    shares = config.mixture.values()
    sets = [
        training_set(setting.pair, setting.inputs, share)
        for setting, share in zip(settings, shares, strict=True)
    ]
    # of several, each set says it
    alone = {"period": list(sets[0].period), "statics": _source(first.pair)}
    statistics = {name: row for one in settings for name, row in one.statistics.items()}
    save_checkpoint(
        partial,
        model,
        statistics=statistics,
        spacing_km=sets[0].spacing_km,
        provenance={
            "pair": " + ".join(one.pair for one in sets),
            **({} if others else alone),
            "step": step,
            **({"base_errors": first.base_errors} if first.base_errors else {}),
            "config": json.loads(config.model_dump_json()),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        region=None if others else first.region(),
        same_product=all(one.same_product for one in sets),
        sets=sets if others else (),
        window_cells=config.tiles.crop_cells,
        weights=weights,
        objective=config.objective,
    )
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def export(
    run_folder: Path,
    output: Path,
    *,
    dtype: torch.dtype = torch.float32,
    terms: Mapping[str, str] | None = None,
) -> None:
    """Write the best weights of a run as a checkpoint folder.

    Parameters
    ----------
    dtype
        What weights are stored as; they are read as float32 whatever it is.
    terms
        Title, licence or citation, for those who use it.

    Raises
    ------
    FileNotFoundError
        If the folder holds no finished validation.
    ValueError
        If a weight is beyond the range of the type.
    """
    best = best_of(run_folder)
    if best is None:
        raise FileNotFoundError(
            f"Wanted a run folder with {BEST}/, got {run_folder}. "
            "Give the folder that `orbitds train --output` wrote; a run has weights after its "
            "first validation."
        )
    checkpoint = load_checkpoint(best)
    description = checkpoint.description
    weights = {name: part.to(dtype) for name, part in checkpoint.model.state_dict().items()}
    beyond = [name for name, part in weights.items() if not part.isfinite().all()]
    if beyond:
        raise ValueError(
            f"Wanted weights within the range of {dtype}, got larger ones in {beyond[0]}. Export "
            "them as bfloat16 or float32."
        )
    save_checkpoint(
        output,
        checkpoint.model,
        weights=weights,
        statistics=description.statistics,
        spacing_km=description.spacing_km,
        provenance={**description.provenance, **(terms or {})},
        region=checkpoint.region,
        same_product=description.same_product,
        sets=description.sets,
        window_cells=description.window_cells,
        objective=description.objective,
    )


def _source(pair: Pair) -> str:
    return pair.statics.attrs.get("source") or ", ".join(pair.static_names) or "none"
