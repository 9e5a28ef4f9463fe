"""Machines: what of them is timed, and how much slower they compute."""

import pytest
from scaling.machines import H200, slower_than_measured, with_host
from scaling.network import Link


def test_the_link_of_the_host_is_that_of_timed_collectives():
    assert with_host(H200, {"rows": []}) == H200
    timed = [
        {"operation": "all_reduce", "processes": 2, "bytes": size, "s": 2 * 1e-5 + size / 2e11}
        for size in (1e4, 1e6, 1e8)
    ]
    timed.append({"operation": "all_to_all", "processes": 2, "bytes": 8, "error": "not here"})
    assert with_host(H200, {"device": "it", "probe": timed}).host == pytest.approx(Link(1e-5, 2e11))


def test_a_device_computes_by_its_peak():
    assert slower_than_measured("NVIDIA H200") == 1
    assert slower_than_measured("AMD Instinct MI250X") == pytest.approx(989 / 191.5)
    with pytest.raises(ValueError, match="got 'abacus'"):
        slower_than_measured("abacus")
