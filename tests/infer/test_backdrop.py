"""The backdrop: static fields and climatology of a window, as the checkpoint has them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from orbitds.checkpoint import load_checkpoint
from orbitds.grid import Grid
from orbitds.infer import backdrop
from orbitds.infer.backdrop import Backdrop, known, place_known
from orbitds.infer.part import Frame, Part
from orbitds.sets import Choice
from orbitds.tiles import TileGrid

CPU = torch.device("cpu")
FACTOR = 3


@pytest.fixture
def checkpoint(checkpoint_folder):
    return load_checkpoint(checkpoint_folder)


@pytest.fixture
def corner(pair):
    """A frame across the first column whose window is a part of the field."""
    tiles = TileGrid(7, 11, 7, 11, 1, periodic=True)
    frame = Frame(tiles, Part(range(2), range(2)))
    assert frame.window[1].tolist() == [9, 10, 0, 1, 2, 3]
    return frame


def test_fields_are_those_of_the_window(pair, checkpoint, corner):
    made = Backdrop(checkpoint, pair.fine_grid, corner, CPU)
    rows, columns = corner.window
    fine = (columns[:, None] * FACTOR + np.arange(FACTOR)).reshape(-1)
    statics = checkpoint.region.statics[:, : rows.stop * FACTOR][..., fine]
    normal = checkpoint.normalizer(checkpoint.description.statics)(torch.tensor(statics))
    torch.testing.assert_close(made.statics, normal, rtol=0, atol=0)
    got = made.climatology(np.array([7, 1, 7]))
    outputs = checkpoint.normalizer(checkpoint.outputs)
    for field, found, cells in (
        (checkpoint.region.fine_climatology, got[0], (rows.stop * FACTOR, fine)),
        (checkpoint.region.coarse_climatology, got[1], (rows.stop, columns)),
    ):
        wanted = outputs(torch.tensor(field[[6, 0, 6]][..., : cells[0], :][..., cells[1]]))
        torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_no_more_months_are_kept_than_fit(pair, checkpoint, corner, monkeypatch):
    month = 4 * 2 * len(corner.window[0]) * 6 * (FACTOR**2 + 1)
    monkeypatch.setattr(backdrop, "MONTHS_BYTES", 4 * month - 1)
    made = Backdrop(checkpoint, pair.fine_grid, corner, CPU)
    every = np.arange(1, 13)
    first = made.climatology(every)
    assert list(made._months) == [10, 11, 12]
    assert all(torch.equal(*pair) for pair in zip(first, made.climatology(every), strict=True))


def test_regions_are_found_and_what_is_lacking_told(pair, checkpoint):
    grid = pair.coarse_grid
    part = Grid(grid.latitude_deg[1:6], grid.longitude_deg[3:9]).refine(FACTOR)
    region, lack = known(checkpoint, part)
    assert (region.offset, lack) == ((1, 3), "")
    assert np.shares_memory(region.statics, checkpoint.region.statics), "no copy is taken"
    frame = Frame(TileGrid(5, 6), Part.whole((5, 6)))
    assert Backdrop(checkpoint, part, frame, CPU).phase == (1, 1)
    elsewhere = Grid(grid.latitude_deg, grid.longitude_deg + 5).refine(FACTOR)
    region, lack = known(checkpoint, elsewhere)
    assert region is None
    assert "lies outside the training region" in lack
    _, lack = known(replace(checkpoint, region=None), part)
    assert "carries no static fields (orography)" in lack


WEST = Grid(np.arange(49.5, 24, -1), np.arange(-124.5, -90, 1.0))


@pytest.mark.parametrize(
    ("rows", "columns", "box", "inside"),
    [
        (slice(3, 9), slice(4, 9), (24.0, 50.0, -125.0, -90.0), True),
        (slice(3, 9), slice(4, 9), (24.0, 50.0, 235.0, 270.0), True),
        (slice(0, 26), slice(0, 35), (24.0, 50.0, -125.0, -90.0), True),
        (slice(3, 9), slice(4, 9), (24.0, 46.0, -125.0, -90.0), False),
        (slice(3, 9), slice(4, 9), (24.0, 50.0, -120.0, -90.0), False),
        (slice(3, 9), slice(4, 9), (24.0, 50.0, -90.0, -60.0), False),
        (slice(3, 9), slice(4, 9), (-90.0, 90.0, 0.0, 360.0), True),
    ],
)
def test_a_place_is_known_within_a_box_of_the_training(checkpoint, rows, columns, box, inside):
    grid = Grid(WEST.latitude_deg[rows], WEST.longitude_deg[columns])
    choice = Choice(3, (), (), (), (1.0, 1.0), same_product=False, told="", boxes_deg=(box,))
    checkpoint = replace(checkpoint)  # the one that is loaded belongs to other tests too
    object.__setattr__(checkpoint, "choice", choice)
    other = checkpoint.model.config
    assert place_known(checkpoint, grid) is None, "it was not trained to do without"
    checkpoint.model.config = other.model_copy(update={"drop_position": 0.2})
    try:
        bare = replace(checkpoint, region=None)
        object.__setattr__(bare, "choice", choice)
        assert place_known(bare, grid) is inside
        # the one region of a single pair counts too
        whole = replace(checkpoint)
        assert place_known(whole, checkpoint.region.grid) is True
        assert place_known(whole, Grid(grid.latitude_deg, grid.longitude_deg)) is True, "a globe"
    finally:
        checkpoint.model.config = other
