"""The windows of a frame: what a model is told of each, and runs of them in batches."""

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from orbitds.grid import Grid
from orbitds.infer.backdrop import Backdrop
from orbitds.infer.batch import Batch, is_out_of_memory
from orbitds.infer.part import Frame
from orbitds.infer.precision import Dtype, computing_in
from orbitds.model.compiling import compiled
from orbitds.model.interface import DownscalingModel, Prediction

# What counts, outside the regions of training, of what a network adds to its base. With all of it
# nights and rain over the eastern US, a region that was held out, were worse than interpolation;
# with half each variable was better on all fields but the test's (eval/results/foundation.md).
SHARE_OUTSIDE = 0.5

# From the number of a tile and samples to the normalised coarse fields of its window.
Cut = Callable[[int, slice], Float[Tensor, "n V h w"]]


@dataclass(frozen=True)
class Run:
    """Neighbouring samples of one tile."""

    index: int
    """The tile's number."""
    samples: slice


class Told(NamedTuple):
    """What a model is told of each sample, beside its fields."""

    months: np.ndarray | None
    """Calendar months, 1 to 12, where there is a climatology."""
    noise: Float[Tensor, "S Z"] | None
    """What makes the members, where there are some."""
    drawn: int = 1
    """Samples of a time, one after another."""


