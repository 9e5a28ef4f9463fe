"""A caller's mistakes on the command line: which errors they are, and how they are shown."""

import os
import re
import sys
from typing import NoReturn

from cyclopts import CycloptsError
from cyclopts.exceptions import CoercionError, ValidationError
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

# What the library raises at the caller's mistakes; anything else is a bug and keeps its traceback.
MISTAKES = (ValueError, OSError, KeyError, ImportError, FloatingPointError)
# The exit status that shells give to a program ended by SIGPIPE: 128 and its number.
UNREAD = 141
# How netCDF4 and the codecs of Zarr say, in a RuntimeError, that the body of a file is damaged.
DAMAGED = re.compile(r"NetCDF: |decompress", re.IGNORECASE)


def explain(error: Exception) -> str:
    """Return what to tell of an error."""
    if isinstance(error, OSError) and error.filename and error.strerror:  # the system's, not ours
        return (
            f"Wanted to use {error.filename}, got: {error.strerror}. "
            "Check the path, its permissions and the free space."
        )
    return str(error.args[0]) if isinstance(error, KeyError) else str(error)


def fail(message: str) -> NoReturn:
    """Show a message and end the program with status 1."""
    Console(stderr=True).print(panel(message))
    sys.exit(1)


def end_unread() -> NoReturn:
    """End quietly, as a program does whose output nobody reads any more: `... | head`."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):  # what is left in them is flushed at exit
        os.dup2(nowhere, stream.fileno())
    sys.exit(UNREAD)


def panel(message: str) -> Panel:
    """Return a message in its frame."""
    return Panel(escape(message), title="Error", title_align="left", border_style="red")


def format_error(error: CycloptsError) -> Panel:
    """Show a wrong flag or value as every other error, without the parser's internals."""
    message = str(error)
    cause = error.__cause__
    if isinstance(error, (ValidationError, CoercionError)) and hasattr(cause, "errors"):
        lines = []
        for item in cause.errors():  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]  pydantic's
            flag = "--" + ".".join(str(part) for part in item["loc"]).replace("_", "-")
            told = item["msg"].removeprefix("Value error, ")
            if told == item["msg"]:  # not one of ours, which say it themselves
                told += f" (got {item.get('input')!r})"
            lines.append(f"{flag}: {told}" if item["loc"] else told)
        message = "\n".join(lines)
    return panel(message)
