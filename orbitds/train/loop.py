"""The training loop, to be read from the top down."""

import json
import platform
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from orbitds.checkpoint import Region, load_checkpoint, save_checkpoint
from orbitds.config import TrainConfig
from orbitds.data.climatology import Climatology
from orbitds.data.loader import collate, training_loader
from orbitds.data.pair import Pair, open_pair, stack
from orbitds.data.sample import Sample, Samples
from orbitds.data.stats import statistics
from orbitds.loss import bayesian_tv
from orbitds.metrics import Scores
from orbitds.model.reslim import Reslim
from orbitds.normalize import Normalizer, Statistics
from orbitds.progress import progress
from orbitds.tiles import TileGrid
from orbitds.train.log import JsonLines
from orbitds.train.optim import make_optimizer
from orbitds.variables import variable

# What a run folder holds.
BEST, LOG, RESOLVED = "best", "log.jsonl", "config.json"


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
    pair = open_pair(config.pair)
    output.mkdir(parents=True, exist_ok=True)
    (output / RESOLVED).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return fit(config, pair, output)


def fit(config: TrainConfig, pair: Pair, output: Path) -> Path:
    """Train Reslim on a pair; see ``run``."""
    torch.manual_seed(config.seed)
    device = torch.device(choose_device(config.device))
    setting = prepare(config, pair)
    model = Reslim(
        config.model,
        inputs=pair.inputs,
        outputs=pair.outputs,
        statics=pair.static_names,
        factor=pair.factor,
    ).to(device)
    averaged = (
        AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
        if config.ema_decay
        else None
    )
    optimizer, schedule = make_optimizer(model, config.optim, config.steps)
    log = JsonLines(output / LOG)
    best = float("inf")
    with progress("train", config.steps) as report:
        for step, batch in enumerate(_batches(config, setting.train), start=1):
            model.train()
            loss = torch.zeros((), device=device)
            # sums over the whole batch before the division: each fine cell counts by its weight
            total_weight = batch.weight.sum().to(device)
            for part in _parts(batch, config.accumulate, device):
                value = _loss(model, part, setting, config) / total_weight
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
                scored = model if averaged is None else averaged.module
                entry |= validate(scored, setting, device)
                if entry["validation"] < best:
                    best = entry["validation"]
                    _keep(scored, setting, config, step, output / BEST)
            log.write(**entry)
            report(step, " ".join(f"{key} {value:.4g}" for key, value in list(entry.items())[1:]))
    return output / BEST


@dataclass(frozen=True, eq=False)
class Setting:
    """What a run draws from."""

    pair: Pair
    statistics: dict[str, Statistics]
    climatology: Climatology | None
    tiles: TileGrid
    train: Samples
    validate: Samples
    scores: dict[str, float] = field(default_factory=dict)


def prepare(config: TrainConfig, pair: Pair) -> Setting:
    """Compute statistics and climatology of the training years, and lay out the samples."""
    train = pair.part("train")
    rows = statistics(train)
    climatology = Climatology.of(train) if config.model.base == "delta" else None
    tiles = TileGrid(
        *pair.coarse_grid.shape,
        rows=config.tiles.rows,
        columns=config.tiles.columns,
        halo_cells=config.tiles.halo_cells,
        periodic=pair.coarse_grid.periodic,
    )
    return Setting(
        pair=pair,
        statistics=rows,
        climatology=climatology,
        tiles=tiles,
        train=Samples(train, rows, tiles, climatology=climatology, own_year_out=True),
        validate=Samples(pair.part("validate"), rows, tiles, climatology=climatology),
    )


