"""The commands about data: catalog, check, prepare."""

import json as text_of
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from cyclopts import App, Parameter

from orbitds import catalog, datasets
from orbitds.data.recipe import Recipe

if TYPE_CHECKING:
    from orbitds.data.check import Report

catalog_app = App(name="catalog", help="Show which data are known.")


# What the listing says of the data of an entry.
_LEGEND = """\
data: shipped in the package; here, found in a folder of ORBITDS_DATA; absent,
not found there; network, opened at an address.
`orbitds catalog show NAME` tells licence, citation and access;
`orbitds catalog checkpoints` lists the models."""

# What the listing says of a checkpoint.
_LISTED = ("title", "licence", "grid", "inputs", "outputs", "folder", "refused")


@catalog_app.command(name="list")
def list_() -> None:
    """List the datasets and pairs of the catalog, and which of the data are on this machine."""
    head = ("dataset", "degrees", "step", "data", "licence")
    rows = [head, *(_row(name) for name in datasets.dataset_names())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    titles = ["", *(datasets.dataset_entry(row[0]).title for row in rows[1:])]
    for row, title in zip(rows, titles, strict=True):
        tell("  ".join(map(str.ljust, row, widths)).rstrip())
        if title:
            tell(f"    {title}")
    tell("\npair")
    for name in catalog.pair_names():
        tell(f"{name}\n    {catalog.pair_entry(name).title}")
    tell(f"\n{_LEGEND}")


def _row(name: str) -> tuple[str, ...]:
    entry = datasets.dataset_entry(name)
    licence = re.split("[:;,]", entry.licence)[0]
    step = entry.step or "-"
    return name, f"{entry.resolution_deg:.4g}", step, datasets.whereabouts(name), licence


@catalog_app.command
def show(name: str, /) -> None:
    """Show the description of a dataset or pair, with licence and citation.

    Parameters
    ----------
    name
        A name from `orbitds catalog list`.
    """
    _tell_page(catalog.describe(name))


@catalog_app.command
def checkpoints(name: str | None = None, /) -> None:
    """List the checkpoints on this machine, or show one: what it takes and gives, where it lies.

    Listed are those that ship and those in the cache of the Hugging Face Hub; any other can be
    shown by its folder, or by its name on the Hub, hf://owner/name@revision.

    Parameters
    ----------
    name
        A name of the list, a folder, or a name on the Hub, from which it is then fetched.
    """
    from orbitds.card import card_of
    from orbitds.description import find_checkpoint, known_checkpoints

    known = known_checkpoints()
    if name is not None:
        _tell_page(card_of(known[name] if name in known else find_checkpoint(name)))
        return
    for each, folder in known.items():
        tell(each)
        try:
            card = card_of(folder)
        except (OSError, ValueError) as error:
            card = {"refused": error}
        for key in _LISTED:
            if key in card:
                told = card[key]
                tell(_line(key, ", ".join(told) if isinstance(told, list) else str(told)))
    if not known:
        tell("none ships with this version, and none is in the cache of the Hugging Face Hub")
    tell("\nbesides: a folder of yours, or hf://owner/name@revision (with orbitds[hub])")


def check(
    input: str | None = None,
    /,
    *,
    checkpoint: str | None = None,
    pair: str | None = None,
    missing: Literal["error", "mask"] | None = None,
    json: bool = False,
) -> None:
    """Look through data before a run: names, units, times, grid, values. Changes nothing.

    Without --checkpoint or --pair it looks at whatever it recognises. The exit status is 0 only if
    a run would accept the data.

    Parameters
    ----------
    input
        A NetCDF file, a Zarr store or a catalog name. May be left out with --pair.
    checkpoint
        Checkpoint that is to downscale the data: its variables, grid spacing and region.
    pair
        Data pair to train on: looks at both of its sides. With an input, that takes the place of
        the coarse side.
    missing
        Whether NaN is an error or a mask; by default what the catalog says of the input, and an
        error for a bare file.
    json
        Write the same as JSON.
    """
    from orbitds.data.check_table import show

    if (input is None and pair is None) or (checkpoint is not None and pair is not None):
        raise ValueError(
            "Wanted an input, or --pair, or an input with one of --checkpoint and --pair, got "
            f"{'neither' if input is None and pair is None else 'both flags'}. Give one of them."
        )
    parts = dict(_checked(input, checkpoint, pair, missing))
    is_accepted = all(report.is_accepted for report in parts.values())
    if json:
        told = {name: report.model_dump(mode="json") for name, report in parts.items()}
        for name, report in parts.items():
            told[name]["accepted"] = report.is_accepted
        tell(text_of.dumps({"accepted": is_accepted, "parts": told}, indent=2))
    else:
        for name, report in parts.items():
            show(name, report)
    if not is_accepted:
        sys.exit(1)


def _checked(
    input: str | None,
    checkpoint: str | None,
    pair: str | None,
    missing: Literal["error", "mask"] | None,
) -> "Iterator[tuple[str, Report]]":
    """Yield what is checked, and what was found."""
    from orbitds.data.check import check as look
    from orbitds.data.door import declared_missing

    variables, fits = None, None
    if pair is not None:
        from orbitds.data.check_pair import check_pair

        parts = check_pair(pair, without_coarse=input is not None)
        yield from parts.reports.items()
        variables, fits = parts.inputs, parts.fits
    if input is not None:
        declared = missing or declared_missing(input)
        with catalog.open_dataset(input) as ds:
            if checkpoint is not None:
                from orbitds.checkpoint import load_checkpoint
                from orbitds.infer.choice import part_for
                from orbitds.infer.downscaler import Downscaler

                downscaler = Downscaler(part_for(load_checkpoint(checkpoint), ds))
                variables, fits = downscaler.checkpoint.inputs, downscaler.fits
            yield input, look(ds, variables, missing=declared, fits=fits)


def prepare(
    *,
    recipe: Annotated[Recipe, Parameter(name="*")],
    output: Path,
    workers: int = 2,
    dry_run: bool = False,
) -> None:
    """Make a training store of a pair: regridded, daily, checked, with its statistics.

    It is worked through in blocks of time, so the data may be of any length. After a kill, the same
    command goes on where it ended; the store can be opened when it is complete.

    Parameters
    ----------
    output
        Folder of the store, ending in .zarr; new, or begun by the same command.
    workers
        Threads that read and compute.
    dry_run
        Say what would be written, and write nothing.
    """
    from orbitds.data.plan import plan
    from orbitds.data.prepare import prepare as make

    if dry_run:
        tell(plan(recipe).describe())
    else:
        tell(f"training store: {make(recipe, output, workers=workers)}")


def _line(key: str, text: str) -> str:
    """Return a line below a name, or several, in which paths stay whole."""
    return fill(
        f"{key}: {text}",
        78,
        initial_indent=" " * 4,
        subsequent_indent=" " * 8,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _tell_page(told: dict[str, Any]) -> None:
    text = yaml.dump(told, Dumper=_Page, sort_keys=False, allow_unicode=True, width=64)
    tell(text.rstrip())


def tell(text: str) -> None:
    """Write what was asked for to standard output."""
    sys.stdout.write(text + "\n")


class _Page(yaml.SafeDumper):
    """YAML with lists in lines instead of one item a line: entries may have 75 variables."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> Any:  # noqa: ANN401, ARG002, FBT001  PyYAML's
        return super().represent_sequence(tag, sequence, flow_style=True)
