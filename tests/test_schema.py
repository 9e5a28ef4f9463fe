"""Frozen groups of settings, and errors that name the place, the value and the nearest name."""

import re
from typing import Literal

import pytest
from pydantic import PositiveInt, ValidationError, model_validator

from orbitds.schema import Frozen, parse


class Halo(Frozen):
    """A group within a group."""

    halo_cells: PositiveInt = 4
    """Cells on each side."""


class Taper(Frozen):
    """A group that may be left out."""

    width_km: float = 100.0


class Cut(Frozen):
    """A group of settings."""

    rows: PositiveInt = 1
    """Tiles from north to south."""
    method: Literal["nearest", "bilinear"] = "nearest"
    halo: Halo = Halo()
    taper: Taper | None = None

    @model_validator(mode="after")
    def _rule(self) -> "Cut":
        if self.rows > self.halo.halo_cells:
            raise ValueError(f"Wanted at most {self.halo.halo_cells} rows, got {self.rows}. Cut.")
        return self


def test_plain_values_become_a_group_and_come_back():
    plain = {
        "rows": 3,
        "method": "bilinear",
        "halo": {"halo_cells": 7},
        "taper": {"width_km": 55.5},
    }
    cut = parse(Cut, plain, source="here")
    assert (cut.rows, cut.method, cut.halo.halo_cells) == (3, "bilinear", 7)
    assert cut.model_dump() == plain
    assert parse(Cut, cut.model_dump(), source="here") == cut
    assert parse(Cut, {}, source="here") == Cut()


def test_a_group_is_immutable_and_can_be_a_key():
    cut = Cut()
    with pytest.raises(ValidationError, match="frozen"):
        cut.rows = 2
    with pytest.raises(ValidationError, match="frozen"):
        cut.halo.halo_cells = 2
    assert hash(cut) == hash(Cut()) != hash(Cut(rows=2))


def test_docstrings_are_the_help_text():
    assert Cut.model_fields["rows"].description == "Tiles from north to south."


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"row": 2}, "run.yaml: unknown name 'row'. Did you mean 'rows'?"),
        (
            {"halo": {"halo_cell": 2}},
            "run.yaml: unknown name 'halo.halo_cell'. Did you mean 'halo.halo_cells'?",
        ),
        (
            {"taper": {"widths_km": 2}},
            "run.yaml: unknown name 'taper.widths_km'. Did you mean 'taper.width_km'?",
        ),
        (
            {"halo_cells": 2},
            "run.yaml: unknown name 'halo_cells'. Did you mean 'halo.halo_cells'?",
        ),
        ({"quite_else": 2}, "run.yaml: unknown name 'quite_else'."),
        ({"rows": 0}, "run.yaml: rows: Input should be greater than 0 (got 0)"),
        ({"halo": {"halo_cells": -1}}, "halo.halo_cells: Input should be greater than 0 (got -1)"),
        ({"method": "cubic"}, "method: Input should be 'nearest' or 'bilinear' (got 'cubic')"),
        ({"rows": 5}, "run.yaml: Wanted at most 4 rows, got 5. Cut."),
    ],
)
def test_error_says_where_what_and_the_nearest_name(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        parse(Cut, settings, source="run.yaml")
    # the reader is spared the library's own words, links and traceback
    assert not isinstance(error.value, ValidationError)
    assert error.value.__cause__ is None
    assert "pydantic" not in str(error.value)


def test_every_mistake_is_told_at_once():
    with pytest.raises(
        ValueError, match=r"rows: .*; unknown name 'methods'\. Did you mean 'method'"
    ):
        parse(Cut, {"rows": "many", "methods": "nearest"}, source="run.yaml")
