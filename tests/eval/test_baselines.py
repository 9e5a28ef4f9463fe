"""The simple methods, against scipy, kernels written out, and cases with a known answer."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from orbitds.eval.baselines import (
    DELTA,
    INTERPOLATIONS,
    LAPSE,
    LAPSE_RATE,
    baselines,
    fitted_lapse_rate,
    follows_relief,
    months_climatology,
    relief_of,
    scales_by_ratio,
)
from orbitds.region import Region
from orbitds.variables import table

FACTOR = 3


def random(*shape, seed=0, low=-3.0, high=12.0):
    values = np.random.default_rng(seed).uniform(low, high, shape)
    return torch.tensor(values, dtype=torch.float32)


def places(count):
    """Centres of the fine cells on the axis of the coarse ones."""
    return (np.arange(count * FACTOR) + 0.5) / FACTOR - 0.5


def bilinear(field, *, periodic):
    """Return what scipy makes of one field, its outer cells repeated, or its globe closed."""
    rows, columns = field.shape
    wide = np.pad(np.pad(field, ((0, 0), (2, 2)), mode="wrap" if periodic else "edge"), 2, "edge")
    y, x = np.meshgrid(places(rows) + 2, places(columns) + 4, indexing="ij")
    return map_coordinates(wide, [y, x], order=1)


def cubic(distance, a=-0.75):
    """Return the weight of Keys' kernel with the parameter of PyTorch and OpenCV."""
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * distance**3 - 5 * a * distance**2 + 8 * a * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


def bicubic(field, *, periodic):
    """Return the sum over all coarse cells around, each with the weight of its distance."""

    def weights(count, *, wraps):
        matrix = np.zeros((count * FACTOR, count))
        for cell in range(-2, count + 2):
            to = cell % count if wraps else min(max(cell, 0), count - 1)
            matrix[:, to] += cubic(abs(places(count) - cell))
        return matrix

    rows, columns = field.shape
    return weights(rows, wraps=False) @ field @ weights(columns, wraps=periodic).T


# --- interpolation ------------------------------------------------------------------------------


@pytest.mark.parametrize("periodic", [True, False])
def test_interpolations_are_those_of_the_textbook(periodic):
    coarse = random(2, 5, 8)
    got = baselines(coarse, FACTOR, periodic=periodic)
    assert tuple(got) == INTERPOLATIONS
    for step, field in enumerate(coarse.double().numpy()):
        wanted = {
            "nearest": np.kron(field, np.ones((FACTOR, FACTOR))),
            "bilinear": bilinear(field, periodic=periodic),
            "bicubic": bicubic(field, periodic=periodic),
        }
        for method in INTERPOLATIONS:
            np.testing.assert_allclose(
                got[method][step], wanted[method], atol=1e-4, err_msg=f"{method} {step}"
            )


@pytest.mark.parametrize("is_ratio", [True, False])
def test_a_constant_stays_constant(is_ratio):
    level = torch.full((1, 4, 6), 2.5)
    got = baselines(level, FACTOR, periodic=True, is_ratio=is_ratio)
    for field in got.values():
        torch.testing.assert_close(field, torch.full((1, 12, 18), 2.5))


def test_amounts_do_not_fall_below_zero():
    coarse = torch.zeros(1, 5, 7)
    coarse[0, 2, 3] = 10
    signed, amount = (
        baselines(coarse, FACTOR, periodic=False, is_ratio=is_ratio) for is_ratio in (False, True)
    )
    assert signed["bicubic"].min() < -0.1
    torch.testing.assert_close(amount["bicubic"], signed["bicubic"].clamp(min=0))


# --- delta change -------------------------------------------------------------------------------


@pytest.mark.parametrize("is_ratio", [True, False])
def test_delta_change_of_the_climatology_is_the_fine_climatology(is_ratio):
    coarse = random(2, 5, 8, low=4.0)
    smooth = baselines(coarse, FACTOR, periodic=True)["bicubic"]
    fine = smooth * random(2, 15, 24, seed=1, low=0.5, high=2.0)
    got = baselines(coarse, FACTOR, periodic=True, climatology=(fine, coarse), is_ratio=is_ratio)
    assert tuple(got) == (*INTERPOLATIONS, DELTA)
    # a ratio adds 0.1 mm to both climatologies, so it is off by a share of that
    torch.testing.assert_close(got[DELTA], fine, rtol=0, atol=0.1 if is_ratio else 1e-5)


def test_delta_change_shifts_by_the_fine_structure():
    coarse, climatology, fine = random(2, 5, 8), random(2, 5, 8, seed=1), random(2, 15, 24, seed=2)
    got = baselines(coarse, FACTOR, periodic=False, climatology=(fine, climatology))[DELTA]
    for step in range(2):
        anomaly = (coarse - climatology)[step].double().numpy()
        wanted = bicubic(anomaly, periodic=False) + fine[step].numpy()
        np.testing.assert_allclose(got[step], wanted, atol=1e-4)


