"""What a model sees of coarse fields: normalised windows, gaps filled."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from orbitds.infer.courier import Courier
from orbitds.infer.intake import Arrived
from orbitds.infer.mask import filled
from orbitds.infer.windows import Windows
from orbitds.normalize import Normalizer


class Sight:
    """The windows of some times, cut as they are asked for; every drawn sample sees its time.

    Parameters
    ----------
    now
        The fields, physical.
    windows
        Which windows there are.
    normalizer
        Of the inputs.
    drawn
        Samples of a time, one after another.
    courier
        To the device.

    Notes
    -----
    Gaps are filled from the nearest cell of the same window: so the answer of a tile is a function
    of its window alone, whoever computes it. A field without any value is given its mean, zero.
    """

    def __init__(
        self,
        now: Arrived,
        windows: Windows,
        normalizer: Normalizer,
        *,
        drawn: int,
        courier: Courier,
    ) -> None:
        self._now, self._windows, self._normalizer = now, windows, normalizer
        self._drawn, self._courier = drawn, courier
        self._seen = None if now.gaps is not None else normalizer(now.fields)

    def __call__(self, index: int, samples: slice) -> Float[Tensor, "n V h w"]:
        """Return the window of a tile, by its number, for some samples."""
        times = slice(samples.start // self._drawn, -(-samples.stop // self._drawn))
        if self._seen is not None:
            seen = self._windows.cut(self._seen[times], index)
        else:
            seen = self._filled(index, times)
        if self._drawn == 1:
            return seen
        first = samples.start - times.start * self._drawn
        seen = seen.repeat_interleave(self._drawn, dim=0)
        return seen[first : first + samples.stop - samples.start]

    def _filled(self, index: int, times: slice) -> Tensor:
        frame = self._windows.frame
        tile = frame.tiles.tiles[index]
        rows, columns = frame.in_window(tile.rows, tile.columns)
        fields = self._now.host[times, :, rows][..., columns]
        whole = torch.tensor(filled(np.ascontiguousarray(fields), periodic=frame.tiles.wraps))
        brought = self._courier.arrived(self._courier.bring(whole))
        return self._normalizer(brought).nan_to_num(nan=0.0)
