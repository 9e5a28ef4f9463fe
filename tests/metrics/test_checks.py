"""What scores refuse, and that nothing is added then."""

import pytest
import torch

from orbitds.metrics.scores import Scores
from tests.metrics.frames import days, frame_of, weather
from tests.metrics.test_scores import FRAME, RAIN, WARM, scores_of


def test_a_prediction_with_gaps_is_refused_and_adds_nothing():
    fields, truth = weather(2)
    fields["model"][1, 3, 4:6] = torch.nan
    scores = Scores(WARM, FRAME, tuple(fields))
    with pytest.raises(ValueError, match="'model' wherever there is truth, got NaN in 2 of 972"):
        scores.add(fields, truth, days(2))
    assert scores.sums == {}


def test_the_same_time_counts_once():
    part = scores_of(slice(0, 10))
    with pytest.raises(ValueError, match="each time once, got 2003-11-25 twice"):
        part.merge(scores_of(slice(5, 10)))
    fields, truth = weather(2)
    with pytest.raises(ValueError, match="each time once"):
        Scores(WARM, FRAME, tuple(fields)).add(fields, truth, days(1) * 2)


def test_parts_of_other_evaluations_are_refused():
    part = scores_of(slice(0, 10))
    with pytest.raises(ValueError, match="got traits .*Score all parts in the same way"):
        part.merge(scores_of(slice(10, 20), traits=RAIN))
    with pytest.raises(ValueError, match="on one grid with the same regions"):
        part.merge(scores_of(slice(10, 20), frame=frame_of(seed=4)))
    fields, truth = weather(2)
    without = Scores(WARM, FRAME, tuple(fields))
    without.add(fields, truth, days(2, "2010-01-01"))
    with pytest.raises(ValueError, match="unlike sums.*coarse"):
        part.merge(without)
