"""Cells sorted by region: sums are those of masks, sorting is undone exactly."""

import pytest
import torch
from torch.testing import assert_close

from orbitds.metrics import cells as cells_module
from orbitds.metrics.cells import Cells
from tests.metrics.frames import area_of, frame_of


def masks(count, rows=7, columns=11, seed=0):
    generator = torch.Generator().manual_seed(seed)
    found = torch.rand(count, rows, columns, generator=generator) < 0.5
    found[0] = True
    return found


def test_sums_are_those_of_masks_of_regions_that_overlap():
    regions, area = masks(5), area_of(7, 11)
    cells = Cells.of(area, regions)
    field = torch.randn(3, 7, 11, dtype=torch.float64)
    expected = torch.stack([(field * area * mask).sum(dim=(1, 2)) for mask in regions], dim=1)
    assert_close(cells.sums(cells.sort(field)), expected, rtol=1e-12, atol=1e-12)
    assert_close(cells.area, (regions * area).sum(dim=(1, 2)), rtol=1e-12, atol=0)


def test_more_regions_than_bits_of_an_integer():
    regions, area = masks(70, seed=3), area_of(7, 11)
    cells = Cells.of(area, regions)
    field = torch.randn(7, 11, dtype=torch.float64)
    expected = (regions * area * field).sum(dim=(1, 2))
    assert_close(cells.sums(cells.sort(field)), expected, rtol=1e-12, atol=1e-12)


def test_cells_that_lie_alike_make_one_patch():
    cells = frame_of().cells
    assert len(cells.edges) - 1 == 4  # land or sea, north or south
    assert cells.edges[-1] == 18 * 27
    single = Cells.of(area_of(7, 11), masks(1))
    assert single.order is None
    assert single.edges == (0, 77)


def test_sorting_is_undone():
    for regions in (masks(1), masks(4)):
        cells = Cells.of(area_of(7, 11), regions)
        field = torch.randn(2, 7, 11)
        assert torch.equal(cells.unsort(cells.sort(field)), field)


def test_float32_is_summed_in_float64():
    cells = Cells.of(area_of(400, 500), masks(1, 400, 500))
    field = torch.full((400, 500), 1 + 2**-20)
    wanted = float(cells.weight.sum()) * (1 + 2**-20)
    assert_close(float(cells.sums(cells.sort(field))[0]), wanted, rtol=1e-13, atol=0)


@pytest.mark.parametrize("most", [1, 5, 10**6])
def test_bands_hold_each_cell_once_and_one_patch_each(most, monkeypatch):
    monkeypatch.setattr(cells_module, "BAND_CELLS", most)
    cells = Cells.of(area_of(7, 11), masks(3))
    bands = cells.bands(1)
    assert [at for _, place in bands for at in range(place.start, place.stop)] == list(range(77))
    for patch, place in bands:
        assert cells.edges[patch] <= place.start < place.stop <= cells.edges[patch + 1]
        assert place.stop - place.start <= most


def test_sums_of_fields_are_those_of_sorted_cells():
    for regions in (masks(1), masks(4)):
        cells = Cells.of(area_of(7, 11), regions)
        field = torch.randn(2, 7, 11, dtype=torch.float64)
        assert_close(cells.field_sums(field), cells.sums(cells.sort(field)), rtol=1e-12, atol=1e-12)
