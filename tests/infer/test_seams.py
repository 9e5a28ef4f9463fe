"""Seams: an index of what stands out where tiles meet, added up from parts."""

import json

import numpy as np
import pytest
import torch

from orbitds.infer.part import Frame, Part
from orbitds.infer.ruler import Ruler
from orbitds.infer.seams import Seams, beside
from orbitds.tiles import TileGrid

CPU = torch.device("cpu")
TILES = TileGrid(20, 36, 2, 3, 3, periodic=True)
WIND = "eastward_wind"


def measured(fine, coarse=None, tiles=TILES, parts=None, factor=2):
    """Return the seams of a field, part by part, as fields of frames."""
    found = Seams()
    for part in parts or [Part.whole((tiles.height, tiles.width))]:
        frame = Frame(tiles, part, after=1)
        columns = torch.arange(frame.columns.start * factor, frame.columns.stop * factor)
        rows = slice(frame.rows.start * factor, frame.rows.stop * factor)
        sums = Ruler(frame, factor, CPU).blank([WIND])
        beneath = {}
        if coarse is not None:
            columns_ = torch.arange(frame.columns.start, frame.columns.stop) % tiles.width
            beneath = {WIND: coarse[..., frame.rows.start : frame.rows.stop, :][..., columns_]}
        fields = fine[..., rows, :][..., columns % (tiles.width * factor)]
        sums.add({WIND: fields}, beneath)
        found = found.merge(sums.read())
    return found


def noise(tiles=TILES, factor=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(30, tiles.height * factor, tiles.width * factor, generator=generator)


def stepped(fine, height):
    """Raise every second tile, so that it stands out at its borders."""
    fine = fine.clone()
    for index, tile in enumerate(TILES.tiles):
        rows, columns = (
            slice(2 * k.start, 2 * k.stop) for k in (tile.core_rows, tile.core_columns)
        )
        fine[:, rows, columns] += height * (index % 2)
    return fine


def test_without_seams_the_index_is_one():
    assert measured(noise()).index(WIND) == pytest.approx(1, abs=0.02)


def test_a_step_shows_by_its_height():
    field = noise()
    indices = [measured(stepped(field, height)).index(WIND) or 0 for height in (0, 1, 3)]
    assert 1.1 < indices[1] < indices[2]
    # |normal(0, 2) + 3| over |normal(0, 2)|, where a step is: at two of three columns, all rows
    assert indices[2] == pytest.approx(2.6, abs=0.3)


def test_the_climate_is_no_seam():
    """A front of the coarse field that lies on a border is not one of the tiles."""
    coarse = torch.zeros(30, 20, 36)
    coarse[:, 10:] += 20  # the border of the two rows of tiles
    generator = torch.Generator().manual_seed(1)
    coarse += torch.randn(coarse.shape, generator=generator)
    fine = coarse.repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert (measured(fine).index(WIND) or 0) > 3
    assert measured(fine, coarse).index(WIND) == pytest.approx(1, abs=0.02)
    assert (measured(stepped(fine, 3), coarse).index(WIND) or 0) > 1.1


@pytest.mark.parametrize("has_coarse", [True, False])
def test_parts_add_up_to_the_whole(has_coarse):
    field = stepped(noise(), 1)
    coarse = noise(TILES, 1, 2) if has_coarse else None
    whole = measured(field, coarse)
    rows, columns = (
        [range(3), range(3, 10), range(10, 20)],
        [range(11), range(11, 12), range(12, 36)],
    )
    parts = [Part(r, c) for r in rows for c in columns]
    added = measured(field, coarse, parts=parts)
    assert added.lines[WIND]["rows"].keys() == whole.lines[WIND]["rows"].keys()
    for axis in ("rows", "columns"):
        for line, sums in whole.lines[WIND][axis].items():
            np.testing.assert_allclose(added.lines[WIND][axis][line], sums, rtol=1e-12)
    assert added.index(WIND) == pytest.approx(whole.index(WIND), rel=1e-12)


def test_missing_cells_count_for_nothing():
    field = noise()
    whole = measured(field)
    field[:, :, ::2] = torch.nan
    some = measured(field)
    assert some.index(WIND) is None or np.isfinite(some.index(WIND))
    assert sum(s[2] for s in some.lines[WIND]["columns"].values()) == 0
    half = sum(s[2] for s in some.lines[WIND]["rows"].values())
    assert half == sum(s[2] for s in whole.lines[WIND]["rows"].values()) / 2


def test_sums_go_through_json():
    seams = measured(noise())
    again = Seams.of(json.loads(json.dumps(seams.values)))
    assert again.index(WIND) == seams.index(WIND)
    assert again.merge(seams).index(WIND) == pytest.approx(seams.index(WIND))
    assert again == seams


def test_sums_of_variables_that_one_part_lacks_are_kept_once():
    seams = measured(noise())
    other = Seams({"other": seams.lines[WIND]}, seams.cores, seams.lengths)
    both = seams.merge(other)
    assert both.lines["other"] == seams.lines[WIND] == both.lines[WIND]


def test_where_all_borders_are_of_tiles_nothing_is_compared():
    tiles = TileGrid(20, 36, 20, 36, 3, periodic=True)
    assert measured(noise(), tiles=tiles).index(WIND) is None
    assert Seams().index(WIND) is None


def test_unlike_tilings_do_not_add_up():
    other = TileGrid(20, 36, 4, 3, 3, periodic=True)
    with pytest.raises(ValueError, match="Wanted seams of one tiling, got"):
        measured(noise()).merge(measured(noise(), tiles=other))


def test_which_lines_lie_beside():
    assert beside(0, [0, 12, 24], 36, wraps=True) == [34, 35, 1, 2]
    assert beside(1, [1, 3], 20, wraps=False) == [2]
    assert beside(19, [19], 20, wraps=False) == [17, 18]
