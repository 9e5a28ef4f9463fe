"""Training sets: what they say has to be possible."""

import pytest

from orbitds.sets import TrainingSet

SET = {
    "pair": "a",
    "share": 1.0,
    "factor": 2,
    "spacing_km": (20.0, 10.0),
    "inputs": ("2m_temperature",),
    "outputs": ("2m_temperature",),
    "statics": (),
    "box_deg": (30.0, 60.0, -10.0, 40.0),
    "period": ("1981", "2000"),
}


@pytest.mark.parametrize(
    "change", [{"share": 0}, {"factor": 0}, {"spacing_km": (0.0, 1.0)}, {"more": 1}]
)
def test_what_cannot_be_is_refused(change):
    assert TrainingSet.model_validate(SET).factor == 2
    with pytest.raises(ValueError, match=next(iter(change))):
        TrainingSet.model_validate(SET | change)
