"""Extremes of the year and wet days, against numpy."""

import numpy as np
import pytest
import torch

from orbitds.metrics.extremes import extreme_errors, extreme_sums, highest, wet_sums
from tests.metrics.frames import frame_of, weather


@pytest.mark.parametrize("extreme", ["rx1day", "txx", "tnn"])
def test_errors_of_yearly_extremes_are_numpys(extreme):
    frame = frame_of()
    cells, reduce = frame.cells, np.nanmin if extreme == "tnn" else np.nanmax
    years, errors = {}, []
    for year in ("2001", "2002"):
        fields, truth = weather(9, missing=0.05, seed=int(year))
        valid = ~truth.isnan()
        shown = torch.stack([truth, *(f.where(valid, torch.nan) for f in fields.values())])
        years[year] = highest(shown.nan_to_num(0.0).flatten(2), valid.flatten(1), extreme)
        peaks = reduce(shown.numpy(), axis=1)
        errors.append(peaks[1:] - peaks[0])
    sums = [extreme_sums(peaks, extreme, cells).numpy() for peaks in years.values()]
    bias, rmse = extreme_errors(np.stack(sums).sum(axis=0))
    errors = np.stack(errors)  # year, method, row, column
    for place, mask in enumerate(frame.regions.values()):
        weight = (frame.area * mask).numpy()
        weight = np.broadcast_to(weight, errors[:, 0].shape)
        for method in range(2):
            chosen = errors[:, method]
            assert bias[method, place] == pytest.approx(np.average(chosen, weights=weight))
            wanted = np.average(chosen**2, weights=weight) ** 0.5
            assert rmse[method, place] == pytest.approx(wanted)


def test_cells_without_truth_have_no_extreme():
    cells = frame_of().cells
    values = torch.zeros(2, 3, 18 * 27, dtype=torch.float64)
    values[:, :, 5] = 1.0
    valid = torch.zeros(3, 18 * 27, dtype=torch.bool)
    valid[1:, 5] = True
    found = highest(values, valid, "tnn")
    assert found[0, 5] == -1
    assert (highest(values, None, "tnn")[:, 6:] == 0).all()
    assert (found[:, 6:] == -torch.inf).all()
    bias, rmse = extreme_errors(extreme_sums(found, "tnn", cells).numpy())
    assert bias[0, 0] == 0
    assert rmse[0, 0] == 0
    nothing = extreme_sums(torch.full_like(found, -torch.inf), "tnn", cells)
    assert np.isnan(extreme_errors(nothing.numpy())[0]).all()


def test_wet_days_have_a_millimetre_or_more():
    amount = torch.tensor([[1.0, 0.99, 30.0, 0.0, -5.0, 50.0], [2.0, 3.0, 0.5, 0.0, 0.0, 1.0]])
    valid = torch.ones(2, 6, dtype=torch.bool)
    valid[0, 5] = False
    days, total = wet_sums(amount, valid)
    assert days.tolist() == [2, 1, 1, 0, 0, 1]
    assert total.tolist() == [3, 3, 30, 0, 0, 1]
    assert wet_sums(amount, None)[0].tolist() == [2, 1, 1, 0, 0, 2]
