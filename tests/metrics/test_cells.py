"""Cells in strips of rows: sums are those of masks, whatever the strips and the regions."""

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


@pytest.fixture(params=[1, 25, 10**6])
def _strips(request, monkeypatch):
    """Strips of one row, of two rows and a last one of fewer, or of all rows."""
    monkeypatch.setattr(cells_module, "STRIP_CELLS", request.param)
    monkeypatch.setattr(cells_module, "LEAST_CELLS", request.param)


@pytest.mark.usefixtures("_strips")
def test_sums_are_those_of_masks_of_regions_that_overlap():
    regions, area = masks(5), area_of(7, 11)
    cells = Cells.of(area, regions)
    field = torch.randn(3, 7, 11, dtype=torch.float64)
    expected = torch.stack([(field * area * mask).sum(dim=(1, 2)) for mask in regions], dim=1)
    assert_close(cells.sums(field.flatten(1)), expected, rtol=1e-12, atol=1e-12)
    assert_close(cells.area, (regions * area).sum(dim=(1, 2)), rtol=1e-12, atol=0)


@pytest.mark.usefixtures("_strips")
def test_sums_within_a_margin_leave_its_cells_out():
    regions, area = masks(4), area_of(7, 11)
    cells = Cells.of(area, regions)
    inner = torch.randn(3, 3, 7, dtype=torch.float64)
    field = torch.zeros(3, 7, 11, dtype=torch.float64)
    field[:, 2:-2, 2:-2] = inner
    got = cells.sums_of(lambda place: inner.flatten(1)[:, place], 3, margin=2)
    assert_close(got, cells.sums(field.flatten(1)), rtol=1e-12, atol=1e-12)
    for margin in (4, 6):  # nothing is left
        assert (cells.sums_of(lambda place: field.flatten(1)[:, place], 3, margin) == 0).all()


def test_more_regions_than_bits_of_an_integer():
    regions, area = masks(70, seed=3), area_of(7, 11)
    cells = Cells.of(area, regions)
    field = torch.randn(7, 11, dtype=torch.float64)
    expected = (regions * area * field).sum(dim=(1, 2))
    assert_close(cells.sums(field.flatten()), expected, rtol=1e-12, atol=1e-12)


def test_cells_that_lie_alike_make_one_patch():
    assert frame_of().cells.patches == 4  # land or sea, north or south
    single = Cells.of(area_of(7, 11), masks(1))
    assert single.patches == 1
    assert (single.label == 0).all()


@pytest.mark.usefixtures("_strips")
def test_strips_hold_each_cell_once_and_name_their_patches():
    cells = Cells.of(area_of(7, 11), masks(3))
    strips = cells.strips
    assert [at for s in strips for at in range(s.place.start, s.place.stop)] == list(range(77))
    for strip in strips:
        assert strip.patches.tolist() == strip.label.unique().tolist()
        assert torch.equal(strip.area.sum(dim=0), cells.weight.flatten()[strip.place])


def test_float32_is_summed_in_float64():
    cells = Cells.of(area_of(400, 500), masks(1, 400, 500))
    field = torch.full((400 * 500,), 1 + 2**-20)
    wanted = float(cells.weight.sum()) * (1 + 2**-20)
    assert_close(float(cells.sums(field)[0]), wanted, rtol=1e-13, atol=0)
