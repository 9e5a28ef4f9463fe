"""Interpolation against SciPy and against the kernel written out; delta change by its formula."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator
from torch.testing import assert_close

from orbitds.interpolate import (
    RATIO_CAP,
    RATIO_OFFSET,
    Method,
    delta_change,
    extend,
    interpolate,
    pad,
)
from orbitds.tiles import TileGrid

SMOOTH: list[Method] = ["bilinear", "bicubic"]
METHODS: list[Method] = ["nearest", *SMOOTH]


def field_of(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def cubic_weight(distance, a=-0.75):
    """Cubic convolution kernel (Keys 1981, equation 4) with PyTorch's a."""
    d = abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


def linear_weight(distance):
    return max(0.0, 1 - abs(distance))


def along(values, factor, weight, *, periodic):
    """Interpolate a 1-D array to its children, cell by cell."""
    n = len(values)
    fine = np.zeros(n * factor)
    for k in range(n * factor):
        centre = (k + 0.5) / factor - 0.5
        for cell in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            index = cell % n if periodic else min(max(cell, 0), n - 1)
            fine[k] += weight(centre - cell) * values[index]
    return fine


def reference(field, factor, method, *, periodic):
    """Separable interpolation of one field [H, W] in plain numpy."""
    weight = {"bilinear": linear_weight, "bicubic": cubic_weight}[method]
    rows = np.stack([along(row, factor, weight, periodic=periodic) for row in field])
    return np.stack([along(c, factor, weight, periodic=False) for c in rows.T], axis=1)


