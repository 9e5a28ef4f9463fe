"""The training loop, to be read from the top down."""

import shutil
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
import torch.distributed as dist

from orbitds.config import TrainConfig
from orbitds.data.loader import Loaded, training_loader
from orbitds.data.order import Order
from orbitds.data.pair import Pair, open_pair
from orbitds.device import choose_device, reproducible
from orbitds.model.build import build
from orbitds.model.interface import DownscalingModel
from orbitds.progress import progress
from orbitds.train.balance import balanced
from orbitds.train.course import Course
from orbitds.train.engine import Engine, make_engine
from orbitds.train.folder import BEST, STATES, check_new, check_same_run, write_settings
from orbitds.train.launch import ALONE, Launch, launched
from orbitds.train.log import tell_pairs
from orbitds.train.mesh import Mesh, make_mesh
from orbitds.train.mixture import Scope
from orbitds.train.record import write_record
from orbitds.train.setting import Setting, prepare_all
from orbitds.train.start import begin, tell_notes
from orbitds.train.states import States
from orbitds.train.step import Numbers, take_step
from orbitds.train.stop import Stop
from orbitds.train.together import Together


def run(config: TrainConfig, output: Path, *, resume: bool = False) -> Path:
    """Train from a config and leave a run folder: settings, log, states and the best weights.

    Called by each process of a run, as torchrun or srun start them; or by one alone.

    Parameters
    ----------
    resume
        Go on from the newest state in the folder; begin where there is none.

    Returns
    -------
    pathlib.Path
        The folder of the best weights, in checkpoint format.

    Raises
    ------
    FileExistsError
        If the folder holds something already, and the run is not to go on from it.
    ValueError
        If the run in the folder has other settings or data.
    Stopped
        If a signal or the end of the job stopped the run, after its state is saved.
    """
    check = check_same_run if resume else check_new
    with launched(config.device) as (launch, device):
        together = _everyone(launch)
        together.by_main(check, config, output)
        pairs = [open_pair(name) for name in config.mixture]
        together.by_main(write_settings, config, output)
        try:
            return fit(config, pairs, output, launch=launch, device=device)
        except (ValueError, OSError, RuntimeError):
            # data or settings that do not fit make no run
            kept = (output / BEST, output / STATES)
            if launch.is_main and not any(place.exists() for place in kept):
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
    """Train a model on the pairs of ``config.mixture``, from the newest state in the folder if any.

    See ``run``; the folder exists.
    """
    device = choose_device(config.device) if device is None else device
    mesh = make_mesh(config.parallel, launch, device)
    together = _everyone(launch)
    settings = prepare_all(config, pairs, device)
    together.by_main(write_record, config, settings, launch, device, output)
    settings = balanced(config, settings, together, output)
    with reproducible(config.deterministic), Stop(config.save) as stop:
        engine = _engine(config, settings, mesh, device, output)
        states = States(output / STATES, config.save, launch, _host_group(launch))
        first = _restore(engine, states)
        facts = {} if first is None else first
        start = facts.get("step", 0)
        with (
            Course(config, settings, engine, mesh, output, facts=facts) as course,
            progress("train", config.steps) as report,
        ):
            if not start and launch.is_main:
                tell_pairs(pairs)
            batches = _batches(config, settings, mesh, first=start)
            pending: Numbers | None = None
            for step in range(start + 1, config.steps + 1):
                if course.is_over:
                    break
                parts = islice(batches, config.accumulate)
                numbers = take_step(
                    engine,
                    parts,
                    settings,
                    config,
                    mesh,
                    step=step,
                    wants_stop=stop.reason() is not None,
                )
                course.clock(numbers)
                # the numbers of a step are read during the next: the device is not waited for
                if pending is not None:
                    report(pending.step, course.follow(pending))
                pending = numbers
                states.poll()
                if course.due(step):
                    report(step, course.follow(pending, validates=course.validates(step)))
                    pending = None
                    course.save(states, step)
                if course.is_stopped and step < config.steps and not course.is_over:
                    if pending is not None:
                        report(step, course.follow(pending))
                    course.leave(states, step, stop.reason())
            states.wait()
    return output / BEST


def _engine(
    config: TrainConfig, settings: Sequence[Setting], mesh: Mesh, device: torch.device, output: Path
) -> Engine:
    """Build the model, alike in all processes, and give it to its engine."""
    torch.manual_seed(config.seed)
    scope = Scope.of(settings)
    model: DownscalingModel = build(
        config.architecture,
        inputs=scope.inputs,
        outputs=scope.outputs,
        statics=scope.statics,
        factor=scope.factors,
    )
    notes = begin(model, config)
    if mesh.rank == 0:
        tell_notes(notes, output)
    # one that is shared may be too large for a device: FSDP takes it there piece by piece
    stays = mesh.is_shared and mesh.sizes["tensor"] == 1
    return make_engine(model if stays else model.to(device), config, mesh)


def _everyone(launch: Launch) -> Together:
    return Together(launch, None if launch.master is None else dist.group.WORLD)


def _host_group(launch: Launch) -> dist.ProcessGroup | None:
    """Return all processes as they talk of what lies in host memory; None if there is one."""
    if launch.master is None:
        return None
    group = dist.new_group(backend="gloo")
    assert isinstance(group, dist.ProcessGroup)  # of all processes, so of this one
    return group


def _restore(engine: Engine, states: States) -> dict | None:
    """Fill the engine from the newest whole state, and return the facts of it."""
    facts = states.load(engine.state())
    if facts is not None:
        engine.restored(facts["step"])
    return facts


def _batches(
    config: TrainConfig, settings: Sequence[Setting], mesh: Mesh, *, first: int
) -> Iterator[Loaded]:
    return training_loader(
        [setting.train for setting in settings],
        order=Order(
            seed=config.seed,
            batch_size=config.batch_size,
            parts=config.accumulate,
            first=first,
            last=config.steps,
            rank=mesh.data_rank,
            world=mesh.data_world,
            weights=tuple(config.mixture.values()),
            shuffle="crops" if config.tiles.crop_cells else config.tiles.order,
        ),
        workers=config.data.workers,
        prefetch=config.data.prefetch,
        mirror=config.data.mirror,
    )
