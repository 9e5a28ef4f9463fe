"""What a few times add: names, missing cells, detail for some times only."""

import torch
from torch.testing import assert_close

from orbitds.metrics import steps
from orbitds.metrics.steps import Step
from orbitds.metrics.structure import ssim_map
from orbitds.metrics.tails import Bins
from tests.metrics.frames import frame_of, weather


def step_of(times=3, *, missing=0.0, kind="warm", rows=18, columns=27, **more):
    frame = frame_of(rows, columns)
    fields, truth = weather(times, rows, columns, missing=missing, kind=kind)
    offset = 0.0 if kind == "rain" else 255.0
    return Step.of(truth, fields, frame.cells, offset, **more), frame


def fields_of(step):
    cells = step.centred.shape[1]
    by_cell = torch.zeros(2, cells, dtype=torch.float64)
    errors = torch.zeros(len(step.fields), 2, cells, dtype=torch.float64)
    steps.add_truth_fields(step, by_cell)
    steps.add_error_fields(step, errors)
    return by_cell, errors


def test_what_is_predicted_where_there_is_no_truth_makes_no_difference():
    frame = frame_of()
    fields, truth = weather(3, missing=0.1, kind="rain")
    bins = Bins(0.0, 2000.0, is_log1p=True)
    found = []
    for filler in (0.0, torch.nan, torch.inf, -1e30):
        filled = {m: torch.where(truth.isnan(), filler, field) for m, field in fields.items()}
        step = Step.of(truth, filled, frame.cells, 0.0, coarse=torch.ones(3, 6, 9).double())
        sums = steps.region_sums(step, frame, is_rain=True)
        sums |= steps.structure_sums(step, 300.0, is_rain=True) | steps.curve_sums(step, frame)
        sums |= dict(zip(("cells", "maps"), fields_of(step), strict=True))
        sums |= {"tails": steps.histograms(step, bins)}
        found.append(sums)
    for other in found[1:]:
        for name, value in found[0].items():
            assert_close(other[name], value, rtol=0, atol=0, msg=name)
            assert value.isfinite().all()


def test_similarity_is_weighted_over_centres_of_whole_windows():
    step, frame = step_of(missing=0.01)
    sums = steps.structure_sums(step, 100.0, is_rain=False)
    fields, truth = weather(3, missing=0.01)
    plain = ssim_map(fields["model"], truth, 100.0)  # NaN where a cell is missing
    for place, mask in enumerate(frame.regions.values()):
        weight = (frame.area * mask)[3:-3, 3:-3] * ~plain.isnan()
        assert_close(sums["ssim_weight"][:, place], weight.sum(dim=(1, 2)))
        assert_close(sums["ssim|model"][:, place], (weight * plain.nan_to_num()).sum(dim=(1, 2)))


def test_small_fields_have_no_similarity():
    step, _ = step_of(rows=6, columns=9)
    sums = steps.structure_sums(step, 100.0, is_rain=True)
    assert sums["ssim_weight"].sum() == 0


def test_some_of_the_times_are_those_times():
    step, frame = step_of(4, missing=0.02)
    part = step.at([1, 3])
    for name, value in steps.structure_sums(part, 100.0, is_rain=True).items():
        assert_close(value, steps.structure_sums(step, 100.0, is_rain=True)[name][[1, 3]], msg=name)
    for name, value in steps.curve_sums(part, frame).items():
        assert_close(value, steps.curve_sums(step, frame)[name][[1, 3]], msg=name)


def test_fields_by_cell_and_histograms_hold_all_the_weight():
    step, frame = step_of(5, missing=0.1)
    fields, truth = weather(5, missing=0.1)
    valid = ~truth.isnan()
    by_cell, errors = fields_of(step)
    count, total = frame.cells.unsort(by_cell)
    assert torch.equal(count, valid.sum(dim=0).double())
    assert_close(total, torch.where(valid, truth - 255, 0).sum(dim=0))
    error = torch.where(valid, fields["model"] - truth, 0)
    rows = frame.cells.unsort(errors)
    assert_close(rows[0, 0], error.sum(dim=0))
    assert_close(rows[0, 1], error.square().sum(dim=0))
    tails = steps.histograms(step, Bins(170.0, 350.0)).sum(dim=(1, 2))
    weight = (frame.area * valid).sum()
    assert_close(tails[:3], weight.expand(3))
    assert_close(tails[3], (frame.area * error.square()).sum())


def test_block_means_are_held_against_the_coarse_field():
    frame = frame_of()
    fields, truth = weather(2)
    coarse = torch.full((2, 6, 9), 280.0, dtype=torch.float64)
    coarse[0, 0, 0] = torch.nan
    step = Step.of(truth, fields, frame.cells, 255.0, coarse=coarse)
    sums = steps.region_sums(step, frame, is_rain=False)
    weight = frame.area.view(6, 3, 9, 3)
    means = (fields["model"].view(2, 6, 3, 9, 3) * weight).sum(dim=(2, 4)) / weight.sum(dim=(1, 3))
    known = ~coarse.isnan()
    squared = torch.where(known, (means - coarse).square(), 0) * weight.sum(dim=(1, 3))
    assert_close(sums["coarse_squared|model"][:, 0], squared.sum(dim=(1, 2)))
    assert_close(sums["coarse_weight"][:, 0], (known * weight.sum(dim=(1, 3))).sum(dim=(1, 2)))


def test_names_of_methods():
    assert steps.named("error", ["a", "b"]) == ["error|a", "error|b"]
