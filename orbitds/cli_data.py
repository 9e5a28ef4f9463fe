"""The commands about data: catalog, check."""

import json as text_of
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import yaml
from cyclopts import App
from rich.console import Console
from rich.table import Table

from orbitds import catalog

if TYPE_CHECKING:
    from orbitds.data.check import Report

catalog_app = App(name="catalog", help="Show which data are known.")


@catalog_app.command(name="list")
def list_() -> None:
    """List the datasets and pairs of the catalog."""
    listing = Table("kind", "name", "title")
    for name in catalog.dataset_names():
        listing.add_row("dataset", name, catalog.dataset_entry(name).title)
    for name in catalog.pair_names():
        listing.add_row("pair", name, catalog.pair_entry(name).title)
    Console().print(listing)


@catalog_app.command
def show(name: str, /) -> None:
    """Show the description of a dataset or pair, with licence and citation.

    Parameters
    ----------
    name
        A name from `orbitds catalog list`.
    """
    text = yaml.safe_dump(catalog.describe(name), sort_keys=False, allow_unicode=True, width=88)
    tell(text.rstrip())


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
    if checkpoint is not None:
        from orbitds.infer.downscaler import Downscaler

        downscaler = Downscaler(checkpoint)
        variables, fits = downscaler.checkpoint.inputs, downscaler.fits
    if input is not None:
        declared = missing or declared_missing(input)
        with catalog.open_dataset(input) as ds:
            yield input, look(ds, variables, missing=declared, fits=fits)


def tell(text: str) -> None:
    """Write what was asked for to standard output."""
    sys.stdout.write(text + "\n")
