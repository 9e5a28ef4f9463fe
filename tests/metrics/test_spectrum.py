"""Spectra: known waves, white noise, a transform by hand, gaps; their distance in decibel."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from orbitds.metrics.spectrum import Rings, log_spectral_distance


def by_hand(field, spacing, periodic):
    """Radially averaged power of one field by a full complex transform and loops over rings."""
    rows, columns = field.shape
    dy, dx = spacing
    hann = [np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2 for size in field.shape]
    window = hann[0][:, None] * (np.ones(columns) if periodic else hann[1])
    window /= np.sqrt((window**2).mean())
    power = abs(np.fft.fft2((field - field.mean()) * window)) ** 2 / field.size
    radius = np.hypot(np.fft.fftfreq(rows, dy)[:, None], np.fft.fftfreq(columns, dx))
    step = 1 / max(rows * dy, columns * dx)
    count = int(0.5 / max(spacing) / step + 1e-9)
    return np.array([power[np.rint(radius / step) == ring].mean() for ring in range(1, count + 1)])


@pytest.mark.parametrize("shape", [(12, 20), (13, 21), (20, 12), (9, 30)])
@pytest.mark.parametrize("periodic", [True, False])
def test_against_a_transform_by_hand(shape, periodic):
    field = torch.randn(2, *shape, dtype=torch.float64)
    rings = Rings(shape, (1.5, 1.0), periodic)
    power, counts = rings.power(field, None)
    assert counts.all()
    assert power.shape == (2, len(rings.wavenumber))
    for one, got in zip(field.numpy(), power.numpy(), strict=True):
        np.testing.assert_allclose(got, by_hand(one, (1.5, 1.0), periodic), rtol=1e-10)


def test_a_wave_has_its_power_at_its_wavenumber():
    rings = Rings((36, 72), (5.0, 5.0), periodic=True)
    longitude = np.deg2rad(5 * np.arange(72))
    wave = torch.from_numpy(np.sin(6 * longitude))[None, None].repeat(1, 36, 1)
    power = rings.power(wave, None)[0][0].numpy()
    assert rings.wavenumber[power.argmax()] == pytest.approx(6 / 360)
    # the taper along the rows lets power leak to neighbours in the other direction alone
    assert power[5:8].sum() > 0.9 * power.sum()


def test_the_mean_power_of_white_noise_is_its_variance():
    generator = torch.Generator().manual_seed(0)
    field = 3 * torch.randn(200, 32, 48, generator=generator, dtype=torch.float64)
    for periodic in (True, False):
        rings = Rings((32, 48), (1.0, 1.0), periodic)
        power = (rings.power(field, None)[0] * rings.per_ring)[:, 2:].sum()
        assert float(power / (200 * rings.per_ring[2:].sum())) == pytest.approx(9, rel=0.02)


def test_a_constant_makes_no_difference_with_gaps_or_without():
    field = torch.randn(1, 10, 14, dtype=torch.float64)
    valid = torch.rand(1, 10, 14, generator=torch.Generator().manual_seed(1)) > 0.2
    rings = Rings((10, 14), (1.0, 1.0), periodic=False)
    for mask in (None, valid):
        assert_close(rings.power(field + 300, mask)[0], rings.power(field, mask)[0])


def test_what_is_missing_makes_no_difference_and_empty_fields_do_not_count():
    field = torch.randn(3, 10, 14)
    valid = torch.ones(3, 10, 14, dtype=torch.bool)
    valid[1, 2:5] = False
    valid[2, 1:] = False
    rings = Rings((10, 14), (1.0, 1.0), periodic=False)
    filled = field.where(valid, torch.tensor(1e6))
    assert rings.power(filled, valid)[1].tolist() == [True, True, False]
    assert_close(
        rings.power(filled, valid)[0], rings.power(field.where(valid, torch.nan), valid)[0]
    )


def test_distance_of_spectra_in_decibel():
    one = np.array([[4.0, 2.0, 1.0], [4.0, 2.0, 1.0]])
    assert log_spectral_distance(one, one).tolist() == [0, 0]
    np.testing.assert_allclose(log_spectral_distance(10 * one, one), 10)
    apart = np.array([0.1, 10.0, 1.0]) * one  # -10, +10 and 0 dB
    np.testing.assert_allclose(log_spectral_distance(apart, one), np.sqrt(200 / 3))


def test_rings_without_power_are_left_out():
    one, other = np.array([4.0, 2.0, 0.0]), np.array([4.0, 2.0, 1e-20])
    assert log_spectral_distance(one, other) == 0
    with np.errstate(invalid="ignore"):
        assert np.isnan(log_spectral_distance(0 * one, other))