# --- invariants ---


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_constants_pass_and_shape_grows_by_the_factor(method, periodic, factor):
    field = torch.full((2, 3, 5, 7), 281.3, dtype=torch.float64)
    fine = interpolate(field, factor, method, periodic=periodic)
    assert fine.shape == (2, 3, 5 * factor, 7 * factor)
    assert_close(fine, torch.full_like(fine, 281.3), rtol=1e-14, atol=0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("periodic", [True, False])
def test_factor_one_changes_nothing(method, periodic):
    field = field_of(3, 5, 7)
    assert_close(interpolate(field, 1, method, periodic=periodic), field, rtol=1e-14, atol=1e-14)


@settings(max_examples=25, deadline=None)
@given(
    method=st.sampled_from(METHODS),
    factor=st.integers(1, 4),
    columns=st.integers(2, 9),
    shift=st.integers(-9, 9),
)
def test_rolling_the_input_rolls_the_output_where_it_wraps(method, factor, columns, shift):
    field = field_of(2, 3, columns)
    fine = interpolate(field, factor, method, periodic=True)
    rolled = interpolate(field.roll(shift, -1), factor, method, periodic=True)
    assert_close(rolled, fine.roll(shift * factor, -1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("periodic", [True, False])
def test_mirrored_fields_have_mirrored_children(method, periodic):
    field = field_of(5, 7)
    fine = interpolate(field, 3, method, periodic=periodic)
    for axis in (-1, -2):
        mirrored = interpolate(field.flip(axis), 3, method, periodic=periodic)
        assert_close(mirrored, fine.flip(axis), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_only_a_border_that_wraps_sees_the_other_side(method):
    field = torch.zeros(4, 8, dtype=torch.float64)
    field[:, 0] = 1
    globe = interpolate(field, 4, method, periodic=True)
    region = interpolate(field, 4, method, periodic=False)
    assert (region[:, -8:] == 0).all()
    assert (globe[:, -2:] != 0).all() == (method != "nearest")
    # rows never wrap
    assert (interpolate(field.T, 4, method, periodic=True)[-8:] == 0).all()


@pytest.mark.parametrize("method", SMOOTH)
@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize(
    "grid",
    [
        TileGrid(7, 13, 2, 3, halo_cells=2, periodic=True),
        TileGrid(7, 13, 2, 3, halo_cells=2),
        TileGrid(8, 9, 3, 1, halo_cells=3, periodic=True),
        TileGrid(5, 7, 1, 2, halo_cells=4, periodic=True),
    ],
)
def test_inside_a_tiles_core_nothing_tells_the_tile_from_the_globe(method, factor, grid):
    field = field_of(2, grid.height, grid.width)
    whole = interpolate(field, factor, method, periodic=grid.periodic)
    for tile in grid.tiles:
        window = interpolate(grid.cut(field, tile), factor, method, periodic=grid.wraps)
        core = grid.core_mask(tile, factor) == 1
        expected = grid.cut(whole, tile, factor)[:, core]
        assert_close(window[:, core], expected, rtol=1e-12, atol=1e-12)


# --- values ---


@pytest.mark.parametrize("method", SMOOTH)
@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize(("shape", "factor"), [((5, 7), 2), ((2, 2), 3), ((3, 8), 4), ((6, 2), 5)])
def test_against_the_kernel_written_out(method, periodic, shape, factor):
    field = field_of(*shape)
    expected = reference(field.numpy(), factor, method, periodic=periodic)
    fine = interpolate(field, factor, method, periodic=periodic)
    np.testing.assert_allclose(fine, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bilinear_against_scipy(factor):
    field = field_of(6, 9).numpy()
    rows, columns = np.arange(6.0), np.arange(9.0)
    oracle = RegularGridInterpolator((rows, columns), field, method="linear")
    fine_rows = np.clip((np.arange(6 * factor) + 0.5) / factor - 0.5, 0, 5)
    fine_columns = np.clip((np.arange(9 * factor) + 0.5) / factor - 0.5, 0, 8)
    expected = oracle(tuple(np.meshgrid(fine_rows, fine_columns, indexing="ij")))
    fine = interpolate(torch.from_numpy(field), factor, "bilinear", periodic=False)
    np.testing.assert_allclose(fine, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bilinear_recovers_a_ramp_from_its_block_means(factor):
    i, j = np.meshgrid(np.arange(5 * factor), np.arange(7 * factor), indexing="ij")
    ramp = 3.0 + 0.7 * i - 1.3 * j
    means = ramp.reshape(5, factor, 7, factor).mean(axis=(1, 3))
    fine = interpolate(torch.from_numpy(means), factor, "bilinear", periodic=False).numpy()
    inner = slice(factor // 2 + 1, -(factor // 2 + 1))
    np.testing.assert_allclose(fine[inner, inner], ramp[inner, inner], rtol=1e-12, atol=1e-12)


def test_nearest_repeats_the_cell():
    field = field_of(2, 3, 4)
    fine = interpolate(field, 3, "nearest", periodic=True)
    np.testing.assert_array_equal(fine, np.kron(field.numpy(), np.ones((1, 3, 3))))


def test_bicubic_is_closer_than_bilinear_to_a_smooth_globe():
    longitude = 2 * np.pi * (np.arange(96) + 0.5) / 96
    latitude = np.pi * ((np.arange(48) + 0.5) / 48 - 0.5)
    truth = np.cos(latitude)[:, None] * np.sin(3 * longitude) + np.sin(2 * latitude)[:, None]
    coarse = torch.from_numpy(truth.reshape(12, 4, 24, 4).mean(axis=(1, 3)))
    error = {
        method: np.sqrt(np.mean((interpolate(coarse, 4, method, periodic=True).numpy() - truth)**2))
        for method in METHODS
    }  # fmt: skip
    assert error["bicubic"] < 0.6 * error["bilinear"] < 0.36 * error["nearest"]


def test_precision_is_that_of_the_input_or_float32():
    exact = interpolate(field_of(5, 7), 2, "bicubic", periodic=True)
    assert exact.dtype == torch.float64
    single = interpolate(field_of(5, 7).float(), 2, "bicubic", periodic=True)
    assert single.dtype == torch.float32
    assert_close(single.double(), exact, rtol=1e-5, atol=1e-5)
    half = interpolate(field_of(5, 7).bfloat16(), 2, "bilinear", periodic=True)
    assert half.dtype == torch.float32


def test_a_missing_cell_does_not_spread_beyond_the_kernel():
    field = field_of(9, 9)
    field[4, 4] = torch.nan
    for method, reach in zip(METHODS, (0, 1, 2), strict=True):
        missing = interpolate(field, 2, method, periodic=False).isnan()
        rows = missing.any(-1).nonzero().flatten()
        assert rows.min() >= 2 * (4 - reach)
        assert rows.max() < 2 * (5 + reach)
        assert missing[8:10, 8:10].all()


@pytest.mark.parametrize("periodic", [True, False])
def test_pad_against_numpy(periodic):
    field = field_of(2, 3, 5, 4)
    padded = pad(field, 2, periodic)
    expected = np.pad(
        field.numpy(), [(0, 0), (0, 0), (0, 0), (2, 2)], mode="wrap" if periodic else "edge"
    )
    expected = np.pad(expected, [(0, 0), (0, 0), (2, 2), (0, 0)], mode="edge")
    np.testing.assert_array_equal(padded, expected)
    np.testing.assert_array_equal(pad(field[0, 0], 1, periodic), padded[0, 0, 1:-1, 1:-1])


def test_gradients_reach_every_cell():
    field = field_of(1, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: interpolate(x, 2, "bicubic", periodic=True), (field,), fast_mode=True
    )


# --- delta change ---


def climate(*shape):
    """Positive fields, as precipitation has: interpolated, fine and interpolated climatology."""
    one, two, three = (field_of(*shape, seed=seed).abs() + 0.2 for seed in (1, 2, 3))
    return one, two, three


def test_delta_change_against_its_formula():
    day, fine, coarse = (field.numpy() for field in climate(2, 3, 5, 7))
    expected = day + fine - coarse
    ratio = np.minimum((fine + 0.1) / (coarse + 0.1), 5)
    expected[:, 1] = (day * ratio)[:, 1]
    is_ratio = torch.tensor([0.0, 1.0, 0.0])
    got = delta_change(*climate(2, 3, 5, 7), is_ratio)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)


def test_a_climatological_day_becomes_the_fine_climatology():
    _, fine, coarse = climate(1, 2, 4, 6)
    fine = fine.clamp(max=2)
    got = delta_change(coarse, fine, coarse, torch.tensor([0.0, 1.0]))
    assert_close(got[:, 0], fine[:, 0], rtol=1e-13, atol=0)
    # the ratio's offset takes a little from the difference
    assert_close(got[:, 1] - fine[:, 1], (coarse - fine)[:, 1] * 0.1 / (coarse[:, 1] + 0.1))


def test_ratio_keeps_dry_days_dry_and_is_capped():
    assert (RATIO_OFFSET, RATIO_CAP) == (0.1, 5.0)
    zero, one = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
    wet = torch.tensor([1.0])
    assert_close(delta_change(zero, 50 * one, one, wet), zero)
    assert_close(delta_change(one, 50 * one, zero, wet), 5 * one)
    assert_close(delta_change(one, zero, zero, wet), one)
    assert_close(delta_change(one, zero, 0.4 * one, wet), 0.2 * one)


def test_equal_climatologies_change_nothing():
    day, fine, _ = climate(3, 2, 4, 6)
    is_ratio = torch.tensor([1.0, 0.0])
    assert_close(delta_change(day, fine, fine, is_ratio), day, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(("width", "columns"), [(1, (3, 2)), (2, (3, 0)), (5, (0, 5)), (4, (0, 0))])
def test_a_narrow_circle_is_gone_round_as_often_as_needed(width, columns):
    field = torch.arange(2.0 * 3 * width).view(2, 3, width)
    west, east = columns
    expected = field[..., torch.arange(-west, width + east) % width]
    expected = expected[:, torch.arange(-1, 5).clamp(0, 2)]
    assert torch.equal(extend(field, (1, 2), columns, periodic=True), expected)


def test_no_cells_to_add_leave_the_field():
    field = torch.randn(2, 3, 4)
    assert torch.equal(pad(field, 0, periodic=True), field)
    assert torch.equal(pad(field, 0, periodic=False), field)
