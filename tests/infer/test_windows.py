"""Windows: where a model is told that it is."""

import numpy as np
import pytest
import torch

from orbitds.grid import Grid
from orbitds.infer.windows import run_windows
from orbitds.model.reslim import Reslim
from orbitds.tiles import TileGrid


class Witness(Reslim):
    """Paints the coordinates that it is given, each on its children."""

    factor = 2

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def forward(self, coarse, *, latitude_deg, longitude_deg, spacing_km, periodic, **_):
        self.seen.append((tuple(coarse.shape), spacing_km[0].tolist(), periodic))
        north = latitude_deg[:, :, None].expand(-1, -1, longitude_deg.shape[1])
        # as a point on the circle, since a window may run beyond 360
        east = torch.deg2rad(longitude_deg)[:, None, :].expand_as(north)
        fields = torch.stack([north, east.sin(), east.cos(), coarse[:, 0]], dim=1)
        return fields.repeat_interleave(2, -1).repeat_interleave(2, -2)


def test_windows_know_their_place():
    grid = Grid(np.linspace(75, -75, 6), np.arange(10) * 36.0 + 18)
    coarse = torch.rand(3, 1, 6, 10)
    tiles = TileGrid(6, 10, 2, 3, 1, periodic=grid.periodic)
    model = Witness()
    fine = run_windows(model, coarse, grid, tiles, statics=None, climatology=None, batch_size=2)
    north, sine, cosine, values = fine.unbind(1)
    assert fine.shape == (3, 4, 12, 20)
    assert torch.allclose(north[0, ::2, 0], torch.tensor(grid.latitude_deg).float(), atol=1e-4)
    east = torch.rad2deg(torch.atan2(sine, cosine)) % 360
    assert torch.allclose(east[0, 0, ::2], torch.tensor(grid.longitude_deg).float(), atol=1e-3)
    assert torch.allclose(values[:, ::2, ::2], coarse[:, 0], atol=1e-6)
    assert len(model.seen) == 6 * 2  # six windows, three times in batches of two and one
    assert {shape[-2:] for shape, _, _ in model.seen} == {(5, 6)}
    np.testing.assert_allclose(model.seen[0][1], [grid.spacing_km, grid.spacing_km / 2], rtol=1e-6)
    assert not any(periodic for _, _, periodic in model.seen)


def test_the_whole_circle_is_periodic():
    grid = Grid(np.linspace(75, -75, 6), np.arange(10) * 36.0)
    model = Witness()
    tiles = TileGrid(6, 10, 1, 1, 1, periodic=grid.periodic)
    run_windows(model, torch.rand(1, 1, 6, 10), grid, tiles, statics=None, climatology=None)
    assert model.seen == [((1, 1, 6, 10), model.seen[0][1], True)]


class Echo(Witness):
    """Paints the noise that it is given: its first numbers, each on all cells."""

    def forward(self, coarse, *, noise, **_):
        self.seen.append(noise)
        assert noise is None or len(noise) == len(coarse)
        fields = torch.zeros(len(coarse), 3, 1, 1) if noise is None else noise[:, :3, None, None]
        return fields.expand(-1, -1, 2 * coarse.shape[-2], 2 * coarse.shape[-1])


@pytest.mark.parametrize("batch_size", [None, 1, 2, 5])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3)])
def test_all_windows_of_a_time_have_its_noise(shape, batch_size):
    grid = Grid(np.linspace(75, -75, 6), np.arange(10) * 36.0 + 18)
    tiles = TileGrid(6, 10, *shape, 1, periodic=grid.periodic)
    noise = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    model = Echo()
    fine = run_windows(
        model,
        torch.rand(5, 1, 6, 10),
        grid,
        tiles,
        statics=None,
        climatology=None,
        batch_size=batch_size,
        noise=noise,
    )
    # nothing but the noise is in the field: a window with other noise would show, blended or not
    torch.testing.assert_close(
        fine, noise[:, :3, None, None].expand(5, 3, 12, 20), rtol=1e-6, atol=1e-6
    )
    assert torch.equal(torch.cat(model.seen), noise.repeat(shape[0] * shape[1], 1))


def test_without_noise_none_is_handed_on():
    grid = Grid(np.linspace(75, -75, 6), np.arange(10) * 36.0 + 18)
    tiles = TileGrid(6, 10, 2, 3, 1, periodic=grid.periodic)
    model = Echo()
    run_windows(model, torch.rand(3, 1, 6, 10), grid, tiles, statics=None, climatology=None)
    assert model.seen == [None] * 6
