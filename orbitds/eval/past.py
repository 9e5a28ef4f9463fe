"""What simple methods learn from a training period: monthly means, and distributions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from orbitds.catalog import open_dataset
from orbitds.checkpoint import Checkpoint
from orbitds.data.align import common_times, in_order_of_time, start_with, take, whole_cells
from orbitds.data.climatology import Climatology
from orbitds.data.door import declared_missing, enter
from orbitds.data.pair import Pair, open_pair
from orbitds.data.source import has_variable
from orbitds.eval.quantiles import QuantileMap
from orbitds.grid import Grid
from orbitds.region import Region
