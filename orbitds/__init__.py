"""orbitds: turn a coarse climate field into a fine one.

Importing the package registers the accessor ``ds.orbit`` on every :class:`xarray.Dataset`; torch
arrives when something is computed.
"""

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

from orbitds import accessor as _accessor  # noqa: F401  registers ds.orbit

if TYPE_CHECKING:
    from orbitds.catalog import open_dataset
    from orbitds.checkpoint import Checkpoint, load_checkpoint
    from orbitds.data.pair import open_pair
    from orbitds.infer.downscaler import Downscaler
    from orbitds.model.reslim import Reslim

__version__ = metadata.version("orbitds")

__all__ = [
    "Checkpoint",
    "Downscaler",
    "Reslim",
    "load_checkpoint",
    "open_dataset",
    "open_pair",
]

# torch costs a second of import: each public name is fetched from its home when first used.
_HOME = {
    "Checkpoint": "orbitds.checkpoint",
    "Downscaler": "orbitds.infer.downscaler",
    "Reslim": "orbitds.model.reslim",
    "load_checkpoint": "orbitds.checkpoint",
    "open_dataset": "orbitds.catalog",
    "open_pair": "orbitds.data.pair",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  whatever the name stands for
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'orbitds' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
