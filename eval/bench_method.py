"""Train one method on one task and predict the test period: one part of a benchmark.

    ORBITDS_DATA=... python eval/bench_method.py wfde5_to_eobs_bavaria_5x unet --output bench

What it may cost stands in eval/benchmarks/tasks.yaml. Training and prediction go through the doors
of users. A part that was stopped goes on where it was; one that is finished is left as it is.
eval/bench_tasks.py starts many of these, scores them, and makes the tables.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
import xarray as xr
import yaml

from orbitds.checkpoint import load_checkpoint
from orbitds.config import TrainConfig, parse
from orbitds.data.pair import open_pair
from orbitds.device import choose_device
from orbitds.resources import locate, read_yaml
from orbitds.train.loop import run as train

BENCHMARK = Path(__file__).parent / "benchmarks" / "tasks.yaml"
# What a finished part leaves: the prediction, and what it cost, written last.
PREDICTION, RESULT = "fine.nc", "result.json"
# A rehearsal: no method learns anything from it.
TINY = {"steps": 2, "batch_size": 2, "rates": [1e-3], "validations": 1}


def main() -> None:
    """Do one part of the benchmark."""
    options = parser().parse_args()
    do(options.task, options.method, options.output, options.benchmark, changes_of(options))


def do(task: str, method: str, output: Path, benchmark: Path, changes: dict[str, Any]) -> dict:
    """Train a method at each learning rate, predict the test period with the best, tell the cost.

    Parameters
    ----------
    output
        Folder of the benchmark; this part has ``output/task/method``.
    changes
        What of the budget is otherwise than in the file.

    Raises
    ------
    ValueError
        If the part is there already, with another budget.
    """
    settings = read_yaml(benchmark)
    budget = settings["budget"] | changes
    folder = output / task / method
    known = finished(folder, budget)
    if known is not None:
        return known
    folder.mkdir(parents=True, exist_ok=True)
    pair = pair_of(task, settings["tasks"][task], folder, is_tiny=budget.get("tiny", False))
    started = time.perf_counter()
    runs = []
    for rate in budget["rates"]:
        config = config_of(settings, task, method, pair, budget, rate)
        runs.append(_trained(config, folder / f"rate_{rate:g}"))
        print(f"{task} {method}: rate {rate:g}, {runs[-1]}", flush=True)
    trained = time.perf_counter()
    best = min(runs, key=lambda run: run["validation"])
    checkpoint = folder / best["folder"] / "best"
    _predict(pair, checkpoint, config, folder / PREDICTION)
    device = choose_device(None)
    weights = load_checkpoint(str(checkpoint)).model.parameters()
    result = {
        "task": task,
        "method": method,
        "model": config.model.model_dump(mode="json"),
        "parameters": sum(weight.numel() for weight in weights),
        "budget": budget,
        "runs": runs,
        "best": best,
        "seconds": {
            "train": round(trained - started, 1),
            "predict": round(time.perf_counter() - trained, 1),
        },
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "torch": torch.__version__,
    }
    partial = folder / f".{RESULT}"
    partial.write_text(json.dumps(result, indent=2), encoding="utf-8")
    partial.replace(folder / RESULT)
    return result


def finished(folder: Path, budget: dict[str, Any]) -> dict | None:
    """Return the result of a part that is finished, None of one that is not."""
    if not (folder / RESULT).is_file():
        return None
    result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    if result["budget"] != budget:
        raise ValueError(
            f"Wanted the budget {budget} in {folder}, got {result['budget']} of an earlier run. "
            "Choose another --output, or remove the folder."
        )
    return result


def pair_of(task: str, row: dict[str, Any], folder: Path, *, is_tiny: bool) -> str:
    """Return the name of the task's pair, or the path of one with a shorter validation period."""
    validate = row.get("validate")
    if validate is None and not is_tiny:
        return task
    entry = read_yaml(locate(task, "data_catalog/pairs"))
    split = entry["split"]
    first = split["validate"][0]
    split["validate"] = [first, first] if validate is None else validate
    path = folder / f"{task}.yaml"
    path.write_text(yaml.safe_dump(entry), encoding="utf-8")
    return str(path)


def config_of(
    settings: dict[str, Any],
    task: str,
    method: str,
    pair: str,
    budget: dict[str, Any],
    rate: float,
) -> TrainConfig:
    """Return the settings of one training run."""
    row, named = settings["tasks"][task], settings["methods"][method]
    rows, columns = row.get("tiles", (1, 1))
    steps, validations = budget["steps"], budget["validations"]
    every = max(1, steps // validations)
    values = {
        "pair": pair,
        "model": {**settings["sizes"][row["size"]][named["kind"]], **named},
        "tiles": {"rows": rows, "columns": columns},
        "optim": {"lr": rate, "warmup_steps": max(1, steps // 20)},
        "steps": steps,
        "batch_size": budget["batch_size"],
        "validate_every": every,
        "patience": budget["patience"],
        "save": {"keep_last": 1},
        "log": {"every": every, "tensorboard": False},
    }
    return parse(TrainConfig, values, source=f"{task}, {method}")


def _trained(config: TrainConfig, folder: Path) -> dict[str, Any]:
    """Train at one rate, or go on with it, and return how well it does on the validation period."""
    started = time.perf_counter()
    train(config, folder, resume=True)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    looks = [line for line in lines if line.get("validation") is not None]
    best = min(looks, key=lambda line: line["validation"])
    return {
        "folder": folder.name,
        "rate": config.optim.lr,
        "validation": best["validation"],
        "best_step": best["step"],
        "steps": lines[-1]["step"],
        "samples": lines[-1]["step"] * config.batch_size,
        "seconds": round(time.perf_counter() - started, 1),
    }


def _predict(pair: str, checkpoint: Path, config: TrainConfig, path: Path) -> None:
    """Write the prediction of the test period, as a user would make it."""
    coarse = open_pair(pair).part("test").coarse.compute()
    tiles = config.tiles.rows, config.tiles.columns
    fine: xr.Dataset = coarse.orbit.downscale(
        str(checkpoint), missing="mask", tiles=None if tiles == (1, 1) else tiles, dtype="float32"
    )
    fine.to_netcdf(path)


def parser() -> argparse.ArgumentParser:
    """Return the options of one part."""
    told = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    told.add_argument("task", help="a pair of the catalog that stands in the benchmark")
    told.add_argument("method", help="a method of the benchmark")
    add_common(told)
    return told


def add_common(told: argparse.ArgumentParser) -> None:
    """Add the options that a part and the whole have in common."""
    told.add_argument("--output", type=Path, required=True, help="folder of the benchmark")
    told.add_argument("--benchmark", type=Path, default=BENCHMARK, help="tasks, methods and budget")
    told.add_argument("--steps", type=int, help="steps at each learning rate")
    told.add_argument("--rates", type=float, nargs="+", help="learning rates that are tried")
    told.add_argument("--tiny", action="store_true", help="a rehearsal of two steps")


def changes_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what of the budget the options change."""
    told = {"steps": options.steps, "rates": options.rates}
    given = {key: value for key, value in told.items() if value is not None}
    return ({**TINY, "tiny": True} if options.tiny else {}) | given


if __name__ == "__main__":
    main()
