"""Scores of several processes: each writes its part, one of them makes the table."""

from functools import reduce
from pathlib import Path

import xarray as xr

from orbitds.eval.assemble import found_of, table_of
from orbitds.eval.evaluation import Evaluation
from orbitds.metrics.part import load_part, save_part
from orbitds.metrics.scores import Scores

SUFFIX = ".safetensors"


def write_part(evaluation: Evaluation, folder: Path, share: tuple[int, int]) -> None:
    """Score the share of one process and write its sums, a file for each variable.

    A file is there when it is whole: what was written by a process that was killed is not.

    Parameters
    ----------
    share
        This process, from 0, and how many there are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in evaluation.sides.names:
        found = evaluation.scores(name, share)
        for label in evaluation.labels(name):
            # with more processes than blocks of time some have nothing to tell, and say so
            scores = found.get(label, Scores(evaluation.traits(label), evaluation.frame, ()))
            path = folder / _file(label, share)
            temporary = path.with_suffix(".tmp")
            save_part(scores, temporary)
            temporary.replace(path)


def table_of_parts(evaluation: Evaluation, folder: Path, processes: int) -> xr.Dataset:
    """Return the table of scores of all processes: that of one, to rounding.

    Raises
    ------
    FileNotFoundError
        If a process has not written its part.
    ValueError
        If a part is of another evaluation.
    """
    shares = [(process, processes) for process in range(processes)]
    found = []
    for name in evaluation.sides.names:
        for label in evaluation.labels(name):
            paths = [folder / _file(label, share) for share in shares]
            missing = [path.name for path in paths if not path.is_file()]
            if missing:
                raise FileNotFoundError(
                    f"Wanted the scores of {processes} processes in {folder}, got none in "
                    f"{missing[0]} and {len(missing) - 1} more files. Run these processes again."
                )
            parts = [load_part(path, evaluation.traits(label), evaluation.frame) for path in paths]
            found.append(found_of(label, reduce(Scores.merge, filter(_has_times, parts))))
    return table_of(found, evaluation)


def _has_times(scores: Scores) -> bool:
    return bool(scores.sums)


def _file(label: str, share: tuple[int, int]) -> str:
    process, processes = share
    return f"{label}_{process + 1}_of_{processes}{SUFFIX}"
