"""The line through times of collectives."""

import pytest
from scaling.probe import fit


def test_latency_and_bandwidth_are_found_again():
    points = [(steps, sent, steps * 15e-6 + sent / 3e11) for steps, sent in
              ((1, 1e3), (1, 1e6), (2, 1e6), (1, 1e9), (14, 1e8))]  # fmt: skip
    assert fit(points) == pytest.approx((15e-6, 3e11))


def test_a_latency_below_zero_is_none():
    latency, bandwidth = fit([(1, 1e6, 1e-4), (1, 1e9, 1.2)])
    assert latency == 0
    assert 8e8 < bandwidth < 1.1e10


def test_points_that_do_not_differ_are_refused():
    with pytest.raises(ValueError, match="got 2 that do not differ"):
        fit([(1, 1e6, 1e-4), (1, 1e6, 1e-4)])
