"""Predictions from figures on two GPUs."""

import pytest
from scaling.cases import SIZES
from scaling.machines import FRONTIER, H200, slower_than_measured
from scaling.predict import Model, joined, sharing

# Of two H200, 2026-11-28: ms alone; efficiency of tiles, of shared weights, of shared samples.
STEPS = {
    "9.5M": (64.6, {"tiles": 0.983, "shard": 0.957, "sequence": 0.562, "tensor": 0.523}),
    "126M": (318.3, {"tiles": 0.974, "shard": 0.957, "sequence": 0.822, "tensor": 0.794}),
    "1B": (336.3, {"tiles": 0.949, "shard": 0.952, "sequence": 0.838, "tensor": 0.864}),
}


@pytest.fixture(scope="module")
def measured():
    rows = []
    for size, (one, ways) in STEPS.items():
        rows.append({"size": size, "case": "one", "ms": one})
        for axis, efficiency in ways.items():
            case = "fsdp" if axis == "shard" else axis
            row = {"size": size, "case": case, "axes": {axis: 2}, "efficiency": efficiency}
            rows.append(row)
    rows.append({"size": "10B", "case": "fsdp", "axes": {"shard": 2}, "ms": 2600.0})
    return {"rows": rows, "probe": []}


@pytest.fixture(scope="module")
def model(measured):
    return Model(measured, H200)


def test_what_is_predicted_for_two_is_near_what_was_measured(model):
    for name in ("9.5M", "126M", "1B"):
        found = {one.case: one for one in model.weak(SIZES[name], 2)}
        for case in ("tiles", "fsdp"):
            one = found[case]
            assert one.measured is not None
            # copies have two bounds on two as well
            assert one.low == one.high or (case == "tiles" and one.low < one.high)
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
    row |= {"apart_ms": [300.0], "processes": 8}
    bare = Model(measured, H200, cut=[{"rows": [row]}]).shared(size, "sequence", 8)
    assert bare.cost.compute == pytest.approx(0.3183 / 5)
    row |= {"profile_ms": {"work": 30.0}, "apart_profile_ms": {"work": 300.0}}
    both = Model(measured, H200, cut=[{"rows": [row]}]).shared(size, "sequence", 8)
    assert both.low == bare.low
    # half of the time is the host's
    kernels = Model(measured, H200, cut=[{"rows": [row | {"ms": 30.0}]}])
    assert both.high == kernels.shared(size, "sequence", 8).high > 1.3 * bare.high
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
    assert [found.knows(size) for size in SIZES.values()] == [True] + [False] * 4


def test_a_slower_machine_has_no_measurement(measured):
    slower = slower_than_measured("MI250X")
    assert slower == pytest.approx(989 / 191.5)
    one = next(Model(measured, FRONTIER, slower=slower).weak(SIZES["9.5M"], 2))
    assert one.measured is None
    assert one.cost.compute == pytest.approx(slower * 0.0646)


def test_what_waiting_costs_is_taken_as_measured(measured):
    met = [
        {"size": size, "case": "met", "efficiency": 1 / (1 + loss)}
        for size, loss in (("9.5M", 0.01), ("1B", 0.03))
    ]
    assert Model({"rows": measured["rows"] + met}, H200).losses.copies.several == pytest.approx(
        0.02
    )


def test_rows_of_more_processes_are_shown_and_not_fitted_to(measured):
    row = {"size": "1B", "case": "tiles", "processes": 8, "axes": {"tiles": 8}, "efficiency": 0.5}
    of_eight = {
        "rows": [row, {"size": "1B", "case": "one", "processes": 8, "ms": 1.0}],
        "probe": [],
    }
    both = Model(joined([measured, of_eight]), H200)
    assert both.losses == Model(measured, H200).losses
    eight = next(both.weak(SIZES["1B"], 8))
    assert eight.measured == 0.5
    assert eight.cost.compute == pytest.approx(0.3363)


def test_a_host_has_two_copies_of_shared_weights_too(model):
    found = {one.case: one for one in model.weak(SIZES["10B"], 8)}
    assert found["hsdp"].axes == {"replicate": 2, "shard": 4}
    assert set(found) == {"fsdp", "fsdp-bf16", "hsdp"}
    assert [one.case for one in model.weak(SIZES["10B"], 64)] == ["fsdp", "fsdp-bf16"]


