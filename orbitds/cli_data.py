"""The commands about data: catalog, prepare."""

import sys
from pathlib import Path
from typing import Annotated

import yaml
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from orbitds import catalog
from orbitds.data.recipe import Recipe

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


def tell(text: str) -> None:
    """Write what was asked for to standard output."""
    sys.stdout.write(text + "\n")
