"""The downscaler: block in, block out."""

import warnings
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
import xarray as xr

from orbitds.checkpoint import Checkpoint, load_checkpoint
from orbitds.crops import tiles_about
from orbitds.data.statics import SOURCE
from orbitds.data.values import Missing, check_missing
from orbitds.device import choose_device
from orbitds.grid import Grid
from orbitds.infer.answer import Wish, check_variables
from orbitds.infer.backdrop import known
from orbitds.infer.batch import Batch, BatchSize, check_batch_size
from orbitds.infer.choice import whole_at
from orbitds.infer.constrain import check_constraints
from orbitds.infer.distribution import Distribution
from orbitds.infer.mask import told
from orbitds.infer.memory import choose_tiles, free_bytes, predict_memory, usual_batch
from orbitds.infer.part import Part, check_window
from orbitds.infer.precision import Dtype, check_dtype, choose_dtype
from orbitds.infer.seams import Seams
from orbitds.infer.sweep import frame_of, sweep_for
from orbitds.infer.template import dress
from orbitds.infer.tiling import OVERLAP_CELLS, Tiles, check_tiles, cut_for, halo_of
from orbitds.tiles import TileGrid

# A model trained at one spacing is not asked about another, rounding of coordinates aside.
SPACING_TOLERANCE = 0.05


