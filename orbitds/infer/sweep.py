"""A sweep: coarse fields of some times become fine ones of a part, all of it on the device."""

import itertools
import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float
from torch import Tensor

from orbitds.checkpoint import Checkpoint
from orbitds.data.times import labels_of, months_of
from orbitds.device import choose_device
from orbitds.grid import Grid
from orbitds.infer.answer import Answer, Wish
from orbitds.infer.backdrop import Backdrop
from orbitds.infer.batch import Batch
from orbitds.infer.canvas import Canvas, Shares
from orbitds.infer.constrain import margin_of
from orbitds.infer.courier import Courier, on_device
from orbitds.infer.intake import Arrived, Intake
from orbitds.infer.part import Frame, Part
from orbitds.infer.ruler import Ruler
from orbitds.infer.seams import Seams
from orbitds.infer.sight import Sight
from orbitds.infer.windows import Told, Windows
from orbitds.model.embed import member_noise
from orbitds.model.interface import DownscalingModel
from orbitds.tiles import TileGrid

# Fine values of a group of times on the device: some more of it are at work at once.
GROUP_VALUES = 2**26


class Sweep:
    """Everything that stays the same from block to block of a part: made once, used often.

    Calls do not change it, so that threads may share it.

    Parameters
    ----------
    checkpoint, model
        The model is the checkpoint's, on the device to compute on.
    grid
        The coarse grid of the whole field.
    tiles
        How it is cut.
    part
        What is wanted of it.
    wish
        What is wanted of the outputs.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        model: DownscalingModel,
        grid: Grid,
        tiles: TileGrid,
        part: Part,
        wish: Wish,
    ) -> None:
        self.checkpoint, self.wish = checkpoint, wish
        self.device = device = next(model.parameters()).device
        is_tiled = len(tiles.tiles) > 1
        self.frame = frame = frame_of(tiles, part, wish)
        factor = checkpoint.factor
        fine_grid = grid.refine(factor, checkpoint.model.placement)
        fine = (range(k.start * factor, k.stop * factor) for k in (part.rows, part.columns))
        self.fine_grid = fine_grid.crop(*fine)
        self.backdrop = Backdrop(checkpoint, fine_grid, frame, device)
        self.windows = Windows(
            model, grid, frame, self.backdrop, dtype=wish.dtype, compile=wish.compile
        )
        self.answer = Answer(checkpoint, fine_grid, frame, wish, device)
        self._shares = Shares(frame, factor, device)
        self._ruler = Ruler(frame, factor, device) if is_tiled else None
        self._inputs = checkpoint.normalizer(checkpoint.inputs)

    @torch.inference_mode()
    def run(
        self, coarse: xr.Dataset, empty: Bool[np.ndarray, " T"] | None, batch: Batch
    ) -> tuple[dict[str, np.ndarray], Seams | None]:
        """Return the fine values of the part by variable, and its seams if the field is tiled.

        Parameters
        ----------
        coarse
            Canonical fields of the frame's window.
        empty
            Times at which an input has no value in the whole field, where that is known; where the
            window is the whole field, it is known from the values.

        Raises
        ------
        ValueError
            If values are missing or implausible.
        """
        courier = Courier(self.device)
        names, missing = self.checkpoint.inputs, self.wish.missing
        intake = Intake(coarse, names, missing=missing, courier=courier)
        times = coarse.sizes["time"]
        months, noise = self._told(coarse["time"], courier)
        out = {name: courier.empty(*shape) for name, shape in self.answer.shapes(times).items()}
        seams = None if self._ruler is None else self._ruler.blank(self.wish.variables)
        groups = list(self._groups(times, batch))
        arrived = intake.bring(groups[0])
        for group, following in itertools.zip_longest(groups, groups[1:]):
            now, drawn = arrived, self.wish.distribution.drawn
            courier.arrived(now.fields)
            told = Told(
                None if months is None else months[group],
                None if noise is None else noise[group.start * drawn : group.stop * drawn],
                drawn,
            )
            blended = self._blended(now, told, batch, courier)
            finished = self.answer.finished(blended, now, self._empty(now, empty, group))
            if seams is not None:
                seams.add(
                    finished, dict(zip(names, self.answer.coarse(now).unbind(1), strict=True))
                )
            if following is not None:  # while the device is at work
                arrived = intake.bring(following)
            for name, values in self.answer.told(finished):
                courier.send(values, out[name][group])
        courier.wait()
        values = {name: field.numpy() for name, field in out.items()}
        return values, None if seams is None else seams.read()

    def lack(self, time: xr.DataArray) -> Iterator[str]:
        """Yield what the model must do without at some times, for people."""
        if self.backdrop.lack:
            yield self.backdrop.lack
        if self.backdrop.has_climatology and months_of(time) is None:
            yield (
                "The input has no dates, so the month is unknown: the climatology of checkpoint "
                f"{self.checkpoint.name!r} is not used. Give it a time coordinate for more skill."
            )

    def _told(
        self, time: xr.DataArray, courier: Courier
    ) -> tuple[np.ndarray | None, Float[Tensor, "S Z"] | None]:
        """Return the months of all times and the noise of all samples."""
        months = months_of(time) if self.backdrop.has_climatology else None
        distribution = self.wish.distribution
        if not distribution.stirred:
            return months, None
        labels = labels_of(time)
        noise = [member_noise(labels, member) for member in range(distribution.drawn)]
        return months, courier.arrived(courier.bring(torch.stack(noise, dim=1).flatten(0, 1)))

    def _groups(self, times: int, batch: Batch) -> Iterator[slice]:
        """Yield the times that are computed at once: as few as fill a batch."""
        distribution, factor = self.wish.distribution, self.checkpoint.factor
        height, width = self.frame.shape
        channels = distribution.channels(len(self.checkpoint.outputs)) * distribution.drawn
        most = max(1, GROUP_VALUES // (channels * height * width * factor**2))
        windows = distribution.drawn * len(self.frame.reaching)
        if batch.is_constant:  # so that no batch is filled up but the last
            wanted = batch.size // math.gcd(batch.size, windows)
        else:
            wanted = -(-batch.size // windows)
        size = min(wanted, most)
        for start in range(0, times, size):
            yield slice(start, min(start + size, times))

    def _empty(
        self, now: Arrived, empty: np.ndarray | None, group: slice
    ) -> Bool[np.ndarray, " t"] | None:
        """Return at which times there is no answer; None where no gap is."""
        if now.gaps is None:
            return None
        if empty is not None:
            return np.asarray(empty)[group]
        rows, columns = self.frame.window
        tiles = self.frame.tiles
        if (len(rows), columns.size) == (tiles.height, tiles.width):
            return np.any(np.all(now.gaps, axis=(2, 3)), axis=1)
        return np.zeros(len(now.gaps), dtype=bool)

    def _blended(
        self, now: Arrived, told: Told, batch: Batch, courier: Courier
    ) -> Float[Tensor, "S C Hf Wf"]:
        """Return what the model says of the frame, normalised: fields, and variances if wanted."""
        distribution = self.wish.distribution
        samples = len(now.host) * distribution.drawn
        channels = distribution.channels(len(self.checkpoint.outputs))
        canvas = Canvas(self._shares, samples, channels, self.device)
        sight = Sight(now, self.windows, self._inputs, drawn=distribution.drawn, courier=courier)
        for run, said in self.windows.run(sight, samples, told, batch):
            fields = said.fine.float()
            if distribution.spread == "variance":
                assert said.log_variance is not None
                # variances: the blend is the distribution that one of the tiles gives, drawn by
                # its share; how far their means lie apart is left out
                fields = torch.cat([fields, said.log_variance.exp()], dim=1)
            canvas.add(run.samples, run.index, fields)
        return canvas.fields


def frame_of(tiles: TileGrid, part: Part, wish: Wish) -> Frame:
    """Return what is computed for a part: constraints and seams look at its neighbours too."""
    margin = margin_of(wish.constraints)
    # one cell more in the east and south, where seams are the part's to look at
    return Frame(tiles, part, before=margin, after=margin + (len(tiles.tiles) > 1))


def sweep_for(
    checkpoint: Checkpoint,
    device: str | None,
    grid: Grid,
    tiles: TileGrid,
    part: Part,
    wish: Wish,
) -> Sweep:
    """Return the sweep of a part, made once per process."""
    axes = tuple(np.asarray(k, float).tobytes() for k in (grid.latitude_deg, grid.longitude_deg))
    return _sweep(checkpoint, choose_device(device), axes, tiles, part, wish)


@lru_cache(maxsize=8)
def _sweep(
    checkpoint: Checkpoint,
    device: torch.device,
    axes: tuple[bytes, ...],
    tiles: TileGrid,
    part: Part,
    wish: Wish,
) -> Sweep:
    grid = Grid(*(np.frombuffer(axis) for axis in axes))
    return Sweep(checkpoint, on_device(checkpoint.model, device), grid, tiles, part, wish)
