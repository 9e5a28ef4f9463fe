"""A canvas: the fine cells of a frame, on which windows are blended as they come."""

import torch
from jaxtyping import Float
from torch import Tensor

from orbitds.infer.part import Frame


class Shares:
    """The shares of all windows of a frame in its blend, on a device.

    Parameters
    ----------
    frame
        What is computed.
    factor
        Fine cells along the edge of a coarse cell.
    device
        Where windows come from; weights are copied there once, not for each window.
    """

    def __init__(self, frame: Frame, factor: int, device: torch.device) -> None:
        self.frame = frame
        self.factor = factor
        tiles = frame.tiles
        pairs = [tiles.shares(tiles.tiles[index], factor) for index in frame.reaching]
        rows, columns = (torch.stack(part).float().to(device) for part in zip(*pairs, strict=True))
        self.rows = dict(zip(frame.reaching, rows[:, :, None], strict=True))
        self.columns = dict(zip(frame.reaching, columns, strict=True))


class Canvas:
    """Fine fields of a frame, zero until windows are added.

    Parameters
    ----------
    shares
        Of the frame.
    samples, channels
        How many fields there are, and of how many channels each.
    device
        Where they lie.

    Notes
    -----
    ``TileGrid.blend`` is the same for all windows of a field at once.
    """

    def __init__(self, shares: Shares, samples: int, channels: int, device: torch.device) -> None:
        self.shares = shares
        height, width = (size * shares.factor for size in shares.frame.shape)
        # without neighbours a window is not blended: it is put there
        self._is_alone = len(shares.frame.tiles.tiles) == 1
        make = torch.empty if self._is_alone else torch.zeros
        self.fields = make(samples, channels, height, width, device=device)

    def add(self, samples: slice, index: int, window: Float[Tensor, "n C hf wf"]) -> None:
        """Add the window of a tile, by its number, to some of the fields."""
        shares = self.shares
        for place in shares.frame.reaching[index]:
            place = place.fine(shares.factor)
            rows, columns = place.window_rows, place.window_columns
            part = window[..., rows, columns]
            here = self.fields[samples, :, place.rows, place.columns]
            if self._is_alone:
                here.copy_(part)
            else:
                here.add_(part * shares.rows[index][rows] * shares.columns[index][columns])
