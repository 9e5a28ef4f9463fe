"""Downscaling: a block in, a block out."""

import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import torch
import xarray as xr
from torch import Tensor

from orbitds.checkpoint import Checkpoint, load_checkpoint
from orbitds.data.pair import stack
from orbitds.data.times import labels_of, months_of
from orbitds.data.values import Missing, check_missing, check_values
from orbitds.description import find_checkpoint
from orbitds.device import choose_device
from orbitds.grid import Grid
from orbitds.infer.constrain import check_constraints, constrained
from orbitds.infer.mask import filled, missing_cells, on_fine_cells, told
from orbitds.infer.template import dress
from orbitds.infer.tiling import Tiles, check_tiles, cut_for
from orbitds.infer.windows import run_windows
from orbitds.model.embed import member_noise
from orbitds.region import Region
from orbitds.resources import did_you_mean
from orbitds.tiles import TileGrid

# A model trained at one spacing is not asked about another, rounding of coordinates aside.
SPACING_TOLERANCE = 0.05


class Downscaler:
    """Block in, block out: canonical coarse fields of some times to canonical fine ones.

    Pickles as the path of its checkpoint, so that it travels to dask workers without weights; each
    process loads the model once.

    Parameters
    ----------
    checkpoint, variables, tiles, batch_size, constraints, missing, device
        As in ``ds.orbit.downscale``.
    """

    def __init__(
        self,
        checkpoint: str | PathLike[str] | Checkpoint,
        *,
        variables: Sequence[str] | None = None,
        tiles: Tiles = None,
        batch_size: int | None = None,
        constraints: Sequence[str] = (),
        missing: Missing = "error",
        device: str | None = None,
    ) -> None:
        self._checkpoint = (
            checkpoint if isinstance(checkpoint, Checkpoint) else find_checkpoint(str(checkpoint))
        )
        self._check_objective()
        self.variables = self._chosen(variables)
        self.tiles: Tiles = check_tiles(tiles)
        self.batch_size = batch_size
        self.constraints = check_constraints(constraints, self.checkpoint, self.variables)
        self.missing = check_missing(missing)
        self.device = device
        choose_device(device)  # a device that is not there is refused before anything is written
        self._warned: set[str] = set()

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint, read once per process."""
        if isinstance(self._checkpoint, Path):
            return load_checkpoint(self._checkpoint)
        return self._checkpoint

    def check_grid(self, grid: Grid) -> None:
        """Refuse a grid that the checkpoint was not trained for, or that cannot be tiled so."""
        self._tile_grid(grid)
        wanted, _ = self.checkpoint.description.spacing_km
        if abs(grid.spacing_km / wanted - 1) > SPACING_TOLERANCE:
            raise ValueError(
                f"Wanted a grid spacing of {wanted:.0f} km, which checkpoint "
                f"{self.checkpoint.name!r} was trained at, got {grid.spacing_km:.0f} km ({grid}). "
                "Coarsen or regrid the input, or choose a checkpoint for this spacing."
            )

    def fits(self, grid: Grid) -> list[str]:
        """Refuse a grid as ``check_grid`` does; return what the checkpoint lacks for it."""
        self.check_grid(grid)
        _, lack = self._cut(self.fine_grid(grid))
        return [lack] if lack else []

    def fine_grid(self, grid: Grid) -> Grid:
        """Return the grid of the output."""
        return grid.refine(self.checkpoint.factor, self.checkpoint.model.placement)

    def statics_source(self, fine_grid: Grid) -> str | None:
        """Return where the static fields used on a grid are from; None if that is not known."""
        description = self.checkpoint.description
        if description.statics and self._cut(fine_grid)[0] is None:
            return "none"
        source = description.provenance.get("statics")
        return None if source is None else str(source)

    def __call__(self, coarse: xr.Dataset) -> xr.Dataset:
        """Return the fine fields of a canonical dataset.

        Raises
        ------
        ValueError
            If values are missing or implausible.
        """
        checkpoint = self.checkpoint
        grid = Grid.of(coarse)
        fine_grid = self.fine_grid(grid)
        fields = stack(coarse, checkpoint.inputs).transpose("time", ...).values
        for place, name in enumerate(checkpoint.inputs):
            check_values(name, fields[:, place], missing=self.missing)
        seen = torch.tensor(filled(fields, periodic=grid.periodic))
        fine = self._run(seen, coarse["time"], grid, self._region(fine_grid))
        gaps = missing_cells(fields, checkpoint.inputs, checkpoint.outputs)
        fine[torch.tensor(on_fine_cells(gaps, checkpoint.factor))] = torch.nan
        inputs = torch.tensor(fields)
        values = constrained(fine, inputs, fine_grid, checkpoint, self.variables, self.constraints)
        statics = self.statics_source(fine_grid)
        answer = dress(values, coarse, fine_grid, checkpoint, statics=statics)
        return told(answer) if self.missing == "mask" else answer

    def _run(self, fields: Tensor, time: xr.DataArray, grid: Grid, region: Region | None) -> Tensor:
        """Return physical fine fields [T, U, Hf, Wf] of physical coarse ones [T, V, H, W]."""
        checkpoint = self.checkpoint
        # zero is the mean, for a field without any value
        inputs = checkpoint.normalizer(checkpoint.inputs)(fields).nan_to_num(nan=0.0)
        statics = None
        if region is not None and checkpoint.description.statics:
            normalizer = checkpoint.normalizer(checkpoint.description.statics)
            statics = normalizer(torch.tensor(region.statics))
        climatology = self._climatology(region, time)
        north, west = (0, 0) if region is None else region.offset
        patch = checkpoint.model.patch
        fine = run_windows(
            checkpoint.model.to(choose_device(self.device)),
            inputs,
            grid,
            self._tile_grid(grid),
            statics=statics,
            climatology=climatology,
            batch_size=self.batch_size,
            phase=(north % patch, west % patch),
            noise=self._noise(time),
        )
        return checkpoint.normalizer(checkpoint.outputs).inverse(fine)

    def _noise(self, time: xr.DataArray) -> Tensor | None:
        """Return the noise of the first member, one vector a time, for a model of members."""
        if self.checkpoint.model.config.predicts != "members":
            return None
        return member_noise(labels_of(time), member=0)

    def _region(self, fine_grid: Grid) -> Region | None:
        cut, lack = self._cut(fine_grid)
        if lack:
            self._say(lack)
        return cut

    def _cut(self, fine_grid: Grid) -> tuple[Region | None, str]:
        """Return what the checkpoint knows of a region, and what it lacks."""
        checkpoint = self.checkpoint
        region = checkpoint.region
        if region is None:
            statics = checkpoint.description.statics
            return None, "" if not statics else (
                f"Checkpoint {checkpoint.name!r} carries no static fields "
                f"({', '.join(statics)}): the model does without. Expect less skill."
            )
        cut = region.cut(fine_grid, checkpoint.factor)
        return cut, "" if cut is not None else (
            f"The input lies outside the training region of checkpoint {checkpoint.name!r} "
            f"({region.grid}): its climatology and static fields are not used, and the model "
            "starts from plain interpolation. Expect less skill."
        )

    def _climatology(
        self, region: Region | None, time: xr.DataArray
    ) -> tuple[Tensor, Tensor] | None:
        """Return normalised fine and coarse climatologies of each time step's month."""
        checkpoint = self.checkpoint
        if region is None or region.fine_climatology is None:
            return None
        assert region.coarse_climatology is not None
        months = months_of(time)
        if months is None:
            self._say(
                "The input has no dates, so the month is unknown: the climatology of checkpoint "
                f"{checkpoint.name!r} is not used. Give it a time coordinate for more skill."
            )
            return None
        normalizer = checkpoint.normalizer(checkpoint.outputs)
        fine, coarse = (
            normalizer(torch.tensor(field[months - 1]).float())
            for field in (region.fine_climatology, region.coarse_climatology)
        )
        return fine, coarse

    def _tile_grid(self, grid: Grid) -> TileGrid:
        return cut_for(self.checkpoint.model, grid, self.tiles)

    def _check_objective(self) -> None:
        if self.checkpoint.description.objective == "masked":
            raise ValueError(
                f"Wanted a checkpoint that has learned to downscale, got "
                f"{self.checkpoint.name!r}, which was pre-trained to reconstruct hidden parts of "
                "its inputs. Train a run that starts from it: `orbitds train --from` this folder."
            )

    def _chosen(self, variables: Sequence[str] | None) -> tuple[str, ...]:
        outputs = self.checkpoint.outputs
        if isinstance(variables, str):
            variables = (variables,)
        for name in variables or ():
            if name not in outputs:
                raise ValueError(
                    f"Wanted output variables of checkpoint {self.checkpoint.name!r}, some of "
                    f"{list(outputs)}, got {name!r}.{did_you_mean(name, outputs)}"
                )
        return tuple(variables) if variables else outputs

    def _say(self, text: str) -> None:
        """Warn once per job, not once per block."""
        if text not in self._warned:
            self._warned.add(text)
            warnings.warn(text, UserWarning, stacklevel=2)
