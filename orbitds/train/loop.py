"""The training loop, to be read from the top down."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from orbitds.config import TrainConfig
from orbitds.data.batch import Sample
from orbitds.data.loader import Loaded, training_loader
from orbitds.data.pair import Pair, open_pair
from orbitds.device import choose_device
from orbitds.model.build import build
from orbitds.model.interface import DownscalingModel
from orbitds.progress import progress
from orbitds.train.folder import BEST
from orbitds.train.keep import keep
from orbitds.train.log import JsonLines
from orbitds.train.masked import hidden_in_step
from orbitds.train.objective import objective
from orbitds.train.optim import make_optimizer
from orbitds.train.setting import Setting, prepare_all, union_of
from orbitds.train.start import begin, tell_notes
from orbitds.train.validate import validate_all

# What a run folder holds.
LOG, RESOLVED = "log.jsonl", "config.json"


def run(config: TrainConfig, output: Path) -> Path:
    """Train from a config and leave a run folder: resolved config, log and the best weights.

    Returns
    -------
    pathlib.Path
        The folder of the best weights, in checkpoint format.

    Raises
    ------
    FileExistsError
        If the folder holds something already.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(
            f"Wanted a new or empty folder for the run, got {output}, which exists. "
            "Choose another one, or remove it."
        )
    pairs = [open_pair(name) for name in config.mixture]
    output.mkdir(parents=True, exist_ok=True)
    (output / RESOLVED).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    try:
        return fit(config, pairs, output)
    except (ValueError, OSError, RuntimeError):
        if not (output / BEST).exists():  # data or settings that do not fit make no run
            shutil.rmtree(output)
        raise


def fit(config: TrainConfig, pairs: Sequence[Pair], output: Path) -> Path:
    """Train a model on the pairs of ``config.mixture``; see ``run``."""
    torch.manual_seed(config.seed)
    device = choose_device(config.device)
    settings = prepare_all(config, pairs, device)
    pair = settings[0].pair
    inputs, rows = union_of(settings)
    kept = replace(settings[0], statistics=rows)  # what a checkpoint knows of the data
    shares = tuple(config.mixture.values())
    model = build(
        config.architecture,
        inputs=inputs,
        outputs=pair.outputs,
        statics=pair.static_names,
        factor=pair.factor,
    ).to(device)
    tell_notes(begin(model, config), output)
    averaged = (
        AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
        if config.ema_decay
        else None
    )
    optimizer, schedule = make_optimizer(model, config.optim, config.steps)
    log = JsonLines(output / LOG)
    best, validated = float("inf"), ""
    with progress("train", config.steps) as report:
        for step, (place, batch) in enumerate(_batches(config, settings, shares), start=1):
            setting = settings[place]
            batch = hidden_in_step(batch, config, periodic=setting.tiles.wraps, step=step)
            model.train()
            loss = torch.zeros((), device=device)
            # sums over the whole batch before the division: each fine cell counts by its weight
            total_weight = batch.weight.sum()
            for part in _parts(batch, config.accumulate):
                value = objective(model, part, setting, config.minimised, config.dtype)[0]
                value = value / total_weight
                value.backward()
                loss += value.detach()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.optim.clip)
            if not torch.isfinite(loss + norm):
                raise FloatingPointError(
                    f"Wanted a finite loss, got {float(loss)} with gradient norm {float(norm)} in "
                    f"step {step}. Lower optim.lr, or check the data."
                )
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            if averaged is not None:
                averaged.update_parameters(model)
            entry: dict[str, float] = {"step": step, "loss": float(loss), "norm": float(norm)}
            if step % config.validate_every == 0 or step == config.steps:
                scored = model if averaged is None else cast("DownscalingModel", averaged.module)
                entry |= validate_all(scored, settings, shares, config.minimised)
                validated = f", validation {entry['validation']:.4f}"
                if entry["validation"] < best:
                    best = entry["validation"]
                    keep(scored, kept, config, step, output / BEST)
            log.write(**entry)
            report(step, f"loss {entry['loss']:.4f}{validated}")
    return output / BEST


def _batches(
    config: TrainConfig, settings: Sequence[Setting], shares: Sequence[float]
) -> Iterator[Loaded]:
    return training_loader(
        [setting.train for setting in settings],
        weights=shares,
        batch_size=config.batch_size,
        seed=config.seed,
        first=0,
        last=config.steps,
        workers=config.data.workers,
        prefetch=config.data.prefetch,
        mirror=config.data.mirror,
    )


def _parts(batch: Sample, parts: int) -> Iterator[Sample]:
    size = batch.coarse.shape[0] // parts
    for start in range(0, batch.coarse.shape[0], size):
        yield batch.part(slice(start, start + size))