def test_delta_change_of_amounts_scales_up_to_five_times():
    coarse, climatology = (random(2, 5, 8, low=0, seed=seed) for seed in (0, 1))
    fine = random(2, 15, 24, seed=2, low=0, high=40)
    got = baselines(coarse, FACTOR, periodic=True, climatology=(fine, climatology), is_ratio=True)[
        DELTA
    ]
    ratios = []
    for step in range(2):
        amount, smooth = (
            bicubic(field[step].double().numpy(), periodic=True).clip(0)
            for field in (coarse, climatology)
        )
        ratios.append((fine[step].numpy() + 0.1) / (smooth + 0.1))
        np.testing.assert_allclose(got[step], amount * ratios[-1].clip(max=5), rtol=1e-4, atol=1e-4)
    assert np.max(ratios) > 5
    assert got.min() >= 0


# --- lapse rate ---------------------------------------------------------------------------------


def test_the_lapse_rate_is_taken_from_what_lies_above_the_smooth_relief():
    coarse, height = random(2, 5, 8), random(15, 24, seed=3, low=0, high=4000)
    area = random(15, 24, seed=4, low=0.5, high=1.0)
    relief = relief_of(height, area, FACTOR, periodic=True)
    blocks = [
        field.numpy().astype(float).reshape(5, 3, 8, 3).sum(axis=(1, 3))
        for field in (area * height, area)
    ]
    smooth = bilinear(blocks[0] / blocks[1], periodic=True)
    np.testing.assert_allclose(relief, height.numpy() - smooth, atol=0.01)
    fields = baselines(coarse, FACTOR, periodic=True, relief=relief)
    assert tuple(fields) == (*INTERPOLATIONS, LAPSE)
    torch.testing.assert_close(fields[LAPSE], fields["bilinear"] - 0.0065 * relief)
    assert LAPSE_RATE == -0.0065


def test_flat_land_leaves_bilinear():
    relief = relief_of(torch.full((15, 24), 700.0), random(15, 24, low=0.5), FACTOR, periodic=True)
    assert relief.abs().max() < 1e-3


def test_temperatures_near_the_surface_follow_the_relief():
    near = {"2m_temperature", "2m_temperature_min", "2m_temperature_max"}
    near |= {f"2m_temperature_{end}_month" for end in ("min", "max")}
    assert {name for name in table() if follows_relief(name)} == near


# --- where the climatology comes from -----------------------------------------------------------


@pytest.fixture
def region(pair):
    height, width = pair.fine_grid.shape
    fine = random(12, 2, height, width).numpy()
    coarse = random(12, 2, height // FACTOR, width // FACTOR, seed=1).numpy()
    return Region(pair.fine_grid, np.zeros((0, height, width)), fine, coarse)


def test_each_time_has_the_climatology_of_its_month(region):
    months = np.array([12, 1, 1, 7])
    found = months_climatology(region, 1, months)
    assert found is not None
    fine, coarse = found
    for step, month in enumerate(months):
        np.testing.assert_array_equal(fine[step], region.fine_climatology[month - 1, 1])
        np.testing.assert_array_equal(coarse[step], region.coarse_climatology[month - 1, 1])


def test_without_a_climatology_there_is_none(region, pair):
    bare = Region(pair.fine_grid, region.statics)
    assert months_climatology(bare, 0, np.array([1])) is None
    region.coarse_climatology[:, 1] = np.nan  # an output that is no input
    assert months_climatology(region, 1, np.array([1])) is None
    assert months_climatology(region, 0, np.array([1])) is not None


def test_precipitation_alone_scales_by_its_ratio():
    water = {
        f"{kind}_{period}"
        for kind in ("total_precipitation", "snowfall")
        for period in ("24hr", "month")
    }
    assert {name for name in table() if scales_by_ratio(name)} == {*water, "rainfall_month"}


@pytest.mark.parametrize("rate", [-0.0043, 0.001])
def test_a_fitted_lapse_rate_is_the_one_that_made_the_fields(rate):
    relief, area = 100 * random(12, 18, seed=1), random(12, 18, low=0.5, high=1.5)
    coarse = 280 + random(3, 4, 6)
    fine = baselines(coarse, FACTOR, periodic=True)["bilinear"] + rate * relief
    fine[1, 3:5, 2] = torch.nan
    got = fitted_lapse_rate((fine, coarse), relief, area, periodic=True)
    assert got == pytest.approx(rate, rel=1e-3)


def test_a_flat_relief_has_the_lapse_rate_of_the_standard_atmosphere():
    coarse = 280 + random(3, 4, 6)
    fine = baselines(coarse, FACTOR, periodic=True)["bilinear"] + 1
    flat = torch.full((12, 18), 0.1)
    assert fitted_lapse_rate((fine, coarse), flat, torch.ones(12, 18), periodic=True) == LAPSE_RATE
