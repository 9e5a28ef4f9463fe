"""What `orbitds prepare` is told; light, since the command line reads it at every start."""

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from orbitds.schema import Frozen

DType = Literal["float32", "int16"]
# Which end of its period the time of an amount is: 01 UTC for 00 to 01 in ERA5, 00 UTC in IMERG.
Stamp = Literal["end", "start"]


class Recipe(Frozen):
    """From which pair a training store is made, and how."""

    pair: str
    """Name in the catalog, or the path of a YAML file."""
    dtype: DType = "float32"
    """float32, or int16: half the room, with an error that is known beforehand and printed."""
    resolution_deg: PositiveFloat | None = None
    """Regrid the fine data conservatively to cells of this width; as they are if left out."""
    factor: PositiveInt | None = None
    """Regrid the coarse data conservatively to cells of this many fine ones along an edge."""
    stamp: Stamp = "end"
    """Which end of its period the time of an hourly amount is, where days are made of hours."""
    tiles: tuple[PositiveInt, PositiveInt] = (1, 1)
    """Chunks along rows and columns: those of the training tiles, if these are many."""
