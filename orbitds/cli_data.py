"""The commands about data: catalog."""

import re
import sys
from typing import Any

import yaml
from cyclopts import App

from orbitds import catalog, datasets

catalog_app = App(name="catalog", help="Show which data are known.")


# What the listing says of the data of an entry.
_LEGEND = """\
data: shipped in the package; here, found in a folder of ORBITDS_DATA; absent,
not found there; network, opened at an address.
`orbitds catalog show NAME` tells licence, citation and access."""


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
    told = catalog.describe(name)
    text = yaml.dump(told, Dumper=_Page, sort_keys=False, allow_unicode=True, width=64)
    tell(text.rstrip())


class _Page(yaml.SafeDumper):
    """YAML with lists in lines instead of one item a line: entries may have 75 variables."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> Any:  # noqa: ANN401, ARG002, FBT001  PyYAML's
        return super().represent_sequence(tag, sequence, flow_style=True)


def tell(text: str) -> None:
    """Write what was asked for to standard output."""
    sys.stdout.write(text + "\n")
