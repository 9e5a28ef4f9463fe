"""Windows: where a model is told that it is, in whatever batches it is run."""

import warnings

import numpy as np
import pytest
import torch

from orbitds.grid import Grid
from orbitds.infer.backdrop import Backdrop
from orbitds.infer.batch import Batch
from orbitds.infer.canvas import Canvas, Shares
from orbitds.infer.part import Frame, Part
from orbitds.infer.windows import Told, Windows
from orbitds.model.interface import Prediction
from orbitds.model.reslim import Reslim
from orbitds.tiles import TileGrid

CPU = torch.device("cpu")
GLOBE = Grid(np.linspace(75, -75, 6), np.arange(10) * 36.0 + 18)


class Nothing(Backdrop):
    """Nothing is known of the place."""

    def __init__(self):
        self.device, self.statics, self.phase, self.region = CPU, None, (0, 0), None


class Witness(Reslim):
    """Paints the coordinates that it is given, each on its children."""

    factor = 2

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def predict(self, coarse, *, latitude_deg, longitude_deg, spacing_km, periodic, **_):
        self.seen.append((tuple(coarse.shape), spacing_km[0].tolist(), periodic))
        north = latitude_deg[:, :, None].expand(-1, -1, longitude_deg.shape[1])
        # as a point on the circle, since a window may run beyond 360
        east = torch.deg2rad(longitude_deg)[:, None, :].expand_as(north)
        fields = torch.stack([north, east.sin(), east.cos(), coarse[:, 0]], dim=1)
        fine = fields.repeat_interleave(2, -1).repeat_interleave(2, -2)
        return Prediction(fine, fine)


class Echo(Witness):
    """Paints the noise that it is given: its first numbers, each on all cells."""

    def predict(self, coarse, *, noise, **_):
        self.seen.append(noise)
        assert noise is None or len(noise) == len(coarse)
        fields = torch.zeros(len(coarse), 4, 1, 1) if noise is None else noise[:, :4, None, None]
        fine = fields.expand(-1, -1, 2 * coarse.shape[-2], 2 * coarse.shape[-1])
        return Prediction(fine, fine)


def painted(model, coarse, tiles, batch=None, noise=None):
    """Run all windows of a field and blend them."""
    frame = Frame(tiles, Part.whole((tiles.height, tiles.width)))
    windows = Windows(model, GLOBE, frame, Nothing())
    canvas = Canvas(Shares(frame, 2, CPU), len(coarse), 4, CPU)
    told = Told(None, noise)
    batch = batch or Batch(100, is_constant=False)
    for run, said in windows.run(
        lambda index, samples: windows.cut(coarse[samples], index), len(coarse), told, batch
    ):
        canvas.add(run.samples, run.index, said.fine)
    return canvas.fields


@pytest.mark.parametrize("is_constant", [True, False])
def test_windows_know_their_place(is_constant):
    coarse = torch.rand(3, 1, 6, 10)
    tiles = TileGrid(6, 10, 2, 3, 1, periodic=True)
    model = Witness()
    fine = painted(model, coarse, tiles, Batch(4, is_constant=is_constant))
    north, sine, cosine, values = fine.unbind(1)
    assert fine.shape == (3, 4, 12, 20)
    assert torch.allclose(north[0, ::2, 0], torch.tensor(GLOBE.latitude_deg).float(), atol=1e-4)
    east = torch.rad2deg(torch.atan2(sine, cosine)) % 360
    assert torch.allclose(east[0, 0, ::2], torch.tensor(GLOBE.longitude_deg).float(), atol=1e-3)
    assert torch.allclose(values[:, ::2, ::2], coarse[:, 0], atol=1e-6)
    # six windows of three times: batches that span tiles, filled up or as even as can be
    sizes = [shape[0] for shape, _, _ in model.seen]
    assert sizes == ([4] * 5 if is_constant else [4, 4, 4, 3, 3])
    assert {shape[-2:] for shape, _, _ in model.seen} == {(5, 6)}
    np.testing.assert_allclose(
        model.seen[0][1], [GLOBE.spacing_km, GLOBE.spacing_km / 2], rtol=1e-6
    )
    assert not any(periodic for _, _, periodic in model.seen)


def test_the_whole_circle_is_periodic():
    model = Witness()
    painted(model, torch.rand(1, 1, 6, 10), TileGrid(6, 10, 1, 1, 1, periodic=True))
    assert model.seen == [((1, 1, 6, 10), model.seen[0][1], True)]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3)])
def test_all_windows_of_a_time_have_its_noise(shape, batch_size):
    tiles = TileGrid(6, 10, *shape, 1, periodic=True)
    noise = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    model = Echo()
    batch = Batch(batch_size, is_constant=False)
    fine = painted(model, torch.rand(5, 1, 6, 10), tiles, batch, noise)
    # nothing but the noise is in the field: a window with other noise would show, blended or not
    torch.testing.assert_close(fine, noise[:, :, None, None].expand_as(fine), rtol=1e-6, atol=1e-6)
    assert torch.equal(torch.cat(model.seen), noise.repeat(shape[0] * shape[1], 1))


def test_without_noise_none_is_handed_on():
    model = Echo()
    painted(model, torch.rand(3, 1, 6, 10), TileGrid(6, 10, 2, 3, 1, periodic=True))
    assert set(model.seen) == {None}


class Greedy(Witness):
    """Has memory for so many windows."""

    def __init__(self, most, error):
        super().__init__()
        self.most, self.error = most, error

    def predict(self, coarse, **told):
        if len(coarse) > self.most:
            self.seen.append(len(coarse))
            raise self.error
        return super().predict(coarse, **told)


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("is_constant", [True, False])
def test_too_many_windows_at_once_are_halved_and_told_once(error, is_constant):
    coarse, tiles = torch.rand(3, 1, 6, 10), TileGrid(6, 10, 2, 3, 1, periodic=True)
    wanted = painted(Witness(), coarse, tiles)
    model, batch = Greedy(3, error), Batch(16, is_constant=is_constant)
    with pytest.warns(UserWarning, match=r"Memory ran out with \d+ windows at once") as told:
        fine = painted(model, coarse, tiles, batch)
    assert len(told) == 1
    assert torch.equal(fine, wanted)
    assert batch.size in (2, 3)
    failed = len([one for one in model.seen if isinstance(one, int)])
    with warnings.catch_warnings():  # the rest of the job goes on with what fitted
        warnings.simplefilter("error")
        assert torch.equal(painted(model, coarse, tiles, batch), wanted)
    assert len([one for one in model.seen if isinstance(one, int)]) == failed


@pytest.mark.filterwarnings("ignore:Memory ran out")
def test_no_memory_for_one_window_is_an_error_with_a_remedy():
    model = Greedy(0, ERRORS[0])
    with pytest.raises(MemoryError, match=r"one window.*20\.00 GiB.*more tiles.*--tiles 4x8"):
        painted(model, torch.rand(3, 1, 6, 10), TileGrid(6, 10, 2, 3, 1, periodic=True))


def test_other_errors_are_no_lack_of_memory():
    with pytest.raises(RuntimeError, match="shape"):
        painted(Greedy(0, RuntimeError("shape")), torch.rand(3, 1, 6, 10), TileGrid(6, 10))
