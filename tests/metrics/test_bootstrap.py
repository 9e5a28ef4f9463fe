"""The bootstrap: the interval of a mean, pairs that stay pairs, too few blocks."""

import numpy as np
import pytest

from orbitds.metrics.bootstrap import LEAST_BLOCKS, interval, redraw


def test_interval_of_a_mean_is_that_of_the_normal_distribution():
    rng = np.random.default_rng(5)
    values = rng.normal(10, 2, 400)
    drawn = redraw(np.stack([values, np.ones(400)], axis=1))
    low, high = interval(drawn[:, 0] / drawn[:, 1])
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_sums_of_a_block_go_together_in_arrays_of_their_own_too():
    sums = np.random.default_rng(0).normal(size=(30, 4))
    one, other = redraw(sums), redraw(2 * sums[:, :2])
    np.testing.assert_allclose(other, 2 * one[:, :2])
    np.testing.assert_array_equal(redraw(sums), redraw(sums))


def test_every_draw_has_as_many_blocks():
    np.testing.assert_allclose(redraw(np.ones((12, 1))), 12)


def test_few_blocks_have_no_interval():
    assert redraw(np.ones((LEAST_BLOCKS - 1, 2))) is None
    assert redraw(np.ones((LEAST_BLOCKS, 2))) is not None