class Downscaler:
    """Block in, block out: canonical coarse fields of some times to canonical fine ones.

    Its checkpoint pickles as a folder and a hash, so that it travels to dask workers without
    weights; each process loads the model once. One thread may compute while
    others read and write, or several compute at once.

    Parameters
    ----------
    checkpoint, variables, constraints, missing, device
        As in ``ds.orbit.downscale``.
    factor
        Which factor of a checkpoint of several sets; all its inputs must be there then.
        ``ds.orbit.downscale`` chooses by the dataset.
    tiles
        ``(rows, columns)``; ``"auto"`` for the whole field where its windows fit into the free
        memory, else as few tiles as do. By default the whole field is one window; of a checkpoint
        that was trained on crops, either makes windows of about their size.
    halo
        Coarse cells around a tile: beyond those over which the model's convolutions look,
        neighbours are blended. By default four of them.
    batch_size
        Windows run at once; ``"auto"`` or None chooses by the memory of the device. With a number
        each batch is filled up to it, so that nothing depends on how many windows there are.
    dtype
        ``"float32"`` or ``"bfloat16"``: in which products are computed. By default bfloat16 on
        GPUs that are fast in it, float32 elsewhere. Interpolation, sums and the way back to
        physical units are in float32 and float64 always.
    members
        How many fields to draw for each time, along a dimension ``member``, from a checkpoint that
        predicts members.
    spread
        Whether to add the standard deviation of each variable as ``<name>_spread``.
    compile
        Whether to compile the model: worth its minute for a job of many blocks on a GPU.
    """

    def __init__(
        self,
        checkpoint: str | PathLike[str] | Checkpoint,
        *,
        factor: int | None = None,
        variables: Sequence[str] | None = None,
        tiles: Tiles = None,
        halo: int | None = None,
        batch_size: BatchSize = None,
        constraints: Sequence[str] = (),
        missing: Missing = "error",
        device: str | None = None,
        dtype: Dtype | None = None,
        members: int | None = None,
        spread: bool = False,
        compile: bool = False,
    ) -> None:
        if not isinstance(checkpoint, Checkpoint):
            checkpoint = load_checkpoint(str(checkpoint))
        self.checkpoint = whole_at(_has_learned(checkpoint), factor)
        self.variables = check_variables(variables, self.checkpoint)
        self.tiles: Tiles = check_tiles(tiles)
        self.halo = halo
        halo_of(self.checkpoint.model, halo)  # refused before anything is written
        self.batch_size = check_batch_size(batch_size)
        self.constraints = check_constraints(constraints, self.checkpoint, self.variables)
        self.missing: Missing = check_missing(missing)
        self.distribution = Distribution.of(self.checkpoint, members, spread=spread)
        self.compile = compile
        self.device = device
        # a device that is not there is refused before anything is written
        model, there = self.checkpoint.model, choose_device(device)
        self.dtype: Dtype = choose_dtype(check_dtype(dtype), there, model)
        self._fixed: dict[tuple[int, int], tuple[int, int]] = {}
        self._cuts: dict[tuple[tuple[int, int], bool], TileGrid] = {}
        self._batches: dict[TileGrid, Batch] = {}
        self._warned: set[str] = set()

    @property
    def dims(self) -> dict[str, tuple[str, ...]]:
        """Canonical dimensions of each variable of the answer."""
        return {name: self._wish.dims(name) for name in self._wish.names}

    def check_grid(self, grid: Grid) -> None:
        """Refuse a grid that the checkpoint was not trained for, or that cannot be tiled so.

        One that was trained at several spacings warns of a grid that is far from the nearest.
        """
        self.tiles_for(grid)
        wanted, _ = self.checkpoint.description.spacing_km
        if abs(grid.spacing_km / wanted - 1) <= SPACING_TOLERANCE:
            return
        if self.checkpoint.choice is not None:  # has learned what spacings are
            self._say(
                f"Checkpoint {self.checkpoint.name!r} was trained at {wanted:.4g} km for this "
                f"factor, the nearest to the {grid.spacing_km:.4g} km of the input. Expect less "
                "skill."
            )
        else:
            raise ValueError(
                f"Wanted a grid spacing of {wanted:.0f} km, which checkpoint "
                f"{self.checkpoint.name!r} was trained at, got {grid.spacing_km:.0f} km ({grid}). "
                "Coarsen or regrid the input, or choose a checkpoint for this spacing."
            )

    def fits(self, grid: Grid) -> list[str]:
        """Refuse a grid as ``check_grid`` does; return what the checkpoint lacks for it."""
        self.check_grid(grid)
        _, lack = known(self.checkpoint, self.fine_grid(grid))
        return [lack] if lack else []

    def fine_grid(self, grid: Grid) -> Grid:
        """Return the grid of the output."""
        return grid.refine(self.checkpoint.factor, self.checkpoint.model.placement)

    def statics_source(self, fine_grid: Grid) -> str | None:
        """Return where the static fields used on a grid are from; None if that is not known."""
        description = self.checkpoint.description
        if self.checkpoint.choice is not None:
            return SOURCE if description.statics else "none"
        if description.statics and known(self.checkpoint, fine_grid)[0] is None:
            return "none"
        source = description.provenance.get("statics")
        return None if source is None else str(source)

    def tiles_for(self, grid: Grid) -> TileGrid:
        """Return how the whole field is cut: fixed when first asked for, by a job in all parts."""
        key = grid.shape, grid.periodic
        if key not in self._cuts:  # once: a large field has thousands of tiles
            self._cuts[key] = self._cut(grid)
        return self._cuts[key]

    def _cut(self, grid: Grid) -> TileGrid:
        model, tiles = self.checkpoint.model, self.tiles
        trained = self.checkpoint.description.window_cells
        if trained is not None and tiles in (None, "auto"):
            tiles = tiles_about(grid.shape, trained, OVERLAP_CELLS)
        if tiles == "auto" and model.window is None:
            if grid.shape not in self._fixed:
                free = free_bytes(choose_device(self.device))
                self._fixed[grid.shape] = choose_tiles(model, grid, free, self.dtype, self.halo)
            tiles = self._fixed[grid.shape]
        return cut_for(model, grid, None if tiles == "auto" else tiles, self.halo)

    def memory_of(self, grid: Grid, part: Part | None = None) -> int:
        """Return the memory in bytes that a time of a part takes on the device, predicted."""
        part, tiles = part or Part.whole(grid.shape), self.tiles_for(grid)
        drawn, outputs = self.distribution.drawn, len(self.checkpoint.outputs)
        return predict_memory(
            self.checkpoint.model,
            tiles,
            len(part.rows) * len(part.columns),
            self._batch_for(tiles).cut(len(tiles.tiles) * drawn),
            self.distribution.channels(outputs) * drawn,
            self.dtype,
        )

    def window_of(self, grid: Grid, part: Part) -> tuple[range, np.ndarray]:
        """Return the coarse cells that must be read to compute a part of a field.

        Returns
        -------
        tuple
            Rows, and the indices of columns in the order in which ``compute`` wants them: they go
            on at the first column where longitude wraps.
        """
        part.check(grid.shape)
        return frame_of(self.tiles_for(grid), part, self._wish).window

    def __call__(self, coarse: xr.Dataset) -> xr.Dataset:
        """Return the fine fields of a canonical dataset; see ``compute``."""
        return self.compute(coarse, Grid.of(coarse))

    def compute(
        self,
        coarse: xr.Dataset,
        grid: Grid,
        part: Part | None = None,
        *,
        empty_times: np.ndarray | None = None,
    ) -> xr.Dataset:
        """Return the fine fields of a part of a field; the whole of it by default.

        What is returned of a part is, to the bit, what it is in the whole field (on a CPU, with one
        window a batch).

        Parameters
        ----------
        coarse
            Canonical fields of the cells that ``window_of`` tells, columns in its order.
        grid
            The canonical grid of the whole field.
        part
            What is wanted.
        empty_times
            With ``missing="mask"``, at which times an input has no value in the whole field: there
            is no answer then. Taken from the values where these are the whole field.

        Raises
        ------
        ValueError
            If values are missing or implausible, or are not those of the window.
        """
        return self.compute_with_seams(coarse, grid, part, empty_times=empty_times)[0]

    def compute_with_seams(
        self,
        coarse: xr.Dataset,
        grid: Grid,
        part: Part | None = None,
        *,
        empty_times: np.ndarray | None = None,
    ) -> tuple[xr.Dataset, Seams | None]:
        """Return what ``compute`` does, and its sums for the seam index; None without tiles."""
        part = part or Part.whole(grid.shape)
        part.check(grid.shape)
        sweep = sweep_for(
            self.checkpoint, self.device, grid, self.tiles_for(grid), part, self._wish
        )
        check_window(coarse, sweep.frame)
        for lack in sweep.lack(coarse["time"]):
            self._say(lack)
        values, seams = sweep.run(coarse, empty_times, self._batch_for(sweep.frame.tiles))
        statics = self.statics_source(self.fine_grid(grid))
        answer = dress(values, coarse, sweep.fine_grid, self.checkpoint, statics=statics)
        return (told(answer) if self.missing == "mask" else answer), seams

    @property
    def _wish(self) -> Wish:
        return Wish(
            variables=self.variables,
            constraints=self.constraints,
            missing=self.missing,
            distribution=self.distribution,
            dtype=self.dtype,
            compile=self.compile,
        )

    def _batch_for(self, tiles: TileGrid) -> Batch:
        """Return how many windows run at once, decided once for a job."""
        if tiles not in self._batches:
            model, device = self.checkpoint.model, choose_device(self.device)
            size = self.batch_size or usual_batch(model, tiles, device, self.dtype)
            constant = self.compile or self.batch_size is not None
            self._batches[tiles] = Batch(size, is_constant=constant)
        return self._batches[tiles]

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what belongs to this process: batches that fit into its memory."""
        return self.__dict__ | {"_batches": {}, "_cuts": {}}

    def _say(self, text: str) -> None:
        """Warn once per job, not once per block."""
        if text not in self._warned:
            self._warned.add(text)
            warnings.warn(text, UserWarning, stacklevel=2)


def _has_learned(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint, if it has learned to downscale."""
    if checkpoint.description.objective == "masked":
        raise ValueError(
            f"Wanted a checkpoint that has learned to downscale, got {checkpoint.name!r}, which "
            "was pre-trained to reconstruct hidden parts of its inputs. Train a run that starts "
            "from it: `orbitds train --from` this folder."
        )
    return checkpoint
