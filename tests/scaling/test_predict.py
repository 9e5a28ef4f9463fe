"""Predictions from figures on two GPUs."""

import json
from pathlib import Path

import pytest
from scaling.cases import SIZES
from scaling.machines import FRONTIER, H200, slower_than_measured
from scaling.predict import Model, sharing

FIGURES = Path(__file__).parents[2] / "eval" / "results" / "scaling_measured.json"


@pytest.fixture(scope="module")
def measured():
    return json.loads(FIGURES.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def model(measured):
    return Model(measured, H200)


def test_what_is_predicted_for_two_is_near_what_was_measured(model):
    for name in ("9.5M", "126M", "1B"):
        for one in model.weak(SIZES[name], 2):
            assert one.measured is not None
            assert one.low == one.high
            assert abs(one.low - one.measured) < 0.02


def test_efficiency_falls_as_gpus_are_added(model):
    for name in ("9.5M", "1B"):
        found = [next(model.weak(SIZES[name], count)) for count in (2, 8, 64, 4096)]
        assert [one.low for one in found] == sorted((one.low for one in found), reverse=True)
        assert all(0 < one.low <= one.high < 1 for one in found)
        assert all(one.measured is None for one in found[1:])


def test_shared_samples_are_fitted_to_two_or_taken_from_steps_without_communication(
    model, measured
):
    size = SIZES["126M"]
    fitted, eight = (model.shared(size, "sequence", count) for count in (2, 8))
    assert fitted.is_fitted
    assert fitted.low == pytest.approx(fitted.measured, rel=3e-3)
    assert not eight.is_fitted
    row = {"size": "126M", "case": "sequence", "axes": {"sequence": 8}, "ms": 60.0}
    bare = Model(measured, H200, cut=[{"rows": [row]}]).shared(size, "sequence", 8)
    assert bare.cost.compute == 0.060
    unknown = [row for row in measured["rows"] if row["case"] != "tensor"]
    assert Model({"rows": unknown}, H200).shared(size, "tensor", 8) is None


def test_a_field_of_16_tiles_has_less_to_hide_behind_on_more_gpus(model):
    found = [model.strong(SIZES["1B"], count) for count in (2, 4, 8, 16)]
    assert [one.low for one in found] == sorted((one.low for one in found), reverse=True)
    assert found[0].cost.compute == pytest.approx(8 * 0.3363)


def test_sizes_that_were_not_measured_are_not_known(measured):
    rows = [row for row in measured["rows"] if row["size"] == "9.5M"]
    rows.append({"size": "1B", "case": "fsdp", "error": "out of memory"})
    found = Model({"rows": rows}, H200)
    assert [found.knows(size) for size in SIZES.values()] == [True, False, False, False]


def test_a_slower_machine_has_no_measurement(measured):
    slower = slower_than_measured("MI250X")
    assert slower == pytest.approx(989 / 191.5)
    one = next(Model(measured, FRONTIER, slower=slower).weak(SIZES["9.5M"], 2))
    assert one.measured is None
    assert one.cost.compute == pytest.approx(slower * 0.0646)


def test_weights_are_shared_within_a_host():
    assert sharing(8) == {"shard": 8}
    assert sharing(64) == {"replicate": 8, "shard": 8}
