"""What a few times add: names, missing cells, detail for some times only."""

import torch
from torch.testing import assert_close

from orbitds.metrics import steps
from orbitds.metrics.frame import Traits
from orbitds.metrics.steps import Step
from orbitds.metrics.structure import ssim_map
from orbitds.metrics.tails import Bins
from tests.metrics.frames import frame_of, weather

WARM = Traits(100.0, Bins(170.0, 350.0))
RAIN = Traits(300.0, Bins(0.0, 2000.0, is_log1p=True), is_rain=True)


def step_of(times=3, *, missing=0.0, kind="warm", rows=18, columns=27, **more):
    frame = frame_of(rows, columns)
    fields, truth = weather(times, rows, columns, missing=missing, kind=kind)
    return Step.of(truth, fields, frame.cells, **more).whole(list(range(times))), frame


def test_what_is_predicted_where_there_is_no_truth_makes_no_difference():
    frame = frame_of()
    fields, truth = weather(3, missing=0.1, kind="rain")
    found = []
    for filler in (0.0, torch.nan, torch.inf, -1e30):
        filled = {m: torch.where(truth.isnan(), filler, field) for m, field in fields.items()}
        step = Step.of(truth, filled, frame.cells, coarse=torch.ones(3, 6, 9).double())
        whole = step.whole([0, 1, 2])
        sums = steps.block_errors(step, frame) | steps.curve_sums(whole, frame)
        sums |= steps.similarity(whole, RAIN) | steps.fraction_sums(whole, RAIN)
        found.append(sums)
    for other in found[1:]:
        for name, value in found[0].items():
            assert_close(other[name], value, rtol=0, atol=0, msg=name)
            assert value.isfinite().all()


def test_similarity_is_weighted_over_centres_of_whole_windows():
    step, frame = step_of(missing=0.01)
    sums = steps.similarity(step, WARM)
    fields, truth = weather(3, missing=0.01)
    plain = ssim_map(fields["model"], truth, 100.0)  # NaN where a cell is missing
    for place, mask in enumerate(frame.regions.values()):
        weight = (frame.area * mask)[3:-3, 3:-3] * ~plain.isnan()
        assert_close(sums["ssim_weight"][:, place], weight.sum(dim=(1, 2)))
        assert_close(sums["ssim|model"][:, place], (weight * plain.nan_to_num()).sum(dim=(1, 2)))


def test_small_fields_have_no_similarity():
    step, _ = step_of(rows=6, columns=9)
    sums = steps.similarity(step, WARM)
    assert sums["ssim_weight"].sum() == 0


def test_some_of_the_times_are_those_times():
    step, frame = step_of(4, missing=0.02, kind="rain")
    fields, truth = weather(4, missing=0.02, kind="rain")
    part = Step.of(truth, fields, frame.cells).whole([1, 3])
    for sums in (lambda step: steps.similarity(step, RAIN), lambda s: steps.fraction_sums(s, RAIN)):
        for name, value in sums(part).items():
            assert_close(value, sums(step)[name][[1, 3]], msg=name)
    for name, value in steps.curve_sums(part, frame).items():
        assert_close(value, steps.curve_sums(step, frame)[name][[1, 3]], msg=name)


def test_fractions_are_those_of_rain_alone():
    step, _ = step_of(2, kind="rain")
    assert steps.fraction_sums(step, WARM) == {}
    assert "fss_1mm_5_apart|model" in steps.fraction_sums(step, RAIN)


def test_block_means_are_held_against_the_coarse_field():
    frame = frame_of()
    fields, truth = weather(2)
    coarse = torch.full((2, 6, 9), 280.0, dtype=torch.float64)
    coarse[0, 0, 0] = torch.nan
    step = Step.of(truth, fields, frame.cells, coarse=coarse)
    sums = steps.block_errors(step, frame)
    weight = frame.area.view(6, 3, 9, 3)
    means = (fields["model"].view(2, 6, 3, 9, 3) * weight).sum(dim=(2, 4)) / weight.sum(dim=(1, 3))
    known = ~coarse.isnan()
    squared = torch.where(known, (means - coarse).square(), 0) * weight.sum(dim=(1, 3))
    assert_close(sums["coarse_squared|model"][:, 0], squared.sum(dim=(1, 2)))
    assert_close(sums["coarse_weight"][:, 0], (known * weight.sum(dim=(1, 3))).sum(dim=(1, 2)))
