"""The training loop, to be read from the top down."""

import shutil
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch

from orbitds.config import TrainConfig
from orbitds.data.loader import Loaded, training_loader
from orbitds.data.order import Order
from orbitds.data.pair import Pair, open_pair
from orbitds.device import choose_device
from orbitds.model.build import build
from orbitds.model.interface import DownscalingModel
from orbitds.progress import progress
from orbitds.train.course import Course
from orbitds.train.engine import make_engine
from orbitds.train.folder import BEST
from orbitds.train.launch import ALONE, Launch, launched, main_first
from orbitds.train.mesh import Mesh, make_mesh
from orbitds.train.setting import Setting, prepare_all, union_of
from orbitds.train.step import Numbers, take_step

# What a run folder holds.
RESOLVED = "config.json"


def run(config: TrainConfig, output: Path) -> Path:
    """Train from a config and leave a run folder: resolved config, log and the best weights.

    Called by each process of a run, as torchrun or srun start them; or by one alone.

    Returns
    -------
    pathlib.Path
        The folder of the best weights, in checkpoint format.

    Raises
    ------
    FileExistsError
        If the folder holds something already.
    """
    with launched(config.device) as (launch, device):
        main_first(launch, lambda: _check_folder(output))
        pairs = [open_pair(name) for name in config.mixture]
        main_first(launch, lambda: _begin(config, output))
        try:
            return fit(config, pairs, output, launch=launch, device=device)
        except (ValueError, OSError, RuntimeError):
            # data or settings that do not fit make no run
            if launch.is_main and not (output / BEST).exists():
                shutil.rmtree(output)
            raise


def fit(
    config: TrainConfig,
    pairs: Sequence[Pair],
    output: Path,
    *,
    launch: Launch = ALONE,
    device: torch.device | None = None,
) -> Path:
    """Train a model on the pairs of ``config.mixture``; see ``run``."""
    device = choose_device(config.device) if device is None else device
    mesh = make_mesh(config.parallel, launch, device)
    settings = prepare_all(config, pairs, device)
    model = _model(config, pairs[0], settings, mesh, device)
    engine = make_engine(model, config, mesh)
    course = Course(config, settings, engine, mesh, output)
    pending: Numbers | None = None
    with progress("train", config.steps) as report:
        batches = _batches(config, settings, mesh)
        for step in range(1, config.steps + 1):
            parts = islice(batches, config.accumulate)
            numbers = take_step(engine, parts, settings, config, mesh, step=step)
            # the numbers of a step are read during the next: the device is not waited for
            if pending is not None:
                report(pending.step, course.follow(pending))
            pending = numbers
            if step % config.validate_every == 0 or step == config.steps:
                report(step, course.follow(pending, validates=True))
                pending = None
    return output / BEST


def _model(
    config: TrainConfig, pair: Pair, settings: Sequence[Setting], mesh: Mesh, device: torch.device
) -> DownscalingModel:
    """Build the model, alike in all processes."""
    torch.manual_seed(config.seed)
    model = build(
        config.architecture,
        inputs=union_of(settings)[0],
        outputs=pair.outputs,
        statics=pair.static_names,
        factor=pair.factor,
    )
    # one that is shared may be too large for a device: FSDP takes it there piece by piece
    stays = mesh.weights is not None and mesh.sizes["tensor"] == 1
    return model if stays else model.to(device)


def _batches(config: TrainConfig, settings: Sequence[Setting], mesh: Mesh) -> Iterator[Loaded]:
    return training_loader(
        [setting.train for setting in settings],
        order=Order(
            seed=config.seed,
            batch_size=config.batch_size,
            parts=config.accumulate,
            first=0,
            last=config.steps,
            rank=mesh.data_rank,
            world=mesh.data_world,
            weights=tuple(config.mixture.values()),
            shuffle=config.tiles.order,
        ),
        workers=config.data.workers,
        prefetch=config.data.prefetch,
        mirror=config.data.mirror,
    )


def _check_folder(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(
            f"Wanted a new or empty folder for the run, got {output}, which exists. "
            "Choose another one, or remove it."
        )


def _begin(config: TrainConfig, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    (output / RESOLVED).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
