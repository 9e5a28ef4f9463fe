"""Compare methods on the tasks of real data, at an equal training budget.

    ORBITDS_DATA=... python eval/bench_tasks.py --output bench --jobs 4

Each method of each task is a process of its own (eval/bench_method.py), some of them at a time.
When the last one of a task has ended, `orbitds eval` scores all that there are, with the simple
methods beside them, and the tables are written. One that fails leaves the others alone, and what is
finished is not done again. Tasks, methods, sizes and the budget stand in
eval/benchmarks/tasks.yaml. --tiny rehearses.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from bench_method import PREDICTION, RESULT, add_common, changes_of, finished
from bench_table import LOG, SCORES, short, write_tables

from orbitds.eval.baselines import METHODS
from orbitds.resources import read_yaml

PART = Path(__file__).with_name("bench_method.py")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts, score them, write the tables; return 1 if something is missing."""
    options = parser().parse_args(arguments)
    settings = read_yaml(options.benchmark)
    parts = parts_of(settings, options.tasks, options.methods)
    budget = settings["budget"] | changes_of(options)
    for task, method in parts:  # another budget is refused before anything is done
        finished(options.output / task / method, budget)
    options.output.mkdir(parents=True, exist_ok=True)
    whole = Whole(options, parts)
    with ThreadPoolExecutor(options.jobs) as pool:
        begun = whole.start(pool)
    print(short(write_tables(options.output)))
    for future in begun:
        future.result()  # raises what is no part's failure
    return 0 if whole.is_done else 1


class Whole:
    """All parts of a benchmark and the scores of its tasks, done by a pool of threads.

    Each thread waits for one process at a time.
    """

    def __init__(self, options: argparse.Namespace, parts: Sequence[tuple[str, str]]) -> None:
        self.options, self.parts = options, parts
        self.ends = time.monotonic() + 60 * options.minutes
        self.lock = Lock()
        self.left = {task: sum(named[0] == task for named in parts) for task, _ in parts}
        self.is_done = True

    def start(self, pool: ThreadPoolExecutor) -> list[Future]:
        """Begin all parts, in their order as threads come free."""
        return [pool.submit(self._part, *named) for named in self.parts]

    def _part(self, task: str, method: str) -> None:
        """Do one part; whoever does the last one of a task scores it."""
        done = self._trained(task, method)
        with self.lock:
            self.left[task] -= 1
            self.is_done &= done
            is_last = self.left[task] == 0
        if is_last:
            scored = self._scored(task)
            with self.lock:
                self.is_done &= scored
                write_tables(self.options.output, task)

    def _trained(self, task: str, method: str) -> bool:
        folder = self.options.output / task / method
        if (folder / RESULT).is_file():
            return True
        if time.monotonic() > self.ends:
            print(f"{task} {method}: not begun, the time is over", flush=True)
            return False
        command = [str(PART), task, method, "--output", str(self.options.output)]
        command += ["--benchmark", str(self.options.benchmark), *_given(self.options)]
        return self._run(f"{task} {method}", command, folder / LOG)

    def _scored(self, task: str) -> bool:
        """Score all predictions of a task that there are, unless that is done already."""
        folder = self.options.output / task
        predictions = {
            path.parent.name: path.parent / PREDICTION
            for path in sorted(folder.glob(f"*/{RESULT}"))
        }
        if not predictions:
            return False
        if scored_methods(folder / SCORES) == set(predictions):
            return True
        (label, first), *others = predictions.items()
        command = ["-m", "orbitds", "eval", "--prediction", str(first), "--label", label]
        for name, path in others:
            command += [f"--others.{name}", str(path)]
        command += ["--pair", task, "--missing", "mask", "--overwrite"]
        command += ["--output", str((folder / SCORES).parent)]
        return self._run(f"{task} scores", command, folder / LOG)

    def _run(self, what: str, command: Sequence[str], log: Path) -> bool:
        """Run Python in a process of its own; what it says goes into a log."""
        log.parent.mkdir(parents=True, exist_ok=True)
        threads = max(1, (os.cpu_count() or 1) // self.options.jobs)
        environment = {"OMP_NUM_THREADS": str(threads)} | os.environ
        started = time.monotonic()
        with log.open("a", encoding="utf-8") as file:
            ended = subprocess.run(
                [sys.executable, *command],
                stdout=file, stderr=subprocess.STDOUT, env=environment, check=False,
            )  # fmt: skip
        told = "done" if ended.returncode == 0 else f"FAILED, see {log}"
        print(f"{what}: {told}, {time.monotonic() - started:.0f} s", flush=True)
        return ended.returncode == 0


def parts_of(
    settings: dict[str, Any], tasks: Sequence[str] | None, methods: Sequence[str] | None
) -> list[tuple[str, str]]:
    """Return the parts that are wanted, in the order of the file.

    Raises
    ------
    ValueError
        If a task or method is none of the benchmark's.
    """
    for wanted, known in ((tasks, settings["tasks"]), (methods, settings["methods"])):
        unknown = [name for name in wanted or () if name not in known]
        if unknown:
            raise ValueError(
                f"Wanted names of the benchmark, some of {list(known)}, got {unknown}. Correct "
                "them, or add them to its file."
            )
    return [
        (task, method)
        for task, row in settings["tasks"].items()
        for method, named in settings["methods"].items()
        if tasks is None or task in tasks
        if methods is None or method in methods
        if "base" not in named or named["base"] in row.get("base", [named["base"]])
    ]


def scored_methods(scores: Path) -> set[str]:
    """Return the trained methods that a file of scores has; none if there is no file."""
    if not scores.is_file():
        return set()
    rows = json.loads(scores.read_text(encoding="utf-8"))["rows"]
    return {row["method"] for row in rows} - set(METHODS)


def _given(options: argparse.Namespace) -> list[str]:
    """Return the options that a part shares, as they were given."""
    steps = [] if options.steps is None else ["--steps", str(options.steps)]
    rates = [] if options.rates is None else ["--rates", *map(str, options.rates)]
    return [*steps, *rates, *(["--tiny"] if options.tiny else [])]


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    told = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_common(told)
    told.add_argument("--tasks", nargs="+", help="by default all of the benchmark")
    told.add_argument("--methods", nargs="+", help="by default all of the benchmark")
    told.add_argument("--jobs", type=int, default=1, help="processes at a time")
    told.add_argument(
        "--minutes", type=float, default=float("inf"), help="begin no part after so many"
    )
    return told


if __name__ == "__main__":
    sys.exit(main())
