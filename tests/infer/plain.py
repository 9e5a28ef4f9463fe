"""Downscaling once more, plainly: window by window on the CPU, whole fields, nothing clever."""

import numpy as np
import torch

from orbitds.constraints import Blocks, bounded, constrain
from orbitds.data.gaps import fill_gaps
from orbitds.data.pair import stack
from orbitds.data.times import labels_of
from orbitds.grid import Grid
from orbitds.model.embed import member_noise


def plain(coarse, checkpoint, tiles, constraints=(), member=0):
    """Return physical fine fields by variable; gaps filled by window, and left in the answer."""
    grid, factor, model = Grid.of(coarse), checkpoint.factor, checkpoint.model
    fine_grid = grid.refine(factor)
    inputs, outputs = (checkpoint.normalizer(n) for n in (checkpoint.inputs, checkpoint.outputs))
    fields = torch.tensor(stack(coarse, checkpoint.inputs).transpose("time", ...).values)
    region = checkpoint.region and checkpoint.region.cut(fine_grid, factor)
    statics = climatology = None
    if region and model.statics:
        statics = checkpoint.normalizer(model.statics)(torch.tensor(region.statics))
    if region and region.fine_climatology is not None:
        months = coarse["time"].dt.month.values - 1
        climatology = [
            outputs(torch.tensor(field[months]).float())
            for field in (region.fine_climatology, region.coarse_climatology)
        ]
    noise = None
    if model.config.predicts == "members":
        noise = member_noise(labels_of(coarse["time"]), member)
    patch, offset = model.patch, (0, 0) if region is None else region.offset
    windows = []
    for tile in tiles.tiles:
        window = fill_gaps(tiles.cut(fields, tile).numpy(), periodic=tiles.wraps)
        rows, _ = tiles.index(tile)
        said = []
        for step, field in enumerate(torch.tensor(window)):
            with torch.inference_mode():
                said.append(
                    model(
                        inputs(field[None]).nan_to_num(nan=0.0),
                        latitude_deg=torch.tensor(grid.latitude_deg[rows]).float()[None],
                        longitude_deg=tiles.longitude(
                            torch.tensor(grid.longitude_deg), tile
                        ).float()[None],
                        spacing_km=torch.tensor(
                            [[grid.spacing_km, grid.spacing_km / factor]]
                        ).float(),
                        statics=None if statics is None else tiles.cut(statics, tile, factor)[None],
                        climatology=climatology
                        and tuple(
                            tiles.cut(normal[step], tile, size)[None]
                            for normal, size in zip(climatology, (factor, 1), strict=True)
                        ),
                        periodic=tiles.wraps,
                        phase=(offset[0] % patch, offset[1] % patch),
                        noise=None if noise is None else noise[step : step + 1],
                    )
                )
        windows.append(torch.cat(said))
    fine = outputs.inverse(tiles.blend(windows, factor)).clone()
    by_name = dict(zip(checkpoint.outputs, fine.unbind(1), strict=True))
    if not constraints:
        return {name: bounded(field, name).numpy() for name, field in by_name.items()}
    given = dict(zip(checkpoint.inputs, fields.unbind(1), strict=True))
    blocks = Blocks(area=torch.tensor(fine_grid.area), factor=factor, periodic=grid.periodic)
    for name, field in by_name.items():
        if name in given:
            gaps = np.isnan(given[name].numpy()).repeat(factor, -1).repeat(factor, -2)
            field[torch.tensor(gaps)] = torch.nan
    held = constrain(by_name, {n: f for n, f in given.items() if n in by_name}, blocks, constraints)
    return {name: field.numpy() for name, field in held.items()}
