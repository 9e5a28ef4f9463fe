"""The sets of data that one checkpoint was trained on, and what of them is used at a time."""

from typing import Annotated, NamedTuple

from pydantic import Field, PositiveInt

from orbitds.periods import Periods
from orbitds.schema import Frozen

Box = tuple[float, float, float, float]
Spacing = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class TrainingSet(Frozen):
    """One of the pairs that a checkpoint of several was trained on."""

    pair: str
    """Its name."""
    share: float = Field(gt=0, allow_inf_nan=False)
    """Of the steps, in proportion to those of the others."""
    factor: PositiveInt
    """Fine cells along the edge of a coarse cell."""
    spacing_km: tuple[Spacing, Spacing]
    """Coarse and fine spacing."""
    inputs: tuple[str, ...]
    """Input variables."""
    outputs: tuple[str, ...]
    """Output variables."""
    statics: tuple[str, ...]
    """Fine static fields."""
    statics_source: str | None = None
    """Where these are from."""
    same_product: bool = False
    """Whether the coarse data are block means of the product of the targets."""
    box_deg: Box
    """South, north, west and east edge."""
    period: Periods
    """Training period, or several; both ends included."""


class Choice(NamedTuple):
    """What of a checkpoint of several sets is used for some data."""

    factor: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    statics: tuple[str, ...]
    spacing_km: tuple[float, float]
    """Coarse and fine spacing of the training data that are nearest."""
    same_product: bool
    told: str
    """How it was chosen, for people."""
    boxes_deg: tuple[Box, ...] = ()
    """Where it was trained on these outputs at this factor: south, north, west and east edges."""
