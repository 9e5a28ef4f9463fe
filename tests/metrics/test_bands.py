"""Bands of cells: what they add is what masks of whole fields give, in float64 to rounding."""

import pytest
import torch
from torch.testing import assert_close

from orbitds.metrics import cells, steps
from orbitds.metrics.bands import Found, Goal, add_bands
from orbitds.metrics.frame import Traits
from orbitds.metrics.steps import Step
from orbitds.metrics.tails import Bins
from tests.metrics.frames import frame_of, weather

WARM = Traits(100.0, Bins(170.0, 350.0), extreme="tnn")
RAIN = Traits(300.0, Bins(0.0, 2000.0, is_log1p=True), is_rain=True, extreme="rx1day")
BLOCKS = [slice(0, 2), slice(2, 3)]


def goal_of(traits, methods, frame, *, dtype=torch.float64):
    size = frame.area.numel()
    shape = (1 + len(methods), size)
    return Goal(
        traits,
        methods,
        torch.zeros(2, size, dtype=torch.float64),
        torch.zeros(len(methods), 2, size, dtype=torch.float64),
        torch.full(shape, -torch.inf, dtype=dtype) if traits.extreme else None,
    )


def added(kind, *, missing=0.1, dtype=torch.float64, filler=torch.nan, with_logarithm=False):
    """Return what bands find, the goals that they were added to, and the fields."""
    frame = frame_of()
    fields, truth = weather(3, missing=missing, kind=kind)
    fields = {m: torch.where(truth.isnan(), filler, field).to(dtype) for m, field in fields.items()}
    step = Step.of(truth.to(dtype), fields, frame.cells)
    traits = RAIN if kind == "rain" else WARM
    goals = [goal_of(traits, tuple(fields), frame, dtype=dtype)]
    if with_logarithm:
        logarithm = Traits(5.7, RAIN.bins.logarithm())
        goals.append(goal_of(logarithm, tuple(fields), frame, dtype=dtype))
    return found_of(step, goals, frame), goals, frame, fields, truth


def found_of(step, goals, frame):
    """Return what is found in three times: two of a block and one of the next."""
    found = [Found.nothing(goal, len(BLOCKS), 3, frame.cells.patches, 0) for goal in goals]
    bands = (band for strip in frame.cells.strips for band in step.bands(strip, BLOCKS))
    add_bands(bands, goals, found)
    return found


def rows_of(found):
    """Return the histograms by patch."""
    return found.tails.unflatten(1, (-1, WARM.bins.count))


def plain_moments(truth, fields, frame, offset, *, is_rain):
    """Sums over regions by masks, in float64."""
    valid = ~truth.isnan()
    t = torch.where(valid, truth - offset, 0.0)
    rows = {"weight": valid.double(), "truth": t, "truth_squared": t**2}
    for method, field in fields.items():
        e = torch.where(valid, field.double() - truth, 0.0)
        rows |= {
            f"error|{method}": e,
            f"error_squared|{method}": e**2,
            f"error_absolute|{method}": e.abs(),
            f"error_truth|{method}": e * t,
        }
    if is_rain:
        for name, field in {"": truth, **{f"|{m}": f.double() for m, f in fields.items()}}.items():
            wet = valid & (field >= 1)
            rows |= {f"wet{name}": wet.double(), f"wet_amount{name}": torch.where(wet, field, 0.0)}
    masks = torch.stack(list(frame.regions.values())) * frame.area
    sums = {name: torch.einsum("tij,rij->tr", row, masks) for name, row in rows.items()}
    by_block = {
        name: torch.stack([sum_[block].sum(dim=0) for block in BLOCKS])
        for name, sum_ in sums.items()
    }
    return by_block, sums


