"""Compare methods on the tasks of real data, at an equal training budget.

    ORBITDS_DATA=... python eval/bench_tasks.py --output bench --jobs 4

Each method of each task is a process of its own (eval/bench_method.py), some of them at a time; one
that fails leaves the others alone, and what is finished is not done again. The tables of a task are
written whenever one of its methods ends. Tasks, methods, sizes and the budget stand in
eval/benchmarks/tasks.yaml. --tiny rehearses.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from bench_method import RESULT, add_common, changes_of, finished
from bench_table import LOG, short, write_tables

from orbitds.resources import read_yaml

PART = Path(__file__).with_name("bench_method.py")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts, write the tables; return 1 if a part has failed or was not begun."""
    options = parser().parse_args(arguments)
    settings = read_yaml(options.benchmark)
    options.output.mkdir(parents=True, exist_ok=True)
    parts = parts_of(settings, options.tasks, options.methods)
    budget = settings["budget"] | changes_of(options)
    for task, method in parts:  # another budget is refused before anything is done
        finished(options.output / task / method, budget)
    ends = time.monotonic() + 60 * options.minutes
    lock = Lock()

    def part(named: tuple[str, str]) -> bool:
        if time.monotonic() > ends:
            print(f"{' '.join(named)}: not begun, the time is over", flush=True)
            return False
        done = _run(*named, options)
        with lock:
            write_tables(options.output, named[0])
        return done

    with ThreadPoolExecutor(options.jobs) as pool:
        done = list(pool.map(part, parts))
    print(short(write_tables(options.output)))
    return 0 if all(done) else 1


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


def _run(task: str, method: str, options: argparse.Namespace) -> bool:
    """Run a part in a process of its own, with its log beside its results."""
    folder = options.output / task / method
    if (folder / RESULT).is_file():
        return True
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, str(PART), task, method, "--output", str(options.output),
        "--benchmark", str(options.benchmark), *_given(options),
    ]  # fmt: skip
    threads = max(1, (os.cpu_count() or 1) // options.jobs)
    environment = {"OMP_NUM_THREADS": str(threads)} | os.environ
    started = time.monotonic()
    with (folder / LOG).open("a", encoding="utf-8") as log:
        ended = subprocess.run(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False
        )
    told = "done" if ended.returncode == 0 else f"FAILED, see {folder / LOG}"
    print(f"{task} {method}: {told}, {time.monotonic() - started:.0f} s", flush=True)
    return ended.returncode == 0


def _given(options: argparse.Namespace) -> list[str]:
    steps = [] if options.steps is None else ["--steps", str(options.steps)]
    rates = [] if options.rates is None else ["--rates", *map(str, options.rates)]
    return [*steps, *rates, *(["--tiny"] if options.tiny else [])]


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    told = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_common(told)
    told.add_argument("--tasks", nargs="+", help="by default all of the benchmark")
    told.add_argument("--methods", nargs="+", help="by default all of the benchmark")
    told.add_argument("--jobs", type=int, default=1, help="parts at a time")
    told.add_argument(
        "--minutes", type=float, default=float("inf"), help="begin no part after so many"
    )
    return told


if __name__ == "__main__":
    sys.exit(main())
