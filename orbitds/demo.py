"""The main job on the embedded data, through the doors users have."""

import time
from importlib.util import find_spec
from pathlib import Path

import xarray as xr

from orbitds.config import EvalConfig, InferConfig, TrainConfig, parse, read_config
from orbitds.data.pair import Pair, open_pair
from orbitds.eval import run as score
from orbitds.eval.maps import draw_bias, draw_maps
from orbitds.eval.report import FILES as REPORT
from orbitds.eval.report import Table, show
from orbitds.infer import run as infer
from orbitds.output import remove
from orbitds.periods import told
from orbitds.train import loop
from orbitds.train.keep import export

# What a demo leaves in its folder; anything else there is somebody's own.
OUTPUTS = (
    "coarse.nc", "truth.nc", "fine.nc", "fine.zarr", *REPORT, "checkpoint", "run", "maps",
)  # fmt: skip


def run(output: Path, *, steps: int | None = None, overwrite: bool = False) -> Table:
    """Train a small Reslim, downscale the test years, score them and draw maps.

    Parameters
    ----------
    output
        Folder to write into.
    steps
        Training steps instead of those of the config.
    overwrite
        Replace an earlier demo in the folder.

    Raises
    ------
    FileExistsError
        If the folder holds an earlier demo and may not be replaced.
    ImportError
        If cartopy is not installed.
    ValueError
        If there are no steps.
    """
    started = time.monotonic()
    if find_spec("cartopy") is None:  # after the training it would be late to hear of it
        raise ImportError(
            "Wanted cartopy for the maps, got an installation without it. "
            "Install it: pip install orbitds[maps]"
        )
    settings = read_config("demo", "train") | ({} if steps is None else {"steps": steps})
    config = parse(TrainConfig, settings, source="configs/train/demo.yaml")
    pair = open_pair(*config.mixture)
    _clear(output, overwrite=overwrite)
    _say(f"{pair.name}: {pair.coarse_grid} -> {pair.fine_grid}")
    _say(f"training on {told(pair.split['train'])}, {config.steps} steps")
    loop.run(config, output / "run")
    export(output / "run", output / "checkpoint")
    _write_test_years(pair, output)
    _say(f"downscaling {told(pair.split['test'])}, which it has not seen")
    checkpoint = str(output / "checkpoint")
    with xr.open_dataset(output / "coarse.nc") as coarse:
        fine = coarse.orbit.downscale(checkpoint).load()
    for name in ("fine.nc", "fine.zarr"):
        path = output / name
        source = (str(output / "coarse.nc"),)
        infer.run(InferConfig(input=source, checkpoint=checkpoint, output=path))
    with xr.open_dataset(output / "fine.nc") as written:
        xr.testing.assert_allclose(fine, written)  # notebook and command give the same
    scores = score.run(
        EvalConfig(
            prediction=str(output / "fine.zarr"),
            truth=str(output / "truth.nc"),
            coarse=str(output / "coarse.nc"),
            checkpoint=checkpoint,
            output=output,
            label="Reslim",
        )
    )
    scored = Table.of(scores)
    _say("drawing maps")
    _draw(output, pair.outputs)
    show(scored)
    _say(f"{time.monotonic() - started:.0f} s; see {output}/report.html and {output}/maps")
    return scored


def _clear(output: Path, *, overwrite: bool) -> None:
    earlier = [output / name for name in OUTPUTS if (output / name).exists()]
    if earlier and not overwrite:
        raise FileExistsError(
            f"Wanted a folder without an earlier demo, got {output} with {earlier[0].name}. "
            "Choose another one with --output, or replace it with --overwrite."
        )
    remove(earlier)
    output.mkdir(parents=True, exist_ok=True)


def _write_test_years(pair: Pair, output: Path) -> None:
    """Write what a user would have, the coarse file, and what a user would not, the truth."""
    test = pair.part("test")
    for ds, name in ((test.coarse, "coarse.nc"), (test.fine, "truth.nc")):
        clean = ds.drop_attrs(deep=False)
        for variable in clean.variables.values():
            variable.encoding = {}
        clean.to_netcdf(output / name)


def _draw(output: Path, names: tuple[str, ...]) -> None:
    with (
        xr.open_dataset(output / "coarse.nc") as coarse,
        xr.open_dataset(output / "fine.nc") as fine,
        xr.open_dataset(output / "truth.nc") as truth,
    ):
        bias = {}
        for name in names:
            first = {"time": 0}
            draw_maps(
                coarse[name].isel(first),
                fine[name].isel(first),
                truth[name].isel(first),
                output / "maps" / f"{name}.png",
            )
            bias[name] = (fine[name] - truth[name]).mean("time", keep_attrs=True)
            draw_bias({name: bias[name]}, output / "maps" / f"{name}_bias.png")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  the demo talks to a person