@pytest.mark.parametrize("cells_of_band", [1, 60, 10**6])
@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["warm", "rain"])
def test_moments_are_those_of_masks(kind, missing, cells_of_band, monkeypatch):
    for name in ("STRIP_CELLS", "LEAST_CELLS"):
        monkeypatch.setattr(cells, name, cells_of_band)
    monkeypatch.setattr(steps, "BAND_CELLS", cells_of_band)
    (found,), _, frame, fields, truth = added(kind, missing=missing)
    offset = 0.0 if kind == "rain" else 260.0
    expected, by_time = plain_moments(truth, fields, frame, offset, is_rain=kind == "rain")
    assert set(found.names) == expected.keys()
    got = found.moments @ frame.cells.members.T
    for place, name in enumerate(found.names):
        assert_close(got[:, place], expected[name], rtol=1e-11, atol=1e-10, msg=name)
    for column, name in enumerate(("weight", "truth", *(f"error|{method}" for method in fields))):
        wanted = by_time[name][:, 0]
        assert_close(found.series[:, column], wanted, rtol=1e-11, atol=1e-10, msg=name)


def test_moments_of_float32_are_those_of_float64_to_its_rounding():
    (found,), _, frame, fields, truth = added("warm", dtype=torch.float32)
    fields = {method: field.double() for method, field in fields.items()}
    truth = truth.float().double()
    expected, _ = plain_moments(truth, fields, frame, 260.0, is_rain=False)
    got = found.moments @ frame.cells.members.T
    for place, name in enumerate(found.names):
        scale = expected[name].abs().max()
        assert_close(got[:, place], expected[name], rtol=0, atol=float(2e-6 * scale), msg=name)


def test_fields_by_cell_hold_errors_and_extremes():
    _, (goal,), frame, fields, truth = added("warm")
    valid = ~truth.isnan()
    count, total = goal.cells.unflatten(-1, frame.shape)
    assert torch.equal(count, valid.sum(dim=0).double())
    assert_close(total, torch.where(valid, truth - 260, 0).sum(dim=0))
    error = torch.where(valid, fields["model"] - truth, 0)
    maps = goal.maps.unflatten(-1, frame.shape)
    assert_close(maps[0, 0], error.sum(dim=0))
    assert_close(maps[0, 1], error.square().sum(dim=0))
    lowest = -truth.nan_to_num(torch.inf).amin(dim=0)
    assert torch.equal(goal.peaks[0].unflatten(-1, frame.shape), lowest)


def test_histograms_hold_weight_and_squared_errors_of_each_bin():
    (found,), _, frame, fields, truth = added("warm")
    valid = ~truth.isnan()
    weight = (frame.area * valid).flatten()
    for row, field in enumerate((truth, *fields.values())):
        place = WARM.bins.index(torch.where(valid, field, 0.0)).flatten().long()
        expected = torch.bincount(place, weight, minlength=WARM.bins.count)
        assert_close(rows_of(found)[row].sum(dim=0), expected, rtol=1e-12, atol=1e-12)
    place = WARM.bins.index(truth.nan_to_num(0.0)).flatten().long()
    squares = torch.where(valid, fields["bilinear"] - truth, 0).square().flatten()
    expected = torch.bincount(place, squares * weight, minlength=WARM.bins.count)
    assert_close(rows_of(found)[4].sum(dim=0), expected, rtol=1e-12, atol=1e-12)


def test_the_logarithm_on_the_way_is_the_logarithm_alone():
    (_, found), (_, goal), frame, fields, truth = added("rain", with_logarithm=True)
    logs = {method: field.clamp(min=0).log1p() for method, field in fields.items()}
    step = Step.of(truth.log1p(), logs, frame.cells)
    alone = goal_of(goal.traits, goal.methods, frame)
    (expected,) = found_of(step, [alone], frame)
    assert found.names == expected.names
    assert_close(found.moments, expected.moments, rtol=1e-12, atol=1e-12)
    assert_close(found.tails, expected.tails, rtol=1e-12, atol=1e-12)
    assert_close(goal.cells, alone.cells, rtol=1e-12, atol=1e-12)
    assert_close(goal.maps, alone.maps, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["warm", "rain"])
def test_what_is_predicted_where_there_is_no_truth_makes_no_difference(kind):
    (expected,), (kept,), *_ = added(kind, filler=0.0)
    for filler in (torch.nan, torch.inf, -1e30):
        (found,), (goal,), *_ = added(kind, filler=filler)
        assert torch.equal(found.moments, expected.moments)
        assert torch.equal(found.tails, expected.tails)
        assert torch.equal(goal.maps, kept.maps)
        assert torch.equal(goal.peaks, kept.peaks)
