"""What a step costs: what hides, what waits, what is fitted."""

import pytest
from scaling.cost import Cost, Losses, cost, fit_losses, latest, stride_of
from scaling.network import Link, Network

from orbitds.train.mesh import AXES
from orbitds.train.traffic import Talk

# A second a GB within a host, no latency.
NETWORK = Network("made up", Link(0, 1e9), Link(0, 1e8), "nowhere", "nowhere", 1e12)
NOTHING = Losses(0, 0)


def _sizes(**sizes):
    return dict.fromkeys(AXES, 1) | sizes


def _gradients(size, count=1):
    return Talk("gradients", "all_reduce", "sums", 2, size, count, "backward")


def test_gradients_hide_behind_the_backward_pass_but_for_the_last():
    # three times a second beside four seconds of six: the last second has nothing beside it
    found = cost(
        6.0, [_gradients(1_000_000_000, 3)], _sizes(tiles=2), NETWORK, NOTHING, grows=False
    )
    assert found.exposed == pytest.approx(1)
    assert found.step == pytest.approx(7)


def test_what_lasts_longer_than_the_backward_pass_is_exposed():
    found = cost(
        3.0, [_gradients(1_000_000_000, 5)], _sizes(tiles=2), NETWORK, NOTHING, grows=False
    )
    assert found.exposed == pytest.approx(5 - 2)


def test_what_is_hidden_slows_computing_down():
    talks = [_gradients(1_000_000_000, 3)]
    found = cost(6.0, talks, _sizes(tiles=2), NETWORK, Losses(0.5, 0), grows=False)
    assert found.contention == pytest.approx(0.5 * 2)


def test_tokens_are_waited_for():
    talks = [Talk("tokens", "all_to_all", "sequence", 2, 1_000_000_000, 4)]
    found = cost(6.0, talks, _sizes(sequence=2), NETWORK, NOTHING, grows=False)
    assert (found.waits, found.exposed) == (pytest.approx(2), 0)


def test_a_process_alone_loses_nothing():
    assert cost(6.0, [], _sizes(), NETWORK, Losses(1, 1), grows=True).step == 6


def test_the_latest_of_many_is_later():
    assert latest(1) == pytest.approx(0)
    assert latest(2) == pytest.approx(0.564, abs=0.03)  # 1/sqrt(pi), exactly
    assert latest(1000) == pytest.approx(3.24, abs=0.02)  # tables of order statistics
    few, many = (
        cost(1.0, [], _sizes(tiles=count), NETWORK, Losses(0, 0.02), grows=True).several
        for count in (2, 1000)
    )
    assert few == pytest.approx(0.02)
    assert many == pytest.approx(0.02 * latest(1000) / latest(2))
    stays = cost(1.0, [], _sizes(tiles=1000), NETWORK, Losses(0, 0.02), grows=False)
    assert stays.several == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("group", "stride"), [("tensor", 1), ("sequence", 10), ("parts", 5), ("copies", 210)]
)
def test_members_lie_as_the_mesh_lays_them(group, stride):
    assert stride_of(group, _sizes(shard=7, sequence=3, channel=2, tensor=5)) == stride


def test_losses_are_found_again():
    one = [Cost(10, 0.1, 0.2, 3.0, 10.0), Cost(20, 0.1, 0.2, 1.0, 20.0), Cost(5, 0, 0, 4.0, 5.0)]
    points = [
        (
            told.compute + told.waits + told.exposed + 0.4 * told.contention + 0.03 * told.several,
            told,
        )
        for told in one
    ]
    assert fit_losses(points) == pytest.approx((0.4, 0.03))


def test_contention_alone_is_fitted_where_the_rest_was_measured():
    points = [(10.3 + 0.5 * 3 + 0.02 * 10, Cost(10, 0.1, 0.2, 3.0, 10.0))]
    assert fit_losses(points, 0.02) == pytest.approx((0.5, 0.02))
    assert fit_losses(points, 0.5) == (0, 0.5)
    assert fit_losses([(5.1, Cost(5, 0, 0, 0, 5))], 0.02) == (0, 0.02)


def test_losses_are_none_where_steps_are_faster_than_counted():
    assert fit_losses([(9.0, Cost(10, 0, 0, 1, 10)), (19.0, Cost(20, 0, 0, 5, 20))]) == (0, 0)
    with pytest.raises(ValueError, match="got none"):
        fit_losses([])