class Windows:
    """All windows of a frame on a device: where they lie, what is known there, and the model.

    Made once for a job; nothing in it changes while it runs.

    Parameters
    ----------
    model
        On the device, in evaluation mode.
    grid
        The coarse grid of the whole field.
    frame
        Which windows there are.
    backdrop
        Static fields and climatology.
    dtype
        In which products are computed.
    compile
        Whether the model is compiled, for one size of batches.
    """

    def __init__(
        self,
        model: DownscalingModel,
        grid: Grid,
        frame: Frame,
        backdrop: Backdrop,
        *,
        dtype: Dtype = "float32",
        compile: bool = False,
    ) -> None:
        self.model = model
        self.frame = frame
        self.backdrop = backdrop
        self.dtype: Dtype = dtype
        self.device = backdrop.device
        self.is_compiled = compile and model.is_one_graph
        tiles = frame.tiles
        longitude = torch.tensor(grid.longitude_deg)
        chosen = [tiles.tiles[index] for index in frame.reaching]
        rows = [torch.tensor(grid.latitude_deg[tiles.index(tile)[0]]) for tile in chosen]
        columns = [tiles.longitude(longitude, tile) for tile in chosen]
        self._latitude, self._longitude = (
            dict(zip(frame.reaching, torch.stack(axis).float().to(self.device), strict=True))
            for axis in (rows, columns)
        )
        spacing = torch.tensor([grid.spacing_km, grid.spacing_km / model.factor])
        self._spacing = spacing.float().to(self.device)

    def cut(self, fields: Tensor, index: int, factor: int = 1) -> Tensor:
        """Return a tile's window of fields [..., factor*h, factor*w] of what was read."""
        rows, columns = self._places[index]
        if columns is None:
            return fields[..., rows.start * factor : rows.stop * factor, :]
        fine = columns if factor == 1 else self._fine_columns[index]
        return fields[..., rows.start * factor : rows.stop * factor, :].index_select(-1, fine)

    def run(
        self, cut: Cut, samples: int, told: Told, batch: Batch
    ) -> Iterator[tuple[Run, Prediction]]:
        """Run the model over all windows of some samples; yield what it says of each run of them.

        Raises
        ------
        MemoryError
            If the memory does not even do for one window.
        """
        done, total = 0, samples * len(self.frame.reaching)
        while done < total:
            size = batch.cut(total - done)
            runs = self._runs(done, min(done + size, total), samples)
            filling = size - sum(run.samples.stop - run.samples.start for run in runs)
            try:
                prediction = self._predict(runs, cut, told, filling)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                batch.halve(size, error)
                error.__traceback__ = None  # its frames hold what is to be freed
                _forget(self.device)
                continue
            first = 0
            for run in runs:
                last = first + run.samples.stop - run.samples.start
                yield run, _some(prediction, slice(first, last))
                first = last
            done = min(done + size, total)

    def _predict(self, runs: list[Run], cut: Cut, told: Told, filling: int) -> Prediction:
        """Return what the model says of a batch; the last window again fills it up."""

        def whole(parts: list[Tensor]) -> Tensor:
            if filling:
                last = parts[-1][-1:]
                parts = [*parts, last.expand(filling, *last.shape[1:])]
            return parts[0] if len(parts) == 1 else torch.cat(parts)

        def of_tiles(fields: dict[int, Tensor]) -> Tensor:
            return whole([fields[run.index].expand(_length(run), *(-1,) * fields[run.index].ndim)
                          for run in runs])  # fmt: skip

        statics, climatology = self.backdrop.statics, None
        if statics is not None:
            statics = of_tiles(
                {r.index: self.cut(statics, r.index, self.model.factor) for r in runs}
            )
        if told.months is not None:
            parts = [self._climatology(run, told) for run in runs]
            fine, beneath = (whole(list(part)) for part in zip(*parts, strict=True))
            climatology = fine, beneath
        coarse = whole([cut(run.index, run.samples) for run in runs])
        noise = None if told.noise is None else whole([told.noise[run.samples] for run in runs])
        predict = _compiled(self.model) if self.is_compiled else self.model.predict
        told_place: dict[str, Any] = {}
        if self.backdrop.place_known is not None:
            is_known = torch.full((len(coarse),), self.backdrop.place_known, device=self.device)
            told_place = {"place_known": is_known}
        with computing_in(self.dtype, self.device):
            found = predict(
                coarse,
                latitude_deg=of_tiles(self._latitude),
                longitude_deg=of_tiles(self._longitude),
                spacing_km=self._spacing.expand(len(coarse), 2),
                statics=statics,
                climatology=climatology,
                periodic=self.frame.tiles.wraps,
                phase=self.backdrop.phase,
                noise=noise,
                **told_place,
            )
        if self.backdrop.place_known is False:
            added = found.fine - found.base
            found = found._replace(fine=found.base + SHARE_OUTSIDE * added)
        return found

    def _climatology(self, run: Run, told: Told) -> tuple[Tensor, Tensor]:
        assert told.months is not None
        times = np.arange(run.samples.start, run.samples.stop) // told.drawn
        fine, coarse = self.backdrop.climatology(told.months[times])
        return self.cut(fine, run.index, self.model.factor), self.cut(coarse, run.index)

    def _runs(self, first: int, last: int, samples: int) -> list[Run]:
        """Return some of all windows, counted tile by tile, as runs of samples."""
        runs = []
        for place, index in enumerate(self.frame.reaching):
            start, stop = max(first - place * samples, 0), min(last - place * samples, samples)
            if start < stop:
                runs.append(Run(index, slice(start, stop)))
        return runs

    @cached_property
    def _places(self) -> dict[int, tuple[slice, Tensor | None]]:
        """Where each window lies in what was read; no columns where it has all of them."""
        found = {}
        width = self.frame.window[1].size
        for index in self.frame.reaching:
            tile = self.frame.tiles.tiles[index]
            rows, columns = self.frame.in_window(tile.rows, tile.columns)
            is_all = columns.size == width and (columns == np.arange(width)).all()
            found[index] = rows, None if is_all else torch.tensor(columns, device=self.device)
        return found

    @cached_property
    def _fine_columns(self) -> dict[int, Tensor]:
        factor = self.model.factor
        inside = torch.arange(factor, device=self.device)
        return {
            index: (columns[:, None] * factor + inside).reshape(-1)
            for index, (_, columns) in self._places.items()
            if columns is not None
        }


@lru_cache(maxsize=2)
def _compiled(model: DownscalingModel) -> Callable[..., Prediction]:
    """Compile a model once per process; each shape of windows is compiled when it comes."""
    return compiled(model.predict)


def _some(prediction: Prediction, samples: slice) -> Prediction:
    variance = prediction.log_variance
    return Prediction(
        prediction.fine[samples],
        prediction.base[samples],
        None if variance is None else variance[samples],
    )


def _length(run: Run) -> int:
    return run.samples.stop - run.samples.start


def _forget(device: torch.device) -> None:
    """Give back what a failed batch left."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
