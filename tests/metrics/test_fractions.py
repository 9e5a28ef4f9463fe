"""Fractions skill score: counts by loops, perfect and hopeless forecasts, a shift in place."""

import numpy as np
import torch

from orbitds.metrics import steps
from orbitds.metrics.fractions import WIDTHS, counts, skill, windows
from orbitds.metrics.frame import Traits
from orbitds.metrics.steps import Step
from orbitds.metrics.tails import Bins
from tests.metrics.frames import frame_of, weather

RAIN = Traits(300.0, Bins(0.0, 2000.0, is_log1p=True), is_rain=True)


def score(prediction, truth, name="fss_1mm_5"):
    """FSS over all cells of a frame and over its regions."""
    frame = frame_of(*truth.shape[1:], factor=None)
    step = Step.of(truth, {"p": prediction}, frame.cells).whole(list(range(len(truth))))
    sums = steps.fraction_sums(step, RAIN)
    parts = (sums[f"{name}_{what}|p"].sum(dim=0).numpy() for what in ("apart", "worst"))
    return skill(*parts)


def by_loops(prediction, truth, area, threshold, width):
    """Roberts and Lean's score of whole windows, each weighted by the area of its centre."""
    half, apart, worst = width // 2, 0.0, 0.0
    for day in range(len(truth)):
        for row in range(half, truth.shape[1] - half):
            for column in range(half, truth.shape[2] - half):
                box = np.s_[day, row - half : row + half + 1, column - half : column + half + 1]
                if np.isnan(truth[box]).any():
                    continue
                p, t = (prediction[box] >= threshold).mean(), (truth[box] >= threshold).mean()
                apart += area[row, column] * (p - t) ** 2
                worst += area[row, column] * (p**2 + t**2)
    return 1 - apart / worst


def test_against_loops():
    for missing in (0.0, 0.01):
        fields, truth = weather(2, 18, 21, missing=missing, kind="rain")
        area = frame_of(18, 21, factor=None).area.numpy()
        for threshold, width in ((1, 5), (10, 5), (1, 15), (10, 15)):
            got = score(fields["model"], truth, f"fss_{threshold}mm_{width}")[0]
            if missing and width == 15:
                continue  # hardly a window is whole
            wanted = by_loops(fields["model"].numpy(), truth.numpy(), area, threshold, width)
            np.testing.assert_allclose(got, wanted, rtol=1e-10)


def test_counts_fill_a_byte_and_no_more():
    marks = torch.ones(1, 17, 16, dtype=torch.uint8)
    found = windows(marks)
    assert (found[5] == 25).all()
    assert (found[15] == 225).all()
    assert found[15].shape == (1, 3, 2)


def test_small_fields_have_no_windows():
    found = windows(torch.ones(2, 9, 4, dtype=torch.uint8))
    assert [found[width].numel() for width in WIDTHS] == [0, 0]
    assert np.isnan(score(torch.ones(1, 7, 7), torch.ones(1, 7, 7), "fss_1mm_15")).all()


def test_thresholds_are_reached_by_what_equals_them():
    field = torch.tensor([0.999, 1.0, 10.0]).view(3, 1, 1).expand(3, 5, 5)
    assert counts(field)[5].flatten(1).tolist() == [[0, 25, 25], [0, 0, 25]]


def test_perfect_hopeless_and_dry():
    rain = torch.zeros(1, 20, 20)
    rain[0, 8:12, 3:6] = 5
    assert score(rain, rain)[0] == 1
    assert score(torch.zeros(1, 20, 20), rain)[0] == 0
    assert np.isnan(score(torch.zeros(1, 20, 20), torch.zeros(1, 20, 20))[0])


def test_a_shower_beside_its_place_is_better_in_a_wide_window():
    rain = torch.zeros(1, 30, 30)
    rain[0, 14:16, 14:16] = 5
    shifted = rain.roll(3, dims=2)
    narrow, wide = score(shifted, rain)[0], score(shifted, rain, "fss_1mm_15")[0]
    assert 0 < narrow < wide < 1
