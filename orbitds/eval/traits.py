"""What scores must know of a variable, from its row in the vocabulary."""

import math

from orbitds.eval.table import plain_name
from orbitds.metrics.extremes import Extreme
from orbitds.metrics.frame import Traits
from orbitds.metrics.tails import Bins
from orbitds.variables import Variable, variable


def traits_of(name: str) -> Traits:
    """Return the traits of a variable, or of ``log1p(...)`` of one."""
    plain, is_logarithm = plain_name(name)
    row = variable(plain)
    bins = Bins(*row.plausible, is_log1p=is_amount(row))
    if is_logarithm:
        return Traits(math.log1p(row.range), bins.logarithm())
    return Traits(row.range, bins, is_amount(row) and row.period == "day", _extreme(row))


def is_amount(row: Variable) -> bool:
    """Whether values are skewed amounts, scored as log1p too: where the row normalises so."""
    return row.transform == "log1p"


def _extreme(row: Variable) -> Extreme | None:
    """Return the extreme of the year: of daily amounts, of daily maxima, of daily minima."""
    if is_amount(row) and row.period == "day":
        return "rx1day"
    if row.units != "K" or not row.references:
        return None
    return "txx" if row.at_least else "tnn"
