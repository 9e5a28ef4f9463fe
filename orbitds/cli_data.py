"""The commands about data: catalog."""

import sys

import yaml
from cyclopts import App
from rich.console import Console
from rich.table import Table

from orbitds import catalog

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


def tell(text: str) -> None:
    """Write what was asked for to standard output."""
    sys.stdout.write(text + "\n")
