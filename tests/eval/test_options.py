"""What an evaluation is asked for: without a wish it is scored as ever."""

import xarray as xr

from orbitds.eval.evaluate import evaluate
from orbitds.eval.options import DEFAULTS, Options
from tests.eval.test_evaluate import rainy


def test_options_without_a_wish_are_the_defaults():
    sides = rainy(3)
    xr.testing.assert_identical(evaluate(*sides), evaluate(*sides, Options()))
    assert DEFAULTS.coarse is None
    assert DEFAULTS.missing == "error"
