"""The commands train, eval, export, import-orbit2 and demo, beside infer and those about data."""

import os
import sys
from importlib import metadata
from json import dumps
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from cyclopts import App, Parameter
from cyclopts.config import Dict
from cyclopts.validators import Number
from pydantic import BaseModel
from rich.console import Console

from orbitds.cli_data import catalog_app, check, prepare, tell
from orbitds.cli_infer import infer
from orbitds.config import (
    EvalConfig,
    Stage,
    TrainConfig,
    parse,
    read_config,
)
from orbitds.mistakes import DAMAGED, MISTAKES, end_unread, explain, fail, format_error
from orbitds.stop import Left

# Settings whose keys are names of variables or pairs, and no flags.
BY_VARIABLE = ("tv_weights", "pairs", "others")
CONFIGURED: tuple[Stage, ...] = get_args(Stage)
IMPORT = "import-orbit2"


def main() -> None:
    """Run the command line; the exit status is 0 only if all went well.

    It is 75 if a training run saved its state and left, to be started again.
    """
    try:
        try:
            app.meta(sys.argv[1:])
        finally:
            sys.stdout.flush()  # here, not at exit, it can be told who reads no longer
    except Left as left:
        sys.stderr.write(f"{left}\n")
        raise
    except BrokenPipeError:
        end_unread()
    except MISTAKES as error:
        fail(explain(error))
    except RuntimeError as error:
        if not DAMAGED.search(str(error)):
            raise
        fail(f"Wanted data that are whole, got: {error}. Copy or make the damaged file again.")


app = App(
    name="orbitds",
    help="Turn a coarse climate field into a fine one.",
    version=lambda: metadata.version("orbitds"),
    error_formatter=format_error,
    error_console=Console(stderr=True),
)
app.meta.group_parameters = app.group_parameters


@app.meta.default
def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Path | None = None,
) -> None:
    """Turn a coarse climate field into a fine one.

    Parameters
    ----------
    config
        For train, infer and eval: a YAML file with the same names as the flags, or the name of one
        in configs/. Flags override it. For import-orbit2: the YAML file published beside CKPT.
    """
    app.config = ()
    if config is not None and tokens[:1] == (IMPORT,):  # its own flag, ORBIT-2's settings
        tokens = (*tokens, "--config", str(config))
    elif config is not None:
        stage: Stage | None = next((name for name in CONFIGURED if name in tokens[:1]), None)
        if stage is None:
            raise ValueError(
                f"Wanted --config with one of {CONFIGURED}, got {' '.join(tokens)!r}. "
                "Leave --config out."
            )
        settings = read_config(config, stage)
        app.config = (Dict(_hyphenated(settings), use_commands_as_keys=False, source=str(config)),)
    app(tokens)


