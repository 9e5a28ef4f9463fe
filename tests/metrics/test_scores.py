"""Scores: streamed, merged in any order, by several threads; what does not belong is refused."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from orbitds.metrics.frame import Traits
from orbitds.metrics.results import scalars
from orbitds.metrics.scores import Scores
from orbitds.metrics.tails import Bins
from tests.metrics.frames import days, frame_of, weather

WARM = Traits(100.0, Bins(170.0, 350.0), extreme="txx")
RAIN = Traits(300.0, Bins(0.0, 2000.0, is_log1p=True), is_rain=True, extreme="rx1day")
FRAME = frame_of()


def scores_of(part=slice(None), times=60, *, traits=WARM, frame=FRAME, missing=0.05, members=0):
    kind = "rain" if traits.is_rain else "warm"
    fields, truth = weather(times, missing=missing, kind=kind)
    coarse = torch.full((times, 6, 9), 280.0, dtype=torch.float64)
    found = Scores(traits, frame, tuple(fields), members)
    when = days(times, detailed=set(range(0, times, 3)))[part]
    more = {}
    if members:
        noise = torch.randn(members, *truth.shape, generator=torch.Generator().manual_seed(1))
        drawn = fields["model"] + noise
        more = {"members": drawn[:, part]}
    fields = {method: field[part] for method, field in fields.items()}
    found.add(fields, truth[part], when, coarse=coarse[part], **more)
    return found


def assert_same(one, other):
    assert one.sums.keys() == other.sums.keys()
    for key, value in one.sums.items():
        assert_close(other.sums[key], value, rtol=1e-12, atol=1e-9, msg=str(key))
    assert one.names == other.names


@settings(max_examples=8, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 59), max_size=3, unique=True),
    order=st.randoms(use_true_random=False),
    traits=st.sampled_from([WARM, RAIN]),
)
def test_parts_in_any_order_are_the_whole(cuts, order, traits):
    edges = [0, *sorted(cuts), 60]
    parts = [scores_of(slice(*pair), traits=traits) for pair in itertools.pairwise(edges)]
    order.shuffle(parts)
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    whole = scores_of(traits=traits)
    assert_same(whole, merged)
    expected, got = scalars(whole), scalars(merged)
    for name, value in expected.items():
        assert_close(
            torch.tensor(got[name]), torch.tensor(value), rtol=1e-9, atol=1e-9, equal_nan=True
        )


def test_streamed_time_by_time_is_the_whole():
    fields, truth = weather(60, missing=0.05)
    streamed = Scores(WARM, FRAME, tuple(fields))
    coarse = torch.full((1, 6, 9), 280.0, dtype=torch.float64)
    when = days(60, detailed=set(range(0, 60, 3)))
    for at in range(60):
        one = {method: field[at : at + 1] for method, field in fields.items()}
        streamed.add(one, truth[at : at + 1], when[at : at + 1], coarse=coarse)
    assert_same(scores_of(), streamed)


def test_merging_leaves_its_parts_as_they_were():
    one, other = scores_of(slice(0, 20)), scores_of(slice(20, 60))
    kept = {key: value.clone() for key, value in one.sums.items()}
    merged = one.merge(other)
    merged.sums["maps", ""].zero_()
    assert all(torch.equal(one.sums[key], value) for key, value in kept.items())


@pytest.mark.parametrize("members", [0, 3])
def test_several_threads_find_what_one_does(members):
    fields, truth = weather(40, missing=0.02, kind="rain")
    when = days(40, detailed={0, 9, 30})
    more = {"members": torch.stack([fields["model"]] * members)} if members else {}
    logarithm = replace(RAIN, bins=RAIN.bins.logarithm(), is_rain=False)
    found = []
    with ThreadPoolExecutor(3) as pool:
        for run in (map, pool.map):
            pair = [Scores(one, FRAME, tuple(fields), members) for one in (RAIN, logarithm)]
            pair[0].add(fields, truth, when, logarithm=pair[1], run=run, **more)
            found.append(pair)
    for one, other in zip(*found, strict=True):
        assert one.sums.keys() == other.sums.keys()
        assert all(torch.equal(other.sums[key], value) for key, value in one.sums.items())


def test_the_logarithm_added_on_the_way_is_that_added_alone():
    fields, truth = weather(40, missing=0.02, kind="rain")
    when = days(40, detailed={0, 9, 30})
    traits = replace(RAIN, bins=RAIN.bins.logarithm(), is_rain=False)
    own, along, alone = (Scores(one, FRAME, tuple(fields)) for one in (RAIN, traits, traits))
    own.add(fields, truth, when, logarithm=along)
    logs = {method: field.clamp(min=0).log1p() for method, field in fields.items()}
    alone.add(logs, truth.log1p(), when)
    assert_same(alone, along)


def test_memory_does_not_grow_with_times_within_a_season_but_by_small_sums():
    def large(scores):
        return sum(value.numel() for (kind, _), value in scores.sums.items() if kind in kinds)

    kinds = ("cells", "maps", "tails", "extreme")
    one, two = scores_of(slice(15, 25)), scores_of(slice(15, 40))
    assert large(one) == large(two)
