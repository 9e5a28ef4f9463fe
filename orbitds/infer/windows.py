"""Run a model over the windows of a field, in batches, and blend what it gives."""

import torch
from jaxtyping import Float
from torch import Tensor

from orbitds.grid import Grid
from orbitds.model.interface import DownscalingModel
from orbitds.tiles import Tile, TileGrid

# Fine cells worked on at once by default: about 1 GiB of activations at 32 channels.
BATCH_FINE_CELLS = 2**21


def run_windows(
    model: DownscalingModel,
    coarse: Float[Tensor, "T V H W"],
    grid: Grid,
    tiles: TileGrid,
    *,
    statics: Float[Tensor, "S Hf Wf"] | None,
    climatology: tuple[Tensor, Tensor] | None,
    batch_size: int | None = None,
    phase: tuple[int, int] = (0, 0),
    noise: Float[Tensor, "T Z"] | None = None,
) -> Float[Tensor, "T U Hf Wf"]:
    """Return normalised fine fields on the CPU.

    Parameters
    ----------
    model
        In evaluation mode, on the device to compute on.
    coarse
        Normalised inputs.
    grid
        The coarse grid.
    statics, climatology
        As ``DownscalingModel.predict`` takes them, for the whole field.
    batch_size
        Windows run at once.
    phase
        As ``DownscalingModel.predict`` takes it; windows that begin at whole patches share it.
    noise
        As ``DownscalingModel.predict`` takes it, one vector a time for all windows.
    """
    factor = model.factor
    windows = []
    for tile in tiles.tiles:
        fields = tiles.cut(coarse, tile)
        cells = fields.shape[-2] * fields.shape[-1] * factor**2
        size = batch_size or max(1, BATCH_FINE_CELLS // cells)
        around = None if statics is None else tiles.cut(statics, tile, factor)
        normal = None
        if climatology is not None:
            normal = tiles.cut(climatology[0], tile, factor), tiles.cut(climatology[1], tile)
        parts = [
            _run(
                model,
                fields[start : start + size],
                _place(grid, tiles, tile, factor),
                around,
                None if normal is None else tuple(n[start : start + size] for n in normal),
                periodic=tiles.wraps,
                phase=phase,
                noise=None if noise is None else noise[start : start + size],
            )
            for start in range(0, fields.shape[0], size)
        ]
        windows.append(torch.cat(parts))
    return windows[0] if len(windows) == 1 else tiles.blend(windows, factor)


def _run(
    model: DownscalingModel,
    coarse: Tensor,
    place: dict[str, Tensor],
    statics: Tensor | None,
    climatology: tuple[Tensor, ...] | None,
    *,
    periodic: bool,
    phase: tuple[int, int],
    noise: Tensor | None,
) -> Tensor:
    device = next(model.parameters()).device

    def for_all(tensor: Tensor) -> Tensor:
        return tensor.expand(coarse.shape[0], *tensor.shape).to(device)

    with torch.inference_mode():
        fine = model(
            coarse.to(device),
            **{name: for_all(value) for name, value in place.items()},
            statics=None if statics is None else for_all(statics),
            climatology=(
                None
                if climatology is None
                else (climatology[0].to(device), climatology[1].to(device))
            ),
            periodic=periodic,
            phase=phase,
            noise=None if noise is None else noise.to(device),
        )
    return fine.float().cpu()


def _place(grid: Grid, tiles: TileGrid, tile: Tile, factor: int) -> dict[str, Tensor]:
    """Return where a window lies."""
    rows, _ = tiles.index(tile)
    return {
        "latitude_deg": torch.tensor(grid.latitude_deg[rows]).float(),
        "longitude_deg": tiles.longitude(torch.tensor(grid.longitude_deg), tile).float(),
        "spacing_km": torch.tensor([grid.spacing_km, grid.spacing_km / factor]),
    }
