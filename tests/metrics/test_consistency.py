"""Block means and visible borders."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from orbitds.metrics.consistency import Borders, block_means, jump_index, jump_sums
from tests.metrics.frames import area_of


def index(field, borders, rows=12):
    weight = area_of(rows, 5)[:, 0]
    return float(jump_index(jump_sums(field, weight, borders).sum(dim=0).numpy()))


def test_jumps_by_loops():
    field = torch.randn(2, 12, 15, dtype=torch.float64)
    field[0, 4, 4] = torch.nan
    weight = area_of(12, 5)[:, 0]
    borders = Borders.every((12, 15), 3, 5)
    expected = np.zeros((2, 4))
    for t in range(2):
        for i in range(12):
            for j in range(15):
                for di, dj in ((1, 0), (0, 1)):
                    if i + di > 11 or j + dj > 14:
                        continue
                    jump = abs(float(field[t, i + di, j + dj] - field[t, i, j]))
                    w = float(weight[i] + weight[i + di]) / 2
                    at_border = (di and (i + 1) % 3 == 0) or (dj and (j + 1) % 5 == 0)
                    if not np.isnan(jump):
                        expected[t, 0 if at_border else 2] += w * jump
                        expected[t, 1 if at_border else 3] += w
    assert_close(jump_sums(field, weight, borders), torch.from_numpy(expected), rtol=1e-10, atol=0)


def test_a_smooth_slope_shows_no_border_and_blocks_show_nothing_else():
    slope = torch.arange(12.0)[None, :, None] + torch.arange(15.0)
    borders = Borders.every((12, 15), 3, 5)
    assert index(slope, borders) == pytest.approx(1)
    blocks = slope.clone()
    blocks[:] = (torch.arange(12) // 3)[:, None] + (torch.arange(15) // 5)
    assert np.isnan(index(blocks, borders))  # no jump elsewhere to compare with
    assert index(blocks + 0.1 * slope, borders) > 5


def test_borders_at_given_rows_and_columns():
    borders = Borders.at((6, 7), [2], [3, 5])
    assert borders.rows.nonzero().flatten().tolist() == [1]
    assert borders.columns.nonzero().flatten().tolist() == [2, 4]
    assert Borders.at((6, 7), [0, 6], []).rows.sum() == 0  # the rim is no border
    every = Borders.every((6, 7), 2, 3)
    assert every.rows.nonzero().flatten().tolist() == [1, 3]
    assert every.columns.nonzero().flatten().tolist() == [2, 5]


def test_block_means_are_weighted_and_missing_where_a_cell_is():
    area = area_of(6, 9)
    field = torch.randn(2, 6, 9, dtype=torch.float64)
    field[1, 0, 0] = torch.nan
    means, total = block_means(field, area, 3)
    block = field[0, 3:, 6:]
    expected = (block * area[3:, 6:]).sum() / area[3:, 6:].sum()
    assert_close(means[0, 1, 2], expected)
    assert means.isnan().sum() == 1
    assert_close(total.sum(), area.sum())