def test_sums_in_bfloat16_cost_less_and_are_fitted_to_as_such(measured, model):
    found = {one.case: one for one in model.weak(SIZES["1B"], 8)}
    for way in ("tiles", "fsdp"):
        whole, rounded = found[way], found[f"{way}-bf16"]
        assert rounded.low > whole.low
        assert 0.5 * whole.sent < rounded.sent < 0.8 * whole.sent
    two = {"size": "1B", "axes": {"tiles": 2}, "efficiency": 0.9}
    told = {"case": "tiles-bf16", "reduce_dtype": "bfloat16"}
    as_such = Model({"rows": [*measured["rows"], two | told]}, H200)
    as_whole = Model({"rows": [*measured["rows"], two | {"case": "tiles"}]}, H200)
    assert as_such.losses.copies.contention > model.losses.copies.contention
    assert as_such.losses.copies != as_whole.losses.copies
    assert as_such.losses.shared == model.losses.shared


def test_copies_cost_at_best_what_shared_weights_do(model):
    copies, shared = model.losses
    one = next(model.weak(SIZES["1B"], 2))
    assert one.case == "tiles"
    less = one.cost.contention * (1 - shared.contention / copies.contention)
    assert 0.3363 / one.low - 0.3363 / one.high == pytest.approx(less)
    assert less > 0


def test_what_echoes_compute_is_taken_as_measured(measured):
    def row(size, axes, ms, **more):
        told = {"size": size, "axes": axes, "ms": ms, "case": "fsdp", "reduce_dtype": "float32"}
        return told | {"processes": 8, **more}

    rows = [
        row("1B", {"shard": 8}, 325.0, apart_ms=[340.0]),
        row("1B", {"shard": 8}, 327.0, apart_ms=[340.0]),
        row("1B", {"replicate": 2, "shard": 4}, 330.0, apart_ms=[340.0]),
        row("1B", {"tiles": 8}, 343.0, apart_ms=[340.0]),
        row("10B", {"shard": 8}, 2400.0),
        {"size": "1B", "case": "one", "ms": 330.0, "update_ms": 8.0},
        {"size": "1B", "case": "hsdp", "error": "out of memory"},
    ]
    model = Model(measured, H200, cut=[{"rows": rows}])

    def more(size, processes, way):
        found = {one.case: one for one in model.weak(SIZES[size], processes)}
        alone = {"1B": 0.3363, "10B": None}[size]
        return found[way].cost.compute - alone

    assert more("1B", 8, "fsdp") == pytest.approx(-0.014)
    assert more("1B", 8, "fsdp-bf16") == pytest.approx(-0.014)
    assert more("1B", 64, "fsdp") == pytest.approx(-0.014)  # copies of eight
    assert more("1B", 8, "hsdp") == pytest.approx(-0.010)
    assert more("1B", 4, "fsdp") == pytest.approx(-0.010)
    assert more("1B", 2, "tiles") == pytest.approx(0.003)
    assert more("1B", 2, "fsdp") == pytest.approx(-0.004)  # half of the update
    # what fits no process alone begins with what it computes among echoes
    ten = {one.case: one for one in model.weak(SIZES["10B"], 8)}["fsdp"]
    assert ten.cost.compute == pytest.approx(2.4)
    # another machine has its own times
    slower = slower_than_measured("MI250X")
    other = next(
        Model(measured, FRONTIER, slower=slower, cut=[{"rows": rows}]).weak(SIZES["1B"], 8)
    )
    assert other.cost.compute == pytest.approx(slower * 0.3363)


def test_processes_that_share_weights_share_their_update(measured, model):
    def seconds(model, way, processes):
        found = {one.case: one for one in model.weak(SIZES["1B"], processes)}
        return found[way].cost.compute

    assert seconds(model, "tiles", 8) == pytest.approx(0.3363)
    # 40 bytes for each of 992 million weights at 3.84 TB/s
    update = 0.3363 - seconds(model, "fsdp", 2)
    assert 2 * update == pytest.approx(40 * 992e6 / 3.84e12, rel=1e-3)
    assert 0.3363 - seconds(model, "fsdp", 8) == pytest.approx(7 / 4 * update)
    assert 0.3363 - seconds(model, "hsdp", 8) == pytest.approx(6 / 4 * update)
    assert 0.3363 - seconds(model, "fsdp", 4096) == pytest.approx(7 / 4 * update)  # within a host
    # as measured, where it was
    rows = [row | ({"update_ms": 8.0} if row["case"] == "one" else {}) for row in measured["rows"]]
    timed = Model({"rows": rows}, H200)
    assert 0.3363 - seconds(timed, "fsdp", 2) == pytest.approx(0.004)
    slow = Model({"rows": rows}, FRONTIER, slower=2.0)
    assert 2 * 0.3363 - seconds(slow, "fsdp", 2) == pytest.approx(3 * 0.004)


def test_weights_are_shared_within_a_host():
    assert sharing(8) == {"shard": 8}
    assert sharing(64) == {"replicate": 8, "shard": 8}
