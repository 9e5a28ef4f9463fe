"""Metrics: each is told in words, by a title of its own."""

import pytest

from orbitds.eval.metric import METRICS


@pytest.mark.parametrize("name", METRICS)
def test_metrics_are_told_in_words(name):
    row = METRICS[name]
    assert len(row.title) <= 18
    assert row.meaning
    assert not row.meaning.endswith(".")
    assert 0 <= row.digits <= 4


def test_titles_differ():
    assert len({row.title for row in METRICS.values()}) == len(METRICS)
