"""Starts commands in children of its own, which share its imports: python tests/infer/working.py

A line on its standard input is JSON: the arguments of a command, and units' size in bytes; it says
the number of the child. `wait NUMBER` says how that child ended.
"""

import json
import os
import sys
from pathlib import Path

from orbitds import cli
from orbitds.infer import job, run

# Imported by a command when it is needed: here before all of them.
LOADED = (job, run)


def main() -> None:
    """Do what is asked for until the input ends."""
    for line in sys.stdin:
        if line.startswith("wait"):
            _, status = os.waitpid(int(line.split()[1]), 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = _started(**json.loads(line))
        print(answer, flush=True)  # noqa: T201  whoever started it waits for this line


def _started(arguments: list[str], unit_bytes: int, log: str, environment: dict[str, str]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.environ.update(environment)
        job.UNIT_BYTES = unit_bytes
        told = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(told, 1)
        os.dup2(told, 2)
        sys.argv = ["orbitds", *arguments]
        cli.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        with Path(log).open("a") as file:
            file.write(repr(error))
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