@app.command
def train(
    *,
    config: Annotated[TrainConfig | None, Parameter(name="*")] = None,
    output: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    processes: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Train a model on a data pair.

    Writes the resolved config, a log and the best weights into a run folder; `orbitds export`
    makes a checkpoint of it.

    Parameters
    ----------
    output
        Folder of the run; must be new or empty, unless the run goes on.
    resume
        Go on from the newest state in the folder; begin where there is none.
    dry_run
        Train nothing and write nothing: tell how the run is spread over processes, the memory of
        each, work and storage, and refuse what a run would refuse.
    processes
        With --dry-run: plan for so many, instead of those that the launcher started.
    json
        With --dry-run: as JSON, sizes in bytes.
    """
    settings = config or parse(TrainConfig, {}, source="orbitds train")
    if dry_run:
        _tell_plan(settings, processes, as_json=json)
        return
    if processes is not None or json:
        raise ValueError(
            "Wanted --processes and --json with --dry-run, got them alone. Add --dry-run, or leave "
            "them out: the launcher decides on the processes of a run."
        )
    if output is None:
        raise ValueError(
            "Wanted --output, a new folder for the run, got none. Name one, or add --dry-run to "
            "plan the run alone."
        )
    from orbitds.launch import launch_of
    from orbitds.train.loop import run

    best = run(settings, output, resume=resume)
    if launch_of(os.environ).is_main:
        tell(f"best weights: {best}")


@app.command
def export(
    run: Path,
    /,
    *,
    output: Path,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    title: str | None = None,
    licence: str | None = None,
    citation: str | None = None,
) -> None:
    """Make a checkpoint of the best weights of a run.

    Parameters
    ----------
    run
        Folder that `orbitds train` wrote.
    output
        Folder of the checkpoint; must be new or empty.
    dtype
        What weights are stored as: half the size in two bytes. They are read as float32.
    title
        What the checkpoint is, as `orbitds catalog checkpoints` tells it.
    licence
        Terms under which it may be used.
    citation
        What those who use it should cite.
    """
    import torch

    from orbitds.train.keep import export as export_run

    given = {"title": title, "licence": licence, "citation": citation}
    terms = {key: text for key, text in given.items() if text}
    export_run(run, output, dtype=getattr(torch, dtype), terms=terms)
    tell(f"checkpoint: {output}")


@app.command(name=IMPORT)
def import_orbit2(
    checkpoint: Path,
    /,
    *,
    config: Path,
    statistics: Path,
    statics: Path | None = None,
    output: Path,
    data: str | None = None,
    outputs: tuple[str, ...] | None = None,
    spacing_km: float | None = None,
) -> None:
    """Make a checkpoint of a published ORBIT-2 one; nothing in the file is executed.

    Parameters
    ----------
    checkpoint
        The published .ckpt file.
    config
        The YAML file published beside it.
    statistics
        Folder with normalize_mean.npz and normalize_std.npz, or the one with mean_std/ in it.
    statics
        Folder with land_sea_mask, orography, lattitude and landcover as global .npy fields, to go
        into the checkpoint; without it they are inputs.
    output
        Folder of the checkpoint; must be new or empty.
    data
        Data set of the YAML file that the checkpoint is for, such as ERA5_2.
    outputs
        Output variables, where the YAML file does not name those of the checkpoint.
    spacing_km
        Coarse spacing, where neither the statics nor the YAML file say it.
    """
    from orbitds.orbit2.convert import import_orbit2 as convert

    told = {"data": data, "outputs": outputs, "spacing_km": spacing_km}
    convert(checkpoint, output, config=config, statistics=statistics, statics=statics, **told)
    tell(f"checkpoint: {output}")


@app.command(name="eval")
def evaluate(*, config: Annotated[EvalConfig, Parameter(name="*")]) -> None:
    """Score a prediction against the truth, and report it.

    Writes report.html, a page that needs no network, and the same numbers as scores.md,
    scores.json and scores.nc. With --coarse the simple methods are scored beside it; those that
    learn need a training period, by --pair or --train-truth and --train-coarse. Predictions of
    other models go beside it: --others.unet FILE.
    """
    from orbitds.eval.heap import share_heap
    from orbitds.eval.report import Table, show
    from orbitds.eval.run import run

    share_heap()
    show(Table.of(run(config)))
    tell(f"wrote {config.output / 'report.html'}, and scores as .md, .json and .nc beside it")


@app.command
def demo(
    *, output: Path = Path("orbitds-demo"), steps: int | None = None, overwrite: bool = False
) -> None:
    """Train, downscale, score and draw maps on the embedded winds: the whole way in minutes.

    Parameters
    ----------
    output
        Folder for fine.nc, fine.zarr, report.html, scores.md, checkpoint/ and maps/.
    steps
        Training steps, instead of those of configs/train/demo.yaml; fewer is faster and worse.
    overwrite
        Replace an earlier demo in the folder.
    """
    from orbitds.demo import run

    run(output, steps=steps, overwrite=overwrite)


app.command(catalog_app)
app.command(check)
app.command(prepare)
app.command(infer)


def _tell_plan(config: TrainConfig, processes: int | None, *, as_json: bool) -> None:
    from orbitds.launch import launch_of
    from orbitds.train.plan import plan

    launch = launch_of(os.environ)
    found = plan(config, processes or launch.world)
    if launch.is_main:
        tell(dumps(found.values, indent=2) if as_json else found.describe())


def _hyphenated(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings under the names of the flags."""
    return {
        key.replace("_", "-"): _hyphenated(value)
        if isinstance(value, dict) and key not in BY_VARIABLE
        else _plain(value)
        for key, value in settings.items()
    }


def _plain(value: object) -> object:
    return value.model_dump() if isinstance(value, BaseModel) else value