def choose_device(name: str) -> str:
    """Return a device name for ``auto``: the first GPU, else the CPU."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def validate(model: torch.nn.Module, setting: Setting, device: torch.device) -> dict[str, float]:
    """Return the normalised validation error and the RMSE of each output in its unit."""
    model.eval()
    samples = setting.validate
    scores = {name: Scores() for name in setting.pair.outputs}
    inverse = Normalizer(setting.pair.outputs, setting.statistics).inverse
    total = weight = 0.0
    for index in range(len(samples)):
        batch = _to(collate([samples[index]]), device)
        with torch.inference_mode():
            prediction, _ = _forward(model, batch, setting)
        error, cells = bayesian_tv(prediction, batch.fine, weight=batch.weight, tv_weight=0.0)
        total += float(error)
        weight += float(cells)
        core = batch.weight[0].cpu()
        truth = torch.where(core > 0, inverse(batch.fine[0].cpu()), torch.nan)
        fine = inverse(prediction[0].float().cpu())
        for place, name in enumerate(setting.pair.outputs):
            scores[name].add(
                fine[place][None], truth[place][None], core[place], variable(name).range
            )
    rmse = {f"rmse_{name}": scores[name].result(1.0)["rmse"] for name in scores}
    return {"validation": total / weight, **rmse}


def export(run_folder: Path, output: Path) -> None:
    """Write the best weights of a run as a checkpoint folder.

    Raises
    ------
    FileNotFoundError
        If the folder holds no finished validation.
    """
    best = run_folder / BEST
    if not best.is_dir():
        raise FileNotFoundError(
            f"Wanted a run folder with {BEST}/, got {run_folder}. "
            "Give the folder that `orbitds train --output` wrote; a run has weights after its "
            "first validation."
        )
    checkpoint = load_checkpoint(best)
    description = checkpoint.description
    save_checkpoint(
        output,
        checkpoint.model,
        statistics=description.statistics,
        spacing_km=description.spacing_km,
        provenance=description.provenance,
        region=checkpoint.region,
    )


def _batches(config: TrainConfig, samples: Samples) -> Iterator[Sample]:
    return iter(
        training_loader(
            samples, batch_size=config.batch_size, seed=config.seed, first=0, last=config.steps
        )
    )


def _parts(batch: Sample, parts: int, device: torch.device) -> Iterator[Sample]:
    size = batch.coarse.shape[0] // parts
    for start in range(0, batch.coarse.shape[0], size):
        yield _to(Sample(*(tensor[start : start + size] for tensor in batch)), device)


def _to(batch: Sample, device: torch.device) -> Sample:
    return Sample(*(tensor.to(device, non_blocking=True) for tensor in batch))


def _forward(model: torch.nn.Module, batch: Sample, setting: Setting) -> tuple[Tensor, Tensor]:
    has_statics = batch.statics.shape[1] > 0
    return model.forward_with_base(  # pyright: ignore[reportCallIssue]  Reslim
        batch.coarse,
        latitude_deg=batch.latitude_deg,
        longitude_deg=batch.longitude_deg,
        spacing_km=batch.spacing_km,
        statics=batch.statics if has_statics else None,
        climatology=(
            None
            if setting.climatology is None
            else (batch.fine_climatology, batch.coarse_climatology)
        ),
        periodic=setting.tiles.wraps,
    )


def _loss(model: Reslim, batch: Sample, setting: Setting, config: TrainConfig) -> Tensor:
    """Return the weighted sum of the loss over a part of a batch."""
    autocast = (
        torch.autocast(batch.coarse.device.type, dtype=torch.bfloat16)
        if config.dtype == "bfloat16"
        else nullcontext()
    )
    with autocast:
        prediction, base = _forward(model, batch, setting)
    return bayesian_tv(
        prediction.float(),
        batch.fine,
        weight=batch.weight,
        tv_weight=config.loss.tv_weight,
        tv_diagonal=config.loss.tv_diagonal,
        base=base if config.loss.tv_of == "residual" else None,
        periodic=setting.tiles.wraps,
    )[0]


def _keep(
    model: torch.nn.Module, setting: Setting, config: TrainConfig, step: int, folder: Path
) -> None:
    """Write the weights beside the earlier best ones, then take their place."""
    partial, old = folder.with_suffix(".partial"), folder.with_suffix(".old")
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    pair = setting.pair
    save_checkpoint(
        partial,
        model,  # pyright: ignore[reportArgumentType]  Reslim, or its running mean
        statistics=setting.statistics,
        spacing_km=(pair.coarse_grid.spacing_km, pair.fine_grid.spacing_km),
        provenance={
            "pair": pair.name,
            "period": list(pair.split["train"]),
            "step": step,
            "config": json.loads(config.model_dump_json()),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        region=_region(setting),
    )
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _region(setting: Setting) -> Region:
    pair = setting.pair
    names = pair.static_names
    statics = stack(pair.statics, names).values if names else np.zeros((0, *pair.fine_grid.shape))
    if setting.climatology is None:
        return Region(pair.fine_grid, statics)
    fine, coarse = setting.climatology.means()
    return Region(pair.fine_grid, statics, fine, coarse)
