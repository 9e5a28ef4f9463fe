"""The recipe of a store: its defaults, its limits, and that it costs nothing to read."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from orbitds.data.recipe import Recipe


def test_the_default_leaves_the_data_as_they_are():
    recipe = Recipe(pair="x")
    assert (recipe.dtype, recipe.resolution_deg, recipe.factor) == ("float32", None, None)


@pytest.mark.parametrize("wrong", [{"factor": 0}, {"resolution_deg": 0}, {"tiles": (1, 0)}])
def test_what_makes_no_grid_is_refused(wrong):
    with pytest.raises(ValidationError):
        Recipe(pair="x", **wrong)


def test_the_command_line_starts_without_torch():
    code = "import sys, orbitds.cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
