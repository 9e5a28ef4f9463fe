"""Constraints: bounds, order and block means hold together, to the rounding of float32."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from orbitds.constraints import Blocks, bounded, conserve, constrain
from orbitds.grid import Grid

MEAN, LOW, HIGH = "2m_temperature", "2m_temperature_min", "2m_temperature_max"
RAIN, WIND, LAND = "total_precipitation_24hr", "eastward_wind", "land_sea_mask"
BOTH = ("order", "conserve")
SIZES = [(2, 6, 9), (3, 7, 11), (5, 5, 4)]
nan = float("nan")


def globe(factor, rows, columns):
    """A globe, whose rows near the poles are far from equal in area."""
    height, width = rows * factor, columns * factor
    latitude = 90 - (np.arange(height) + 0.5) * 180 / height
    return Grid(latitude, (np.arange(width) + 0.5) * 360 / width)


def blocks_of(factor, rows, columns):
    return Blocks(
        area=torch.tensor(globe(factor, rows, columns).area), factor=factor, periodic=True
    )


def block_means(field, area, factor):
    """Area-weighted means over valid cells in float64, in plain numpy and one by one."""
    field, area = np.asarray(field, np.float64), np.asarray(area)
    steps, height, width = field.shape
    means = np.full((steps, height // factor, width // factor), np.nan)
    for t, r, c in np.ndindex(*means.shape):
        rows, columns = (slice(i * factor, (i + 1) * factor) for i in (r, c))
        cells, weight = field[t, rows, columns], area[rows, columns]
        valid = ~np.isnan(cells)
        if valid.any():
            means[t, r, c] = (cells[valid] * weight[valid]).sum() / weight[valid].sum()
    return means


def ulps(fine, coarse, blocks):
    """How far block means lie from the coarse values, in units of a value's rounding.

    The unit is that of the largest value of the block, or of the coarse one.
    """
    means = block_means(fine, blocks.area, blocks.factor)
    sizes = np.abs(np.nan_to_num(fine)).reshape(
        len(fine), means.shape[1], blocks.factor, means.shape[2], blocks.factor
    )
    unit = np.spacing(np.maximum(sizes.max(axis=(2, 4)), np.abs(coarse)).astype(np.float32))
    return np.nanmax(np.abs(means - np.asarray(coarse, np.float64)) / unit)


def one_block(*cells, coarse, minimum=None, maximum=None, area=(1, 1, 1, 1)):
    """Conserve a row of blocks of two by two cells of which all but the first are NaN."""
    fine = torch.full((1, 2, 8), nan)
    fine[0, :, :2] = torch.tensor(cells).reshape(2, 2).float()
    weights = torch.ones(2, 8, dtype=torch.float64)
    weights[:, :2] = torch.tensor(area).reshape(2, 2)
    wanted = torch.full((1, 1, 4), nan)
    wanted[0, 0, 0] = coarse
    blocks = Blocks(area=weights, factor=2, periodic=False)
    got = conserve(fine, wanted, blocks, minimum=minimum, maximum=maximum)
    assert got[..., 2:].isnan().all()
    return got[0, :, :2].flatten().tolist()


@pytest.fixture
def weather():
    """Random fine and coarse fields of every kind, out of order and out of bounds."""

    def draw(factor, rows, columns, steps=3):
        generator = torch.Generator().manual_seed(factor)

        def noise(*, fine):
            times = factor if fine else 1
            return torch.randn(steps, rows * times, columns * times, generator=generator)

        fields, coarse = {}, {}
        for kept, fine in ((fields, True), (coarse, False)):
            kept[MEAN] = 280 + 10 * noise(fine=fine)
            kept[LOW] = kept[MEAN] - (6 * noise(fine=fine) if fine else 4 * noise(fine=fine).abs())
            kept[HIGH] = kept[MEAN] + (6 * noise(fine=fine) if fine else 4 * noise(fine=fine).abs())
            kept[RAIN] = noise(fine=fine) * torch.exp(2 * noise(fine=fine))
            kept[WIND] = 10 * noise(fine=fine)
            kept[LAND] = 0.5 + 0.4 * noise(fine=fine)
        coarse[RAIN].clamp_(min=0)
        coarse[LAND].clamp_(0, 1)
        return fields, coarse, blocks_of(factor, rows, columns)

    return draw


# --- all together ---


@pytest.mark.parametrize("size", SIZES)
def test_order_bounds_and_means_hold_together(weather, size):
    fields, coarse, blocks = weather(*size)
    fine = constrain(fields, coarse, blocks, BOTH)
    assert list(fine) == list(fields)
    assert all(field.dtype == torch.float32 for field in fine.values())
    assert (fine[LOW] <= fine[MEAN]).all()
    assert (fine[MEAN] <= fine[HIGH]).all()
    assert (fine[RAIN] >= 0).all()
    assert (fine[LAND] >= 0).all()
    assert (fine[LAND] <= 1).all()
    for name in fields:
        assert ulps(fine[name].numpy(), coarse[name].numpy(), blocks) <= 1.5, name


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("left_out", [MEAN, LOW, HIGH])
def test_any_two_temperatures_are_ordered_and_conserved(weather, size, left_out):
    fields, coarse, blocks = weather(*size)
    names = [name for name in (LOW, MEAN, HIGH) if name != left_out]
    fine = constrain({name: fields[name] for name in names}, coarse, blocks, BOTH)
    assert list(fine) == names
    assert (fine[names[0]] <= fine[names[1]]).all()
    for name in names:
        assert ulps(fine[name].numpy(), coarse[name].numpy(), blocks) <= 1.5, name


def test_what_holds_already_is_left_alone(weather):
    fields, coarse, blocks = weather(3, 7, 11)
    fine = constrain(fields, coarse, blocks, BOTH)
    again = constrain(fine, coarse, blocks, BOTH)
    for name in fine:
        # a thin cell at a pole may hold a large value, of which its block's mean says little
        torch.testing.assert_close(again[name], fine[name], rtol=1e-5, atol=1e-5)


def test_bounds_hold_without_being_asked_for(weather):
    fields, _, blocks = weather(2, 6, 9)
    fine = constrain(fields, {}, blocks, ())
    for name, field in fields.items():
        assert torch.equal(fine[name], bounded(field, name))
    assert torch.equal(fine[RAIN], fields[RAIN].clamp(min=0))
    assert torch.equal(fine[LAND], fields[LAND].clamp(0, 1))
    assert torch.equal(fine[MEAN], fields[MEAN])


# --- order ---


def test_order_moves_the_extremes_to_the_mean_and_nothing_else(weather):
    fields, _, blocks = weather(2, 6, 9)
    fine = constrain(fields, {}, blocks, ("order",))
    assert torch.equal(fine[MEAN], fields[MEAN])
    assert torch.equal(fine[LOW], torch.minimum(fields[LOW], fields[MEAN]))
    assert torch.equal(fine[HIGH], torch.maximum(fields[HIGH], fields[MEAN]))
    assert torch.equal(fine[WIND], fields[WIND])


def test_without_the_mean_crossed_extremes_meet_in_the_middle():
    fields = {
        LOW: torch.tensor([[[280.0, 290.0], [270.0, nan]]]),
        HIGH: torch.tensor([[[284.0, 286.0], [270.0, 280.0]]]),
    }
    fine = constrain(
        fields, {}, Blocks(area=torch.ones(2, 2), factor=2, periodic=False), ("order",)
    )
    torch.testing.assert_close(
        fine[LOW], torch.tensor([[[280.0, 288.0], [270.0, nan]]]), equal_nan=True
    )
    assert torch.equal(fine[HIGH], torch.tensor([[[284.0, 288.0], [270.0, 280.0]]]))


def test_one_extreme_alone_has_no_order(weather):
    fields, _, blocks = weather(2, 6, 9)
    fine = constrain({LOW: fields[LOW]}, {}, blocks, ("order",))
    assert torch.equal(fine[LOW], fields[LOW])


def test_gaps_are_scaled_and_the_mean_is_shifted():
    # gaps of 1, 2, 3, -1 (none) K: their mean is 1.5 K and shall be 3 K
    mean = torch.tensor([[[280.0, 281.0], [282.0, 283.0]]])
    fields = {LOW: mean - torch.tensor([[[1.0, 2.0], [3.0, -1.0]]]), MEAN: mean}
    coarse = {MEAN: torch.tensor([[[284.5]]]), LOW: torch.tensor([[[281.5]]])}
    blocks = Blocks(area=torch.ones(2, 2), factor=2, periodic=False)
    wide = {name: torch.cat([field] * 4, dim=2) for name, field in fields.items()}
    coarse = {name: torch.cat([field] * 4, dim=2) for name, field in coarse.items()}
    fine = constrain(wide, coarse, Blocks(area=torch.ones(2, 8), factor=2, periodic=False), BOTH)
    assert torch.equal(fine[MEAN][..., :2], mean + 3)
    gap = torch.tensor([[[2.0, 4.0], [6.0, 0.0]]])
    assert torch.equal(fine[LOW][..., :2], mean + 3 - gap)
    assert blocks.mean(fine[LOW][..., :2]).item() == 281.5


def test_a_gap_of_none_takes_the_shape_of_the_interpolated_one():
    mean = torch.full((1, 6, 12), 280.0)
    coarse = {MEAN: torch.full((1, 3, 6), 280.0), LOW: torch.full((1, 3, 6), 280.0)}
    coarse[LOW][0, 1, 2] = 276.0
    coarse[LOW][0, 1, 3] = 270.0
    blocks = Blocks(area=torch.ones(6, 12), factor=2, periodic=False)
    fine = constrain({MEAN: mean, LOW: mean}, coarse, blocks, BOTH)
    gap = (mean - fine[LOW])[0, 2:4, 4:8]
    assert ((mean - fine[LOW]) > 0).sum() == gap.numel() == 8
    assert (gap[:, 1] > gap[:, 0]).all(), "more towards the larger gap"
    assert ulps(fine[LOW].numpy(), coarse[LOW].numpy(), blocks) <= 1


def test_the_shift_of_the_mean_makes_no_gap_where_none_was_predicted(weather):
    fields, coarse, blocks = weather(3, 7, 11)
    coarse[LOW] = coarse[MEAN] - 3
    fine = constrain({MEAN: fields[MEAN], LOW: fields[MEAN]}, coarse, blocks, BOTH)
    torch.testing.assert_close(
        fine[MEAN] - fine[LOW], torch.full((3, 21, 33), 3.0), rtol=1e-4, atol=0
    )


def test_a_gap_in_the_mean_leaves_the_extremes_whole(weather):
    fields, coarse, blocks = weather(3, 7, 11)
    fields[MEAN][:, ::2, ::3] = nan
    fine = constrain(fields, coarse, blocks, BOTH)
    assert torch.equal(fine[MEAN].isnan(), fields[MEAN].isnan())
    assert fine[LOW].isfinite().all()
    assert not (fine[LOW] > fine[MEAN]).any()
    assert not (fine[HIGH] < fine[MEAN]).any()
    assert ulps(fine[MEAN].numpy(), coarse[MEAN].numpy(), blocks) <= 1.5


def test_a_negative_coarse_gap_is_none(weather):
    fields, coarse, blocks = weather(2, 6, 9)
    coarse[LOW] = coarse[MEAN] + 1
    coarse[HIGH] = coarse[MEAN] - 1
    fine = constrain(fields, coarse, blocks, BOTH)
    torch.testing.assert_close(fine[LOW], fine[MEAN], rtol=0, atol=1e-4)
    torch.testing.assert_close(fine[HIGH], fine[MEAN], rtol=0, atol=1e-4)
    assert (fine[LOW] <= fine[MEAN]).all()
    assert (fine[MEAN] <= fine[HIGH]).all()


# --- block means, by hand ---


def test_without_bounds_a_block_is_shifted():
    assert one_block(1, 2, 3, 6, coarse=5) == [3, 4, 5, 8]
    # the weighted mean is (3 * 1 + 2 + 3 + 6) / 6
    got = one_block(1, 2, 3, 6, coarse=0, area=(3, 1, 1, 1))
    np.testing.assert_allclose(got, np.array([1, 2, 3, 6]) - 14 / 6, rtol=1e-6)


def test_above_a_minimum_amounts_are_scaled():
    assert one_block(0, 1, 2, 5, coarse=6, minimum=0.0) == [0, 3, 6, 15]
    assert one_block(-7, 1, 2, 5, coarse=6, minimum=0.0) == [0, 3, 6, 15], "no negative amounts"
    assert one_block(10, 11, 12, 15, coarse=16, minimum=10.0) == [10, 13, 16, 25]


def test_below_a_maximum_it_is_the_mirror():
    assert one_block(0, -1, -2, -5, coarse=-6, maximum=0.0) == [0, -3, -6, -15]


def test_between_bounds_the_distance_ahead_is_scaled():
    down = one_block(0.5, 1, 1, 0.5, coarse=0.375, minimum=0.0, maximum=1.0)
    assert down == [0.25, 0.5, 0.5, 0.25]
    up = one_block(0.5, 1, 1, 0, coarse=0.8125, minimum=0.0, maximum=1.0)
    np.testing.assert_allclose(up, [0.75, 1, 1, 0.5])
    for coarse in (0.0, 1.0):
        assert one_block(0, 0, 1, 1, coarse=coarse, minimum=0.0, maximum=1.0) == [coarse] * 4


def test_a_coarse_value_at_or_beyond_the_minimum_gives_the_minimum():
    for coarse in (0.0, -3.0):
        assert one_block(0, 1, 2, 5, coarse=coarse, minimum=0.0) == [0, 0, 0, 0]
        assert one_block(0, 0, 0, 0, coarse=coarse, minimum=0.0) == [0, 0, 0, 0]


def test_only_valid_cells_count():
    got = one_block(nan, 1, 2, nan, coarse=6, minimum=0.0)
    np.testing.assert_array_equal(got, [nan, 4, 8, nan])
    got = one_block(nan, 1, 2, nan, coarse=6)
    np.testing.assert_array_equal(got, [nan, 5.5, 6.5, nan])
    assert np.isnan(one_block(nan, nan, nan, nan, coarse=6, minimum=0.0)).all()


def test_an_unknown_coarse_value_asks_for_nothing():
    assert one_block(-1, 1, 2, 5, coarse=nan) == [-1, 1, 2, 5]
    assert one_block(-1, 1, 2, 5, coarse=nan, minimum=0.0) == [0, 1, 2, 5]
    assert one_block(0, 0, 0, 0, coarse=nan, minimum=0.0) == [0, 0, 0, 0]


# --- amounts where none were predicted ---


def test_no_prediction_under_rain_takes_the_shape_of_the_interpolation():
    blocks = blocks_of(3, 7, 11)
    coarse = torch.zeros(1, 7, 11)
    coarse[0, 3, 4:7] = torch.tensor([1.0, 2.0, 4.0])
    fine = conserve(torch.zeros(1, 21, 33), coarse, blocks, minimum=0.0)
    assert ulps(fine.numpy(), coarse.numpy(), blocks) <= 1
    block = fine[0, 9:12, 15:18]
    assert (block[:, 2] > block[:, 0]).all(), "more towards the wetter neighbour"
    wet = coarse.repeat_interleave(3, dim=1).repeat_interleave(3, dim=2) > 0
    assert (fine[~wet] == 0).all()


def test_where_the_interpolation_has_nothing_either_all_cells_get_the_same():
    # the kernel undershoots between neighbours of which one step further all is wet
    coarse = torch.zeros(1, 3, 5)
    coarse[0, :, 0] = coarse[0, :, 4] = 1000.0
    coarse[0, :, 2] = 1e-3
    blocks = Blocks(area=torch.ones(6, 10), factor=2, periodic=False)
    fine = conserve(torch.zeros(1, 6, 10), coarse, blocks, minimum=0.0)
    torch.testing.assert_close(fine[:, :, 4:6], torch.full((1, 6, 2), 1e-3))
    assert ulps(fine.numpy(), coarse.numpy(), blocks) <= 1


def test_rain_falls_on_the_valid_cells_only():
    blocks = blocks_of(3, 7, 11)
    fine = torch.zeros(1, 21, 33)
    fine[0, ::2, ::2] = nan
    fine[0, 9:12, 15:18] = nan
    fine[0, 10, 16] = 0.0  # a single valid cell
    coarse = torch.rand(1, 7, 11, generator=torch.Generator().manual_seed(0))
    got = conserve(fine, coarse, blocks, minimum=0.0)
    assert torch.equal(got.isnan(), fine.isnan())
    assert ulps(got.numpy(), coarse.numpy(), blocks) <= 1
    assert got[0, 10, 16] == coarse[0, 3, 5]


def test_a_gap_in_the_coarse_field_spoils_no_neighbour():
    blocks = blocks_of(3, 7, 11)
    coarse = torch.ones(1, 7, 11)
    coarse[0, 3, 5] = nan
    got = conserve(torch.zeros(1, 21, 33), coarse, blocks, minimum=0.0)
    assert got.isfinite().all()
    assert (got[0, 9:12, 15:18] == 0).all()
    assert ulps(got.numpy(), coarse.numpy(), blocks) <= 1


@pytest.mark.parametrize("tiny", [1e-45, 1e-38, 1e-20])
@pytest.mark.parametrize("wanted", [1e-38, 1e-20, 1e-3, 2000.0])
def test_tiny_amounts_neither_vanish_nor_overflow(tiny, wanted):
    blocks = blocks_of(2, 6, 9)
    fine = torch.zeros(1, 12, 18)
    fine[0, ::2, ::2] = tiny
    coarse = torch.full((1, 6, 9), wanted)
    got = conserve(fine, coarse, blocks, minimum=0.0)
    assert got.isfinite().all()
    assert ulps(got.numpy(), coarse.numpy(), blocks) <= 1


def test_what_float64_cannot_scale_counts_as_nothing():
    fine = torch.full((1, 6, 6), 5e-324, dtype=torch.float64)
    got = conserve(
        fine,
        torch.ones(1, 3, 3),
        Blocks(area=torch.ones(6, 6), factor=2, periodic=False),
        minimum=0.0,
    )
    torch.testing.assert_close(got, torch.ones_like(got), rtol=1e-12, atol=0)


# --- bounds that differ from cell to cell ---


def test_a_field_may_be_the_bound():
    blocks = blocks_of(3, 7, 11)
    generator = torch.Generator().manual_seed(5)
    low = torch.randn(2, 21, 33, generator=generator)
    high = low + torch.rand(2, 21, 33, generator=generator)
    field = 3 * torch.randn(2, 21, 33, generator=generator)
    share = torch.rand(2, 7, 11, generator=generator)
    coarse = blocks.mean(low) + share * (blocks.mean(high) - blocks.mean(low))
    got = conserve(field.double(), coarse, blocks, minimum=low, maximum=high)
    assert (got >= low).all()
    assert (got <= high).all()
    torch.testing.assert_close(blocks.mean(got), coarse, rtol=0, atol=1e-12)


def test_a_bound_that_is_unknown_bounds_nothing():
    fine = torch.full((1, 4, 4), 2.0)
    high = torch.full((1, 4, 4), 1.0)
    high[0, 0, 0] = nan
    got = conserve(
        fine,
        torch.full((1, 2, 2), nan),
        Blocks(area=torch.ones(4, 4), factor=2, periodic=False),
        maximum=high,
    )
    assert got[0, 0, 0] == 2
    assert got.sum() == 2 + 15


# --- properties ---

amounts = st.one_of(
    st.just(0.0), st.floats(0, 2000, width=32), st.floats(-5, 5, width=32), st.just(nan)
)
FINE, COARSE = (1, 6, 9), (1, 2, 3)


def of(shape, elements):
    return arrays(np.float32, shape, elements=elements).map(torch.tensor)


@settings(max_examples=60, deadline=None)
@given(
    of(FINE, amounts),
    of(COARSE, amounts),
    st.sampled_from(list(itertools.product((None, 0.0, -2.5), (None, 300.0, 7.5)))),
)
def test_means_and_bounds_hold_for_any_field(fine, coarse, limits):
    minimum, maximum = limits
    blocks = blocks_of(3, 2, 3)
    got = conserve(fine, coarse, blocks, minimum=minimum, maximum=maximum)
    assert torch.equal(got.isnan(), fine.isnan())
    known = got[~got.isnan()]
    assert minimum is None or (known >= minimum).all()
    assert maximum is None or (known <= maximum).all()
    reachable = coarse
    if minimum is not None or maximum is not None:
        reachable = coarse.clamp(min=minimum, max=maximum)
    wanted = reachable.numpy().astype(np.float64)
    means = block_means(got, blocks.area, 3)
    largest = np.nan_to_num(np.abs(got.numpy())).reshape(1, 2, 3, 3, 3).max(axis=(2, 4))
    unit = np.spacing(np.maximum(largest, np.nan_to_num(np.abs(wanted))).astype(np.float32))
    # the distances are those of float64 to a bound of up to 300
    off = np.abs(means - wanted)
    assert (off <= 1.5 * unit + 1e-12)[~np.isnan(means) & ~np.isnan(wanted)].all()


kelvin = st.floats(170, 340, width=32)


@settings(max_examples=60, deadline=None)
@given(
    *[of(FINE, kelvin)] * 3,
    of(COARSE, kelvin),
    *[of(COARSE, st.floats(0, 30, width=32))] * 2,
    st.booleans(),
)
def test_temperatures_are_ordered_and_conserved_for_any_field(
    low, mean, high, coarse, below, above, is_whole
):
    blocks = blocks_of(3, 2, 3)
    fields = {LOW: low, MEAN: mean, HIGH: high}
    wanted = {LOW: coarse - below, MEAN: coarse, HIGH: coarse + above}
    names = (LOW, MEAN, HIGH) if is_whole else (LOW, HIGH)
    fine = constrain({name: fields[name] for name in names}, wanted, blocks, BOTH)
    for lower, upper in itertools.pairwise(names):
        assert (fine[lower] <= fine[upper]).all()
    for name in names:
        assert ulps(fine[name].numpy(), wanted[name].numpy(), blocks) <= 1.5, name
