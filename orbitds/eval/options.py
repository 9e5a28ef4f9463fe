"""What an evaluation is asked for beside prediction and truth, in one object."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import xarray as xr
from torch import Tensor

from orbitds.checkpoint import Checkpoint
from orbitds.data.values import Missing
from orbitds.eval.stream import DETAILED_TIMES
from orbitds.metrics.structure import Window

# What gives the fields of the simple methods of one variable, from a block of coarse data.
Simple = Callable[[xr.Dataset, str], dict[str, Tensor]]


@dataclass(frozen=True, eq=False)
class Options:
    """What else is known of a prediction, and how it is scored.

    Parameters
    ----------
    coarse
        What the prediction was made from; with it the simple methods are scored.
    checkpoint
        Its climatology gives delta change.
    missing
        Whether NaN in prediction and coarse data is an error or a mask: then cells without a
        prediction count for no method. The truth may always be masked.
    label
        What the prediction is called; by default the checkpoint that its attributes name.
    region_names
        Regions to score apart, or GeoJSON files of polygons; by default land, sea and belts of
        latitude.
    tiles
        Rows and columns of tiles that the prediction was made in, for the seam index.
    simple
        Other simple methods than the usual ones: given a block of coarse data and the name of a
        variable, it returns fine fields by method.
    detailed_times
        About so many times, evenly spread, are taken for similarity, fractions, spectra and
        visible borders; all else is taken from all times.
    ssim
        Window of the structural similarity.
    """

    coarse: xr.Dataset | None = None
    checkpoint: Checkpoint | None = None
    missing: Missing = "error"
    label: str | None = None
    region_names: Sequence[str] | None = None
    tiles: tuple[int, int] | None = None
    simple: Simple | None = None
    detailed_times: int = DETAILED_TIMES
    ssim: Window = "uniform"


DEFAULTS = Options()
