"""Times of collective operations by latency and bandwidth."""

import pytest
from scaling.network import Link, Network, seconds, wire

NETWORK = Network("made up", Link(1e-6, 100e9), Link(10e-6, 10e9), "", "", 1e12, per_host=4)


def test_a_ring_within_a_host():
    # 3 steps, 3/4 of the tensor
    assert seconds(NETWORK, "all_gather", 4e9, processes=4) == pytest.approx(3e-6 + 0.03)
    assert seconds(NETWORK, "all_reduce", 4e9, processes=4) == pytest.approx(6e-6 + 0.06)
    assert seconds(NETWORK, "all_to_all", 4e9, processes=4) == pytest.approx(1e-6 + 0.03)


def test_hosts_deal_with_shares():
    # within: 3 steps and 3/4; between 2 hosts: one step, and half of each GPU's quarter
    expected = 3e-6 + 0.03 + 10e-6 + 0.05
    assert seconds(NETWORK, "reduce_scatter", 4e9, processes=8) == pytest.approx(expected)


def test_members_on_many_hosts_have_no_neighbours():
    alone = seconds(NETWORK, "all_gather", 4e9, processes=2, stride=4)
    assert alone == pytest.approx(10e-6 + 2e9 / 10e9)
    halved = seconds(NETWORK, "all_gather", 4e9, processes=4, stride=2)
    assert halved == pytest.approx((1e-6 + 2e9 / 100e9) + (10e-6 + 1e9 / 10e9))


def test_small_sums_over_many_hosts_climb_a_tree():
    hosts = 1024
    small = seconds(NETWORK, "all_reduce", 8, processes=4 * hosts)
    assert small == pytest.approx(6e-6 + 2 * 10 * 10e-6, rel=1e-3)  # ten levels, up and down
    rings = 2 * (hosts - 1) * 10e-6
    assert small < rings


@pytest.mark.parametrize("operation", ["all_gather", "all_reduce", "all_to_all", "pass_on"])
def test_more_bytes_and_more_hosts_take_longer(operation):
    times = [
        seconds(NETWORK, operation, size, processes=count)
        for size, count in ((1e6, 2), (1e6, 8), (1e8, 8), (1e8, 64))
    ]
    assert times == sorted(times)


def test_one_process_has_nobody_to_talk_to():
    assert seconds(NETWORK, "all_reduce", 1e9, processes=1) == 0
    assert seconds(NETWORK, "all_to_all", 1e9, processes=1) == 0


def test_an_unknown_operation_is_refused():
    with pytest.raises(ValueError, match="got 'broadcast'"):
        wire("broadcast", 2, 1)
