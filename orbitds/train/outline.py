"""What of a pair's data a plan needs: names and sizes; nothing but coordinates is read."""

from dataclasses import dataclass

from orbitds.config import TrainConfig
from orbitds.data.batch import Reader
from orbitds.data.history import with_earlier
from orbitds.data.pair import Pair
from orbitds.train.setting import tiles_of, windows_of
from orbitds.windows import Windows


@dataclass(frozen=True)
class Outline:
    """Names and sizes of a pair."""

    name: str
    inputs: tuple[str, ...]
    """Input variables, those of earlier times too."""
    outputs: tuple[str, ...]
    statics: tuple[str, ...]
    factor: int
    tiles: Windows
    """Those that are trained on."""
    times: int
    """Of the training years, with a full history."""
    samples: int
    """(time, tile) samples of an epoch; of crops, one for each time."""
    stored_bytes: int
    """Of a sample as it is stored."""


def outline_of(config: TrainConfig, pair: Pair) -> Outline:
    """Return the outline of a pair, as a run would see it.

    Raises
    ------
    ValueError
        Where a run would not begin: tiles, periods or a history that do not fit.
    """
    tiles = windows_of(config, pair)
    history = config.data.history
    reader = Reader.of(pair.part("train"), tiles, history=history)
    Reader.of(pair.part("validate"), tiles_of(config, pair), history=history)
    return Outline(
        name=pair.name,
        inputs=with_earlier(pair.inputs, history),
        outputs=pair.outputs,
        statics=pair.static_names,
        factor=pair.factor,
        tiles=tiles,
        times=len(reader) // len(tiles.tiles),
        samples=len(reader) // (len(tiles.tiles) if config.tiles.crop_cells else 1),
        stored_bytes=reader.bytes_of(1),
    )
